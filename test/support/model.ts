// A second packet parser: raw frame → Facts. It follows the RFCs and the documented limits and shares nothing with the
// C code; tests compare the two by random packets.

import type { Quoted, Transit } from '../../src/semantics/balance.ts'
import type { Facts, IpFacts, Unparsed } from '../../src/semantics/judge.ts'

const VLANS = [0x8100, 0x88a8]
const EXTENSIONS = [0, 43, 44, 51, 60]
const MOST_TAGS = 2
const MOST_EXTENSIONS = 8

/** The upper layer behind the IP header, as far as it is known. `at`: its offset. */
type Upper = Pick<IpFacts, 'protocol' | 'ports' | 'unparsed'> & {
  readonly type?: number
  readonly at: number
  readonly fragment: Transit['fragment']
}

/** A frame of which only the first `linear` bytes can be read. */
interface Frame {
  readonly view: DataView
  readonly linear: number
}

/** Why bytes behind the readable ones are missing. */
const beyond = ({ view, linear }: Frame): Unparsed => (view.byteLength > linear ? 'nonlinear' : 'malformed')

export function factsOf(bytes: Uint8Array, linear = bytes.length): Facts {
  const frame: Frame = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), linear }
  const { view } = frame
  const cut: Facts = { kind: 'unparsed', reason: beyond(frame) }
  if (linear < 14) return cut
  let at = 14
  for (let tags = 0; VLANS.includes(view.getUint16(at - 2)); tags++) {
    if (tags === MOST_TAGS) return { kind: 'unparsed', reason: 'unsupported' }
    at += 4
    if (at > linear) return cut
  }
  const type = view.getUint16(at - 2)
  if (type === 0x0800) return at + 20 > linear ? cut : ipv4Facts(frame, at)
  if (type === 0x86dd) return at + 40 > linear ? cut : ipv6Facts(frame, at)
  return { kind: 'not-ip', essential: type === 0x0806 }
}

const words = (view: DataView, at: number, count: number): Uint32Array =>
  Uint32Array.from({ length: count }, (_, i) => view.getUint32(at + i * 4))

function ipv4Facts(frame: Frame, at: number): Facts {
  const { view, linear } = frame
  const size = (view.getUint8(at) & 15) * 4
  const total = view.getUint16(at + 2)
  if (view.getUint8(at) >>> 4 !== 4 || size < 20 || total < size) return { kind: 'unparsed', reason: 'malformed' }
  if (at + size > linear) return { kind: 'unparsed', reason: beyond(frame) }
  const protocol = view.getUint8(at + 9)
  const isLater = (view.getUint16(at + 6) & 0x1fff) !== 0
  const isFragment = isLater || (view.getUint8(at + 6) & 0x20) !== 0
  const upper: Upper = isLater
    ? { protocol, ports: undefined, unparsed: undefined, at: at + size, fragment: 'later' }
    : upperFacts(frame, at + size, at + total, protocol, 1, isFragment)
  const isLoopback = view.getUint8(at + 12) === 127 && view.getUint8(at + 16) === 127
  const isReply = protocol === 17 && upper.ports?.source === 67 && upper.ports.destination === 68
  return facts(frame, 4, at, upper, isLoopback || isReply)
}

function ipv6Facts(frame: Frame, at: number): Facts {
  const { view } = frame
  if (view.getUint8(at) >>> 4 !== 6) return { kind: 'unparsed', reason: 'malformed' }
  const length = view.getUint16(at + 4)
  const next = view.getUint8(at + 6)
  // The length of a jumbogram is in a hop-by-hop option; the frame is the only other bound.
  const end = length === 0 && next === 0 ? Number.POSITIVE_INFINITY : at + 40 + length
  const upper = chainFacts(frame, at + 40, end, next)
  const isLoopback = [8, 24].every((field) => words(view, at + field, 4).join() === '0,0,0,1')
  const isReply = upper.protocol === 17 && upper.ports?.source === 547 && upper.ports.destination === 546
  const isDiscovery = upper.type !== undefined && upper.type >= 133 && upper.type <= 137
  return facts(frame, 6, at, upper, isLoopback || isReply || isDiscovery)
}

