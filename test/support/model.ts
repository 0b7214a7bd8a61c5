// A second packet parser: raw frame → Facts. It follows the RFCs and the documented limits and shares nothing with the
// C code; tests compare the two by random packets.

import { ANOMALY_NAMES, type AnomalyName } from '../../src/model/anomaly.ts'
import type { EssentialGroup } from '../../src/model/policy.ts'
import { addressAnomalies } from '../../src/semantics/anomalies.ts'
import type { Quoted, Transit } from '../../src/semantics/balance.ts'
import type { Facts, IpFacts, Unparsed } from '../../src/semantics/judge.ts'
import type { Traits } from '../../src/semantics/match.ts'

const VLANS = [0x8100, 0x88a8]
const TAGS = [...VLANS, 0x9100, 0x9200, 0x9300]
const EXTENSIONS = [0, 43, 44, 51, 60]
const MOST_TAGS = 16
/** Of VLANS, in front of a packet for the balancer. */
const MOST_BALANCED_TAGS = 2
const MOST_EXTENSIONS = 8

/** The upper layer behind the IP header, as far as it is known. `at`: its offset. */
type Upper = Pick<IpFacts, 'protocol' | 'ports' | 'unparsed'> & {
  readonly type?: number
  readonly code?: number
  readonly at: number
  readonly fragment: Transit['fragment']
  /** A later fragment that begins 8 bytes behind the first. */
  readonly second?: boolean
}

/** A frame. `balances`: its tags are such that the balancer takes it. */
interface Frame {
  readonly view: DataView
  readonly balances: boolean
}

/** `isStray`: what `socket: none` matches if this host receives the packet and has no socket for it. */
interface Parsed {
  readonly facts: Facts
  readonly isStray: boolean
}

const plain = (facts: Facts): Parsed => ({ facts, isStray: false })
const CUT = plain({ kind: 'unparsed', reason: 'malformed' })

/** The facts of a frame, wherever its headers lie. */
export const factsOf = (bytes: Uint8Array): Facts => parse(bytes).facts

/** Whether entries with `socket: none` match a frame that this host receives and has no socket for. */
export const isStray = (bytes: Uint8Array): boolean => parse(bytes).isStray

function parse(bytes: Uint8Array): Parsed {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length < 14) return CUT
  let at = 14
  const tags: number[] = []
  while (TAGS.includes(view.getUint16(at - 2))) {
    if (tags.length === MOST_TAGS) return plain({ kind: 'unparsed', reason: 'unsupported' })
    tags.push(view.getUint16(at - 2))
    at += 4
    if (at > bytes.length) return CUT
  }
  const frame = { view, balances: tags.length <= MOST_BALANCED_TAGS && tags.every((tag) => VLANS.includes(tag)) }
  const type = view.getUint16(at - 2)
  if (type === 0x0800) return at + 20 > bytes.length ? CUT : ipv4Facts(frame, at)
  if (type === 0x86dd) return at + 40 > bytes.length ? CUT : ipv6Facts(frame, at)
  return plain({ kind: 'not-ip', ethertype: type })
}

/** Length of a datagram without one in its header, by the frame; undefined: the frame is not larger than a header says. */
const largeLength = ({ view }: Frame, at: number): number | undefined =>
  view.byteLength - at > 0xffff ? view.byteLength - at : undefined

const words = (view: DataView, at: number, count: number): Uint32Array =>
  Uint32Array.from({ length: count }, (_, i) => view.getUint32(at + i * 4))

function ipv4Facts(frame: Frame, at: number): Parsed {
  const { view } = frame
  const size = (view.getUint8(at) & 15) * 4
  const total = view.getUint16(at + 2) || (largeLength(frame, at) ?? 0)
  if (view.getUint8(at) >>> 4 !== 4 || size < 20 || total < size || at + size > view.byteLength) return CUT
  const protocol = view.getUint8(at + 9)
  const isLater = (view.getUint16(at + 6) & 0x1fff) !== 0
  const isSecond = (view.getUint16(at + 6) & 0x1fff) === 1
  const isFragment = isLater || (view.getUint8(at + 6) & 0x20) !== 0
  const upper: Upper = isLater
    ? { protocol, ports: undefined, unparsed: undefined, at: at + size, fragment: 'later', second: isSecond }
    : upperFacts(frame, at + size, at + total, protocol, 1, isFragment)
  const isLoopback = view.getUint8(at + 12) === 127 && view.getUint8(at + 16) === 127
  const essential = isLoopback ? 'loopback' : (dhcp(upper, 67, 68) ?? (isError4(upper) ? 'icmp_errors' : undefined))
  return facts(frame, 4, at, upper, essential)
}

