// Expected output of the balancer, constructed from the packet, its service and backend: plain construction of all
// bytes and checksums, where the data plane updates existing ones.

import type { Forwarding } from '../../src/features/forwarding/forwarding.ts'
import type { Address } from '../../src/model/address.ts'
import type { Backend, NextHop, Service } from '../../src/model/service.ts'
import { formatAddress } from '../../src/model/text.ts'
import type { Transit } from '../../src/semantics/balance.ts'
import { type Flow, flowHash } from '../../src/semantics/flow-hash.ts'
import type { Judged } from '../../src/semantics/judge.ts'
import { coveredEnd, networkOf, type Place, placeAt, seal } from './checksums.ts'
import { placeOf } from './place.ts'

const UDP = 17

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

const concat = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

function bytesOf({ words }: Address): Uint8Array {
  const bytes = new Uint8Array(words.length * 4)
  for (const [i, word] of words.entries()) viewOf(bytes).setUint32(i * 4, word)
  return bytes
}

/** An Ethernet header to the next hop. */
export function linkTo({ mac, sourceMac, vlan }: NextHop, family: 4 | 6): Uint8Array {
  const type = family === 4 ? [0x08, 0x00] : [0x86, 0xdd]
  const tag = vlan === 0 ? [] : [0x81, 0x00, vlan >>> 8, vlan & 255]
  return concat(hex(mac), hex(sourceMac), Uint8Array.from([...tag, ...type]))
}

export const networkPlace = (frame: Uint8Array): Place => placeAt(frame, networkOf(frame) as number)

export function addressesOf(
  frame: Uint8Array,
  { family, at }: Place,
): { readonly source: Address; readonly destination: Address } {
  const read = (from: number): Address => ({
    family,
    words: Uint32Array.from({ length: family === 4 ? 1 : 4 }, (_, i) => viewOf(frame).getUint32(from + i * 4)),
  })
  return family === 4
    ? { source: read(at + 12), destination: read(at + 16) }
    : { source: read(at + 8), destination: read(at + 24) }
}

/** Protocol and ports in the first fragment of a later one's datagram. */
type First = Transit['first']

/** The flow of a packet; `isReversed`: the packet came from the VIP. */
function flowOf(frame: Uint8Array, place: Place, isReversed: boolean, first?: First): Flow {
  const { source, destination } = addressesOf(frame, place)
  const view = viewOf(frame)
  const [from, to] = place.isLater
    ? [first?.ports.source ?? 0, first?.ports.destination ?? 0]
    : [view.getUint16(place.transport), view.getUint16(place.transport + 2)]
  const { protocol } = first ?? place
  return isReversed
    ? { source: destination, sourcePort: to, destination: source, destinationPort: from, protocol }
    : { source, sourcePort: from, destination, destinationPort: to, protocol }
}

/** The hash without a key, which varies outer sources. */
export const hashOf = (frame: Uint8Array, place: Place, service: Service, isReversed = false, first?: First): bigint =>
  flowHash(flowOf(frame, place, isReversed, first), service.hash)

/** New addresses and ports of a packet; undefined: unchanged. */
export interface Translation {
  readonly source?: Address | undefined
  readonly destination?: Address | undefined
  readonly sourcePort?: number | undefined
  readonly destinationPort?: number | undefined
}

/** Writes addresses and ports of the IP packet at `place`, in the frame itself. */
export function writeTranslation(frame: Uint8Array, { family, at, transport, isLater }: Place, to: Translation): void {
  const [source, destination] = family === 4 ? [at + 12, at + 16] : [at + 8, at + 24]
  if (to.source) frame.set(bytesOf(to.source), source)
  if (to.destination) frame.set(bytesOf(to.destination), destination)
  if (isLater) return
  if (to.sourcePort !== undefined) viewOf(frame).setUint16(transport, to.sourcePort)
  if (to.destinationPort !== undefined) viewOf(frame).setUint16(transport + 2, to.destinationPort)
}