/** Whether `size` bytes at `at` exist, in a datagram that ends at `end`: undefined, or why not. */
function lack(frame: Frame, at: number, size: number, end: number): Unparsed | undefined {
  if (at + size > end) return 'malformed'
  return at + size > frame.linear ? beyond(frame) : undefined
}

const extensionSize = (protocol: number, length: number): number =>
  protocol === 44 ? 8 : protocol === 51 ? (length + 2) * 4 : (length + 1) * 8

function chainFacts(frame: Frame, start: number, end: number, first: number): Upper {
  const { view } = frame
  const unknown = { protocol: undefined, ports: undefined, at: start, fragment: undefined }
  let at = start
  let next = first
  let isFragment = false
  for (let headers = 0; EXTENSIONS.includes(next); headers++) {
    if (headers === MOST_EXTENSIONS) return { ...unknown, unparsed: 'unsupported' }
    const size = lack(frame, at, 8, end) ? 8 : extensionSize(next, view.getUint8(at + 1))
    const unparsed = lack(frame, at, size, end)
    if (unparsed) return { ...unknown, unparsed }
    const following = view.getUint8(at)
    if (next === 44) {
      const isLater = view.getUint16(at + 2) >>> 3 !== 0
      const protocol = EXTENSIONS.includes(following) ? undefined : following
      if (isLater) return { protocol, ports: undefined, unparsed: undefined, at, fragment: 'later' }
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
  if (protocol === icmp) return { protocol, ports: undefined, unparsed, at, fragment, type: view.getUint8(at) }
  const ports = { source: view.getUint16(at), destination: view.getUint16(at + 2) }
  return { protocol, unparsed, at, fragment, ports }
}

function facts(frame: Frame, family: 4 | 6, at: number, upper: Upper, essential: boolean): Facts {
  const { protocol, ports, unparsed } = upper
  const source = family === 4 ? words(frame.view, at + 12, 1) : words(frame.view, at + 8, 4)
  return {
    kind: 'ip',
    family,
    source,
    protocol,
    ports,
    essential,
    unparsed,
    transit: transitOf(frame, family, at, upper),
  }
}

/** The balancer's facts of the packet with its IP header at `at`. */
function transitOf(frame: Frame, family: 4 | 6, at: number, upper: Upper): Transit {
  const { view, linear } = frame
  const length = family === 4 ? view.getUint16(at + 2) : 40 + view.getUint16(at + 4)
  return {
    destination: family === 4 ? words(view, at + 16, 1) : words(view, at + 24, 4),
    length,
    isCut: at + length > view.byteLength || upper.at > at + length,
    ttl: view.getUint8(at + (family === 4 ? 8 : 7)),
    mustNotFragment: family === 6 || (view.getUint8(at + 6) & 0x40) !== 0,
    fragment: upper.fragment,
    hasPlainLink: at === 14 || (at === 18 && view.getUint16(12) === 0x8100),
    hasWholeTcp: upper.at + 20 <= linear,
    icmp:
      upper.type === undefined
        ? undefined
        : { type: upper.type, quoted: quotedOf(frame, family, upper.at + 8, at + length) },
  }
}

/** The packet that an ICMP error quotes from `at` on, if it identifies a flow. */
function quotedOf(frame: Frame, family: 4 | 6, at: number, end: number): Quoted | undefined {
  const { view, linear } = frame
  const size = family === 4 ? 20 : 40
  if (at + size > linear || view.getUint8(at) >>> 4 !== family) return undefined
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
function quotedUpper({ view, linear }: Frame, at: number, protocol: number): Upper {
  const upper = { protocol, at, fragment: undefined, unparsed: undefined }
  if ((protocol !== 6 && protocol !== 17) || at + 8 > linear) return { ...upper, ports: undefined }
  return { ...upper, ports: { source: view.getUint16(at), destination: view.getUint16(at + 2) } }
}