function ipv6Facts(frame: Frame, at: number): Parsed {
  const { view } = frame
  if (view.getUint8(at) >>> 4 !== 6) return CUT
  const length = view.getUint16(at + 4)
  const next = view.getUint8(at + 6)
  // The length of a jumbogram is in a hop-by-hop option; the frame is the only other bound.
  const end =
    length > 0 ? at + 40 + length : next === 0 ? Number.POSITIVE_INFINITY : at + (largeLength(frame, at) ?? 40)
  const upper = chainFacts(frame, at + 40, end, next)
  const isLoopback = [8, 24].every((field) => words(view, at + field, 4).join() === '0,0,0,1')
  return facts(frame, 6, at, upper, isLoopback ? 'loopback' : (dhcp(upper, 547, 546) ?? group6(upper.type)))
}

/** RFC 2131 and RFC 8415, with relay agents. */
function dhcp({ protocol, ports }: Upper, server: number, client: number): EssentialGroup | undefined {
  if (protocol !== 17 || !ports) return undefined
  const between = `${ports.source} ${ports.destination}`
  if (between === `${server} ${client}`) return 'dhcp_client'
  return [`${client} ${server}`, `${server} ${server}`].includes(between) ? 'dhcp_server' : undefined
}

/** Destination unreachable, time exceeded, parameter problem. */
const isError4 = ({ type }: Upper): boolean => type !== undefined && [3, 11, 12].includes(type)

const GROUPS6: ReadonlyMap<number, EssentialGroup> = new Map([
  ...[1, 2, 3, 4].map((type) => [type, 'icmp_errors'] as const),
  ...[130, 131, 132, 143].map((type) => [type, 'mld'] as const),
  ...[133, 134, 135, 136, 137].map((type) => [type, 'neighbor_discovery'] as const),
])

const group6 = (type: number | undefined): EssentialGroup | undefined => GROUPS6.get(type ?? 0)

/** Whether `size` bytes at `at` exist, in a datagram that ends at `end`: undefined, or why not. */
const lack = ({ view }: Frame, at: number, size: number, end: number): Unparsed | undefined =>
  at + size > end || at + size > view.byteLength ? 'malformed' : undefined

const extensionSize = (protocol: number, length: number): number =>
  protocol === 44 ? 8 : protocol === 51 ? (length + 2) * 4 : (length + 1) * 8

function chainFacts(frame: Frame, start: number, end: number, first: number): Upper {
  const { view } = frame
  let at = start
  let next = first
  let isFragment = false
  const unknown = (unparsed: Unparsed): Upper => ({
    protocol: undefined,
    ports: undefined,
    at: start,
    fragment: isFragment ? 'first' : undefined,
    unparsed,
  })
  for (let headers = 0; EXTENSIONS.includes(next); headers++) {
    if (headers === MOST_EXTENSIONS) return unknown('unsupported')
    const size = lack(frame, at, 8, end) ? 8 : extensionSize(next, view.getUint8(at + 1))
    const unparsed = lack(frame, at, size, end)
    if (unparsed) return unknown(unparsed)
    const following = view.getUint8(at)
    if (next === 44) {
      const isLater = view.getUint16(at + 2) >>> 3 !== 0
      const protocol = EXTENSIONS.includes(following) ? undefined : following
      const second = view.getUint16(at + 2) >>> 3 === 1
      if (isLater) return { protocol, ports: undefined, unparsed: undefined, at, fragment: 'later', second }
      isFragment ||= (view.getUint8(at + 3) & 1) !== 0
    }
    at += size
    next = following
  }
  return upperFacts(frame, at, end, next, 58, isFragment)
}

function upperFacts(frame: Frame, at: number, end: number, protocol: number, icmp: number, isFragment: boolean): Upper {
  const { view } = frame
  const fragment = isFragment ? 'first' : undefined
  if (![6, 17, icmp].includes(protocol)) return { protocol, ports: undefined, unparsed: undefined, at, fragment }
  const unparsed = lack(frame, at, protocol === 6 && !isFragment ? 20 : 8, end)
  if (unparsed) return { protocol, ports: undefined, unparsed, at, fragment }
  if (protocol === icmp) {
    const [type, code] = [view.getUint8(at), view.getUint8(at + 1)]
    return { protocol, ports: undefined, unparsed, at, fragment, type, code }
  }
  const ports = { source: view.getUint16(at), destination: view.getUint16(at + 2) }
  return { protocol, unparsed, at, fragment, ports }
}