/** Decrements the TTL or hop limit of the packet at `place`. */
export function age(frame: Uint8Array, { family, at }: Place): void {
  const ttl = at + (family === 4 ? 8 : 7)
  frame[ttl] = (frame[ttl] as number) - 1
}

/**
 * Updates a transport checksum that covers missing bytes, in a first fragment or a quoted packet, by the changes of
 * addresses and ports. `end`: end of the writable bytes.
 */
function carryOver(frame: Uint8Array, before: Uint8Array, place: Place, end: number): void {
  const at = place.transport + (place.protocol === UDP ? 6 : 16)
  if (place.isLater || at + 2 > end || (!place.isFragment && place.end <= end)) return
  const old = viewOf(before).getUint16(at)
  if (place.protocol === UDP && old === 0) return
  const [from, to] = place.family === 4 ? [place.at + 12, place.at + 20] : [place.at + 8, place.at + 40]
  const words = [
    [from, to],
    [place.transport, place.transport + 4],
  ] as const
  let sum = ~old & 0xffff
  for (const [first, last] of words) {
    for (let word = first; word < last; word += 2) {
      sum += (~viewOf(before).getUint16(word) & 0xffff) + viewOf(frame).getUint16(word)
    }
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  const checksum = ~sum & 0xffff
  viewOf(frame).setUint16(at, place.protocol === UDP && checksum === 0 ? 0xffff : checksum)
}

/** Bytes of the linear part when the balancer works on a frame of which `linear` were linear at first. */
export function reachOf(frame: Uint8Array, linear: number = frame.length): number {
  if (linear >= frame.length) return frame.length
  const { transport, protocol, family } = networkPlace(frame)
  const needed = transport + (protocol === (family === 4 ? 1 : 58) ? 8 + 512 : 20)
  return Math.max(linear, Math.min(needed, frame.length))
}

/** State of the kernel that an output depends on. */
interface Memory {
  /** Slots of pool addresses, by text; missing: 0. */
  readonly pools?: ReadonlyMap<string, number>
  readonly first?: First
}

/** The expected output for a frame that `judge` decided on: new bytes, or the frame unchanged. */
export function outcomeOf(
  frame: Uint8Array,
  { verdict, reason, balanced }: Judged,
  split?: number,
  memory: Memory = {},
): Uint8Array {
  if (verdict === 'pass' || verdict === 'drop' || !balanced) return frame
  const linear = reachOf(frame, split)
  if (reason === 'echo') return answered(frame)
  if (reason === 'rejected') return rejected(frame, linear)
  const { service, backend } = balanced as { service: Service; backend: Backend }
  const place = networkPlace(frame)
  const { overhead, sent, steered } = EXPECTED[service.forwarding]
  if (reason === 'too-big') {
    return tooBig(frame, (backend.nextHop as NextHop).mtu - overhead[backend.address.family], linear)
  }
  const isIcmp = !place.isLater && place.protocol === (place.family === 4 ? 1 : 58)
  return isIcmp ? steered(frame, service, backend, linear) : sent(frame, service, backend, memory)
}

/** The packet with other addresses and a TTL lower by one, behind a new Ethernet header. */
export function translated(frame: Uint8Array, link: Uint8Array, to: Translation): Uint8Array {
  const place = networkPlace(frame)
  const copy = frame.slice()
  age(copy, place)
  writeTranslation(copy, place, to)
  carryOver(copy, frame, place, frame.length)
  return concat(link, seal(copy, { keepZero: true }).subarray(place.at))
}

/** Output of DSR, and of NAT without a source pool. */
const forwarded = (frame: Uint8Array, { nextHop }: Backend, to: Translation = {}): Uint8Array =>
  translated(frame, linkTo(nextHop as NextHop, networkPlace(frame).family), to)

/** The finalizer of MurmurHash3. */
function mixed(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The address of a pool with the greatest weight for a number; of equal ones, the last. */
function heaviest(pool: readonly Address[], number: number, pools: Memory['pools']): Address | undefined {
  const weights = pool.map(({ family, words }) =>
    mixed(number ^ Math.imul((pools?.get(formatAddress(family, words)) ?? 0) + 1, 0x9e3779b1)),
  )
  return pool[weights.lastIndexOf(Math.max(...weights))]
}

/** Output of full NAT for a flow that gets the first of its candidate ports. */
function bound(frame: Uint8Array, service: Service, backend: Backend, { pools, first }: Memory): Uint8Array {
  const place = networkPlace(frame)
  const number = Number((placeOf(flowOf(frame, place, false, first)) | 1n) & 0xffffffffn)
  const scale = (value: number, size: number): number => Number((BigInt(value) * BigInt(size)) >> 32n)
  return translated(frame, linkTo(backend.nextHop as NextHop, place.family), {
    source: heaviest(service.snatPool, number, pools),
    sourcePort: 1024 + scale(Math.imul(number, 0x9e3779b1) >>> 0, 65536 - 1024),
    destination: backend.address,
    destinationPort: backend.port,
  })
}

/**
 * An ICMP error, translated together with the packet that it quotes, with a TTL lower by one, behind a new Ethernet
 * header.
 */
export function translatedError(
  frame: Uint8Array,
  link: Uint8Array,
  outer: Translation,
  inner: Translation,
  linear = frame.length,
): Uint8Array {
  const place = networkPlace(frame)
  const reach = Math.min(place.end, linear)
  const quoted = placeAt(frame, place.transport + 8, reach)
  const copy = frame.slice()
  age(copy, place)
  writeTranslation(copy, { ...place, isLater: true }, outer)
  writeTranslation(copy, quoted, inner)
  carryOver(copy, frame, quoted, reach)
  return concat(link, seal(copy, { keepZero: true, reach }).subarray(place.at))
}

/** Output of NAT for an ICMP error about a packet from a VIP. */
function steeredByNat(frame: Uint8Array, { address, port, nextHop }: Backend, linear?: number): Uint8Array {
  const link = linkTo(nextHop as NextHop, networkPlace(frame).family)
  return translatedError(frame, link, { destination: address }, { source: address, sourcePort: port }, linear)
}

/** A prefix, followed by the low bits of the hash. */
function outerSource4({ outerSource }: Service, hash: bigint): Uint8Array {
  const { address, length } = outerSource.v4
  const bits = Number((hash >> 32n) & 0xffffffffn)
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0
  const word = ((address.words[0] as number) | (bits & ~mask)) >>> 0
  return bytesOf({ family: 4, words: Uint32Array.of(word) })
}

function outerSource6({ outerSource }: Service, hash: bigint): Uint8Array {
  const [first, second] = outerSource.v6.words as unknown as [number, number]
  const low = [Number(hash >> 32n), Number(hash & 0xffffffffn)] as const
  return bytesOf({ family: 6, words: Uint32Array.of(first, second, ...low) })
}

/** The outer IP header of a tunnel in front of `payload`. */
function outerHeader(
  service: Service,
  backend: Backend,
  hash: bigint,
  tos: number,
  protocol: number,
  size: number,
): Uint8Array {
  const bits = Number((hash >> 32n) & 0xfffffn)
  if (backend.address.family === 4) {
    const header = new Uint8Array(20)
    const view = viewOf(header)
    view.setUint8(0, 0x45)
    view.setUint8(1, tos)
    view.setUint16(2, 20 + size)
    view.setUint16(6, 0x4000)
    view.setUint8(8, 64)
    view.setUint8(9, protocol)
    header.set(outerSource4(service, hash), 12)
    header.set(bytesOf(backend.address), 16)
    return header
  }
  const header = new Uint8Array(40)
  const view = viewOf(header)
  view.setUint32(0, ((6 << 28) | (tos << 20) | bits) >>> 0)
  view.setUint16(4, size)
  view.setUint8(6, protocol)
  view.setUint8(7, 64)
  header.set(outerSource6(service, hash), 8)
  header.set(bytesOf(backend.address), 24)
  return header
}

/** Whether the packet has a checksum over its payload; then the outer UDP header gets one too. */
function hasChecksum(frame: Uint8Array, place: Place): boolean {
  const { isFragment, protocol, family, transport, end } = place
  if (isFragment) return false
  if (protocol === UDP) return viewOf(frame).getUint16(transport + 6) !== 0 && coveredEnd(frame, place) === end
  return protocol === 6 || protocol === (family === 4 ? 1 : 58)
}

/** Encapsulates a packet; `hash` is the flow's. Bytes behind the datagram stay. */
type Encapsulate = (frame: Uint8Array, service: Service, backend: Backend, hash: bigint) => Uint8Array

const tosOf = (frame: Uint8Array, { family, at }: Place): number =>
  family === 4 ? viewOf(frame).getUint8(at + 1) : (viewOf(frame).getUint16(at) >>> 4) & 255

const inIp: Encapsulate = (frame, service, backend, hash) => {
  const place = networkPlace(frame)
  const link = linkTo(backend.nextHop as NextHop, backend.address.family)
  const protocol = place.family === 4 ? 4 : 41
  const outer = outerHeader(service, backend, hash, tosOf(frame, place), protocol, place.end - place.at)
  return seal(concat(link, outer, frame.subarray(place.at)), { outermost: true })
}

/** In UDP, to the port that `portOf` returns; `isSummed`: with an outer checksum if the packet has one. */
const inUdp =
  (portOf: (service: Service) => number, isSummed: boolean): Encapsulate =>
  (frame, service, backend, hash) => {
    const place = networkPlace(frame)
    const length = 8 + place.end - place.at
    const link = linkTo(backend.nextHop as NextHop, backend.address.family)
    const udp = new Uint8Array(8)
    viewOf(udp).setUint16(0, 0xc000 | Number((hash >> 32n) & 0x3fffn))
    viewOf(udp).setUint16(2, portOf(service))
    viewOf(udp).setUint16(4, length)
    const outer = outerHeader(service, backend, hash, tosOf(frame, place), UDP, length)
    const whole = concat(link, outer, udp, frame.subarray(place.at))
    if (isSummed && hasChecksum(frame, place)) viewOf(whole).setUint16(link.length + outer.length + 6, 1)
    return seal(whole, { outermost: true, keepZero: true })
  }

/** Expectations of one forwarding mode, independent of its record in src/features/forwarding. */
interface Expected {
  /** Bytes in front of the IP datagram, by the family of the backend. */
  readonly overhead: Readonly<Record<4 | 6, number>>
  /** Output for a packet to a service. */
  readonly sent: (frame: Uint8Array, service: Service, backend: Backend, memory?: Memory) => Uint8Array
  /** Output for an ICMP error about a packet from a VIP, sent to the backend of its flow. */
  readonly steered: (frame: Uint8Array, service: Service, backend: Backend, linear?: number) => Uint8Array
}

const tunnel = (overhead: Expected['overhead'], encapsulate: Encapsulate): Expected => ({
  overhead,
  sent: (frame, service, backend, memory) =>
    encapsulate(frame, service, backend, hashOf(frame, networkPlace(frame), service, false, memory?.first)),
  steered: (frame, service, backend) => {
    const quoted = placeAt(frame, networkPlace(frame).transport + 8)
    return encapsulate(frame, service, backend, hashOf(frame, quoted, service, true))
  },
})

export const EXPECTED: Readonly<Record<Forwarding, Expected>> = {
  nat: {
    overhead: { 4: 0, 6: 0 },
    sent: (frame, service, backend, memory = {}) =>
      service.snatPool.length > 0
        ? bound(frame, service, backend, memory)
        : forwarded(frame, backend, { destination: backend.address, destinationPort: backend.port }),
    steered: (frame, _, backend, linear) => steeredByNat(frame, backend, linear),
  },
  dsr: {
    overhead: { 4: 0, 6: 0 },
    sent: (frame, _, backend) => forwarded(frame, backend),
    steered: (frame, _, backend) => forwarded(frame, backend),
  },
  ipip: tunnel({ 4: 20, 6: 40 }, inIp),
  gue: tunnel(
    { 4: 28, 6: 48 },
    inUdp(({ guePort }) => guePort, true),
  ),
}

const swapped = (frame: Uint8Array, size: number): Uint8Array =>
  concat(frame.subarray(6, 12), frame.subarray(0, 6), frame.subarray(12, size))

/** The reply to an echo request. */
export function answered(frame: Uint8Array): Uint8Array {
  const place = networkPlace(frame)
  const { source, destination } = addressesOf(frame, place)
  const reply = concat(swapped(frame, place.at), frame.subarray(place.at))
  writeTranslation(reply, { ...place, isLater: true }, { source: destination, destination: source })
  reply[place.at + (place.family === 4 ? 8 : 7)] = 64
  reply[place.transport] = place.family === 4 ? 0 : 129
  return seal(reply)
}

/** "Fragmentation needed" or "packet too big" about a packet, to its sender. */
export const tooBig = (frame: Uint8Array, mtu: number, linear = frame.length): Uint8Array =>
  networkPlace(frame).family === 4
    ? errorAbout(frame, [3, 4], mtu, linear)
    : errorAbout(frame, [2, 0], Math.max(mtu, 1280), linear)

/** The answer to a packet that no backend takes: a reset, or "port unreachable". */
function rejected(frame: Uint8Array, linear: number): Uint8Array {
  const place = networkPlace(frame)
  if (place.protocol === UDP) return errorAbout(frame, place.family === 4 ? [3, 3] : [1, 4], 0, linear)
  const view = viewOf(frame)
  const [control, end] = [view.getUint8(place.transport + 13), place.end]
  const tcp = new Uint8Array(20)
  const out = viewOf(tcp)
  out.setUint16(0, view.getUint16(place.transport + 2))
  out.setUint16(2, view.getUint16(place.transport))
  const hasAck = (control & 0x10) !== 0
  if (hasAck) out.setUint32(4, view.getUint32(place.transport + 8))
  else {
    const data = Math.max(0, end - place.transport - (view.getUint8(place.transport + 12) >>> 4) * 4)
    const taken = data + ((control >>> 1) & 1) + (control & 1)
    out.setUint32(8, (view.getUint32(place.transport + 4) + taken) >>> 0)
  }
  out.setUint16(12, 0x5000 | (hasAck ? 0x04 : 0x14))
  return seal(concat(swapped(frame, place.at), ownHeader(frame, place, 6, 20), tcp))
}

/** The IP header of an answer with `size` bytes behind it, from the packet's destination to its source. */
function ownHeader(frame: Uint8Array, place: Place, protocol: number, size: number): Uint8Array {
  const { source, destination } = addressesOf(frame, place)
  const header = new Uint8Array(place.family === 4 ? 20 : 40)
  const view = viewOf(header)
  if (place.family === 4) {
    view.setUint8(0, 0x45)
    view.setUint16(2, 20 + size)
    view.setUint16(6, 0x4000)
    view.setUint8(8, 64)
    view.setUint8(9, protocol)
    header.set(bytesOf(destination), 12)
    header.set(bytesOf(source), 16)
  } else {
    view.setUint8(0, 0x60)
    view.setUint16(4, size)
    view.setUint8(6, protocol)
    view.setUint8(7, 64)
    header.set(bytesOf(destination), 8)
    header.set(bytesOf(source), 24)
  }
  return header
}

/** An ICMP error with this type and code about a packet, to its sender. */
function errorAbout(frame: Uint8Array, kind: readonly [number, number], rest: number, linear: number): Uint8Array {
  const place = networkPlace(frame)
  // At least the bytes that identify the flow: for a later fragment of IPv6 up to its fragment header, the last one.
  const least = place.transport + (place.family === 6 && place.isLater ? 0 : 8)
  const end = place.at + 512
  const quote = frame.subarray(place.at, end <= linear && end <= place.end ? end : least)
  const icmp = new Uint8Array(8)
  icmp.set(kind)
  viewOf(icmp).setUint32(4, rest)
  const header = ownHeader(frame, place, place.family === 4 ? 1 : 58, 8 + quote.length)
  return seal(concat(swapped(frame, place.at), header, icmp, quote), { outermost: true })
}
