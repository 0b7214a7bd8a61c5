// The packet parser, told a second time: raw frame → Facts. It follows the RFCs and the documented limits and knows
// nothing of the C code, which random packets hold it against.

import type { Facts, IpFacts, Unparsed } from '../../src/model/judge.ts'

const VLANS = [0x8100, 0x88a8]
const EXTENSIONS = [0, 43, 44, 51, 60]
const MOST_TAGS = 2
const MOST_EXTENSIONS = 8

/** What follows the IP header: as far as it can be known. */
type Upper = Pick<IpFacts, 'protocol' | 'ports' | 'unparsed'> & { readonly type?: number }

/** A frame of which only the first `linear` bytes can be read. */
interface Frame {
  readonly view: DataView
  readonly linear: number
}

/** Why bytes beyond the readable ones are missing. */
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
    ? { protocol, ports: undefined, unparsed: undefined }
    : upperFacts(frame, at + size, at + total, protocol, 1, isFragment)
  const isLoopback = view.getUint8(at + 12) === 127 && view.getUint8(at + 16) === 127
  const isReply = protocol === 17 && upper.ports?.source === 67 && upper.ports.destination === 68
  return facts(4, words(view, at + 12, 1), upper, isLoopback || isReply)
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
  return facts(6, words(view, at + 8, 4), upper, isLoopback || isReply || isDiscovery)
}

/** What is missing of `size` bytes at `at`, in a datagram that ends at `end`. */
function lack(frame: Frame, at: number, size: number, end: number): Unparsed | undefined {
  if (at + size > end) return 'malformed'
  return at + size > frame.linear ? beyond(frame) : undefined
}

const extensionSize = (protocol: number, length: number): number =>
  protocol === 44 ? 8 : protocol === 51 ? (length + 2) * 4 : (length + 1) * 8

function chainFacts(frame: Frame, start: number, end: number, first: number): Upper {
  const { view } = frame
  const unknown = { protocol: undefined, ports: undefined }
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
      if (isLater) return { protocol, ports: undefined, unparsed: undefined }
      isFragment ||= (view.getUint8(at + 3) & 1) !== 0
    }
    at += size
    next = following
  }
  return upperFacts(frame, at, end, next, 58, isFragment)
}

function upperFacts(frame: Frame, at: number, end: number, protocol: number, icmp: number, isFragment: boolean): Upper {
  const { view } = frame
  if (![6, 17, icmp].includes(protocol)) return { protocol, ports: undefined, unparsed: undefined }
  const unparsed = lack(frame, at, protocol === 6 && !isFragment ? 20 : 8, end)
  if (unparsed) return { protocol, ports: undefined, unparsed }
  if (protocol === icmp) return { protocol, ports: undefined, unparsed, type: view.getUint8(at) }
  return { protocol, unparsed, ports: { source: view.getUint16(at), destination: view.getUint16(at + 2) } }
}

function facts(family: 4 | 6, source: Uint32Array, upper: Upper, essential: boolean): Facts {
  const { protocol, ports, unparsed } = upper
  return { kind: 'ip', family, source, protocol, ports, essential, unparsed }
}