function facts(frame: Frame, family: 4 | 6, at: number, upper: Upper, essential: IpFacts['essential']): Parsed {
  const { protocol, ports, unparsed } = upper
  const source = family === 4 ? words(frame.view, at + 12, 1) : words(frame.view, at + 8, 4)
  const facts: Facts = {
    kind: 'ip',
    family,
    source,
    protocol,
    ports,
    traits: traitsOf(frame, family, at, upper),
    essential,
    unparsed,
    anomalies: anomaliesOf(frame, family, at, upper),
    transit: frame.balances ? transitOf(frame, family, at, upper) : undefined,
  }
  return { facts, isStray: isStraySegment(frame, family, source, upper) }
}

const WORDS = { 4: 1, 6: 4 } as const
const MLD = [130, 131, 132, 143]

/** Every anomaly of the packet with its IP header at `at`. */
function anomaliesOf({ view }: Frame, family: 4 | 6, at: number, upper: Upper): AnomalyName[] {
  const size = view.byteLength
  const said = view.getUint16(at + (family === 4 ? 2 : 4))
  const isElsewhere = said === 0 && (family === 4 || view.getUint8(at + 6) === 0 || size - at > 0xffff)
  const end = isElsewhere ? size : at + said + (family === 4 ? 0 : 40)
  const count = WORDS[family]
  const [source, destination] = (family === 4 ? [12, 16] : [8, 24]).map((field) => words(view, at + field, count))
  const ends = { family, source: source as Uint32Array, destination: destination as Uint32Array }
  const found = new Set(addressAnomalies({ ...ends, ...upper }))
  if (end > size) found.add('bad_length')
  const next = view.getUint8(at + 6)
  const isMld = upper.type !== undefined && MLD.includes(upper.type)
  if (family === 4 && (view.getUint8(at) & 15) > 5 && view.getUint8(at + 9) !== 2) found.add('ip_options')
  if (family === 6 && next === 0 && !isMld) found.add('ip_options')
  if (family === 6 && next === 43 && at + 48 <= size && view.getUint8(at + 42) === 0) found.add('ip_options')
  for (const name of transportAnomalies(view, family, upper, Math.max(0, end - upper.at))) found.add(name)
  return ANOMALY_NAMES.filter((name) => found.has(name))
}

/** `left`: bytes of the datagram from the transport header on. */
function transportAnomalies(
  view: DataView,
  family: 4 | 6,
  { protocol, fragment, at: behind, second }: Upper,
  left: number,
): AnomalyName[] {
  if (fragment === 'later') return second && protocol === 6 ? ['tiny_fragments'] : []
  if (protocol === undefined || ![6, 17, family === 4 ? 1 : 58].includes(protocol)) return []
  const torn = fragment ? 'tiny_fragments' : 'bad_length'
  if (left < (protocol === 6 ? 20 : 8)) return [torn]
  const has = (bytes: number): boolean => behind + bytes <= view.byteLength
  if (protocol === 17)
    return has(8) && isLyingUdp(view.getUint16(behind + 4), left, fragment !== undefined) ? ['bad_length'] : []
  return protocol === 6 && has(20) ? tcpAnomalies(view, behind, left, fragment !== undefined) : []
}

/** RFC 2675: a length of 0 stands for one that does not fit. */
const isLyingUdp = (length: number, left: number, isFragment: boolean): boolean =>
  !(length === 0 && left > 0xffff) && (length < 8 || (length > left && !isFragment))

function tcpAnomalies(view: DataView, behind: number, left: number, isFragment: boolean): AnomalyName[] {
  const header = (view.getUint8(behind + 12) >>> 4) * 4
  const flags = view.getUint8(behind + 13) & 0x3f
  const [fin, syn, rst, psh, ack, urg] = [1, 2, 4, 8, 16, 32].map((bit) => (flags & bit) !== 0)
  const found: Readonly<Partial<Record<AnomalyName, unknown>>> = {
    bad_length: header < 20 || (header > left && !isFragment),
    tiny_fragments: header > left && isFragment,
    tcp_null: flags === 0,
    tcp_xmas: fin && psh && urg && !ack,
    tcp_syn_fin: syn && fin,
    tcp_syn_rst: syn && rst,
  }
  return ANOMALY_NAMES.filter((name) => found[name])
}

/** A whole TCP segment in a frame to no group, not from a link-local address, that does not open a connection. */
function isStraySegment({ view }: Frame, family: 4 | 6, source: Uint32Array, upper: Upper): boolean {
  if (upper.protocol !== 6 || !upper.ports || upper.fragment || (view.getUint8(0) & 1) !== 0) return false
  const isLinkLocal = family === 6 && ((source[0] as number) & 0xffc00000) >>> 0 === 0xfe800000
  const [fin, syn, rst, ack] = [1, 2, 4, 16].map((bit) => (view.getUint8(upper.at + 13) & bit) !== 0)
  return !isLinkLocal && !(syn && !fin && !rst && !ack)
}

/** Fields that the match of an entry may ask of the packet with its IP header at `at`. */
function traitsOf({ view }: Frame, family: 4 | 6, at: number, upper: Upper): Traits {
  const said = view.getUint16(at + (family === 4 ? 2 : 4))
  const large = said === 0 && view.byteLength - at > 0xffff
  const length = large ? 0xffff : Math.min(0xffff, said + (family === 4 ? 0 : 40))
  const { type, code, fragment } = upper
  const flags = upper.at + 13
  const hasFlags = flags < view.byteLength && flags < at + length
  return {
    destination: family === 4 ? words(view, at + 16, 1) : words(view, at + 24, 4),
    length,
    ttl: view.getUint8(at + (family === 4 ? 8 : 7)),
    dscp: family === 4 ? view.getUint8(at + 1) >>> 2 : (view.getUint16(at) >>> 6) & 63,
    fragment,
    vlan: at > 14 && TAGS.includes(view.getUint16(12)) ? view.getUint16(14) & 0xfff : undefined,
    tcpFlags: upper.protocol === 6 && upper.ports ? (hasFlags ? view.getUint8(flags) : 'cut') : undefined,
    icmp: type === undefined || code === undefined ? undefined : { type, code },
  }
}

/** The balancer's facts of the packet with its IP header at `at`. */
function transitOf(frame: Frame, family: 4 | 6, at: number, upper: Upper): Transit {
  const { view } = frame
  const said = view.getUint16(at + (family === 4 ? 2 : 4))
  const length = (said === 0 ? largeLength(frame, at) : undefined) ?? said + (family === 4 ? 0 : 40)
  // Of a fragment, only a header in the datagram counts.
  const hasTcp = upper.fragment !== 'later' && upper.at + 20 <= Math.min(view.byteLength, at + length)
  const hasFlags = upper.fragment ? hasTcp : upper.at + 20 <= view.byteLength
  return {
    destination: family === 4 ? words(view, at + 16, 1) : words(view, at + 24, 4),
    length,
    isCut: at + length > view.byteLength || upper.at > at + length,
    ttl: view.getUint8(at + (family === 4 ? 8 : 7)),
    fragment: upper.fragment,
    // RFC 9542 §2.1: the first bit on the wire marks a group.
    isAddressed: (view.getUint8(0) & 1) === 0,
    hasPlainLink: at === 14 || (at === 18 && view.getUint16(12) === 0x8100),
    startsFlow: upper.protocol !== 6 || (hasFlags && (view.getUint8(upper.at + 13) & 0x12) === 0x02),
    hasWholeTcp: hasTcp,
    isReset: upper.protocol === 6 && hasFlags && (view.getUint8(upper.at + 13) & 4) !== 0,
    isToGroup: (view.getUint8(0) & 1) !== 0,
    icmp:
      upper.type === undefined
        ? undefined
        : { type: upper.type, quoted: quotedOf(frame, family, upper.at + 8, at + length) },
  }
}

/** The packet that an ICMP error quotes from `at` on, if it identifies a flow. */
function quotedOf(frame: Frame, family: 4 | 6, at: number, end: number): Quoted | undefined {
  const { view } = frame
  const size = family === 4 ? 20 : 40
  if (at + size > view.byteLength || view.getUint8(at) >>> 4 !== family) return undefined
  let upper: Upper
  if (family === 4) {
    const header = (view.getUint8(at) & 15) * 4
    if (header < 20 || (view.getUint16(at + 6) & 0x1fff) !== 0) return undefined
    upper = quotedUpper(frame, at + header, view.getUint8(at + 9))
  } else {
    const {
      protocol = -1,
      at: behind,
      fragment,
    } = chainFacts(frame, at + 40, Number.POSITIVE_INFINITY, view.getUint8(at + 6))
    if (fragment === 'later') return undefined
    upper = quotedUpper(frame, behind, protocol)
  }
  if (!upper.ports || upper.at + 8 > end) return undefined
  const [source, destination] = family === 4 ? [at + 12, at + 16] : [at + 8, at + 24]
  const count = family === 4 ? 1 : 4
  return {
    source: words(view, source as number, count),
    destination: words(view, destination as number, count),
    protocol: upper.protocol as number,
    ports: upper.ports,
  }
}

/** Eight bytes of a transport header are enough. */
function quotedUpper({ view }: Frame, at: number, protocol: number): Upper {
  const upper = { protocol, at, fragment: undefined, unparsed: undefined }
  if ((protocol !== 6 && protocol !== 17) || at + 8 > view.byteLength) return { ...upper, ports: undefined }
  return { ...upper, ports: { source: view.getUint16(at), destination: view.getUint16(at + 2) } }
}
