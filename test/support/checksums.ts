// Internet checksums of whole frames, summed from every byte: computes a packet's checksums and finds wrong ones.
// Follows tunnels and the packets that ICMP errors quote, as far as they are complete.

const VLANS = [0x8100, 0x88a8]
const EXTENSIONS = [0, 43, 44, 51, 60]
const TCP = 6
const UDP = 17
const IPV4 = 4
const IPV6 = 41

/** Positions of an IP packet and its transport header. */
export interface Place {
  readonly family: 4 | 6
  /** Offset of the IP header. */
  readonly at: number
  /** Offset of the transport header. */
  readonly transport: number
  /** End of the datagram, by its header. */
  readonly end: number
  /** Upper limit of the datagram: the end of the frame, or of the packet around it. */
  readonly limit: number
  readonly protocol: number
  readonly isFragment: boolean
  readonly isLater: boolean
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

/** Offset of the IP header in a frame; undefined: none. */
export function networkOf(frame: Uint8Array): number | undefined {
  const view = viewOf(frame)
  let at = 14
  while (VLANS.includes(view.getUint16(at - 2))) at += 4
  return [0x0800, 0x86dd].includes(view.getUint16(at - 2)) ? at : undefined
}

/** The IP packet at `at`. */
export function placeAt(frame: Uint8Array, at: number, limit = frame.length): Place {
  const view = viewOf(frame)
  if (view.getUint8(at) >>> 4 === 4) {
    const flags = view.getUint16(at + 6)
    return {
      family: 4,
      at,
      limit,
      transport: at + (view.getUint8(at) & 15) * 4,
      end: at + view.getUint16(at + 2),
      protocol: view.getUint8(at + 9),
      isFragment: (flags & 0x3fff) !== 0,
      isLater: (flags & 0x1fff) !== 0,
    }
  }
  const end = at + 40 + view.getUint16(at + 4)
  let protocol = view.getUint8(at + 6)
  let transport = at + 40
  let fragment = 0
  while (EXTENSIONS.includes(protocol) && transport + 8 <= frame.length && (fragment & 0xfff8) === 0) {
    const size = view.getUint8(transport + 1)
    if (protocol === 44) fragment = view.getUint16(transport + 2)
    const length = protocol === 44 ? 8 : protocol === 51 ? (size + 2) * 4 : (size + 1) * 8
    protocol = view.getUint8(transport)
    transport += length
  }
  return {
    family: 6,
    at,
    limit,
    transport,
    end,
    protocol,
    isFragment: (fragment & 0xfff9) !== 0,
    isLater: (fragment & 0xfff8) !== 0,
  }
}

/** RFC 1071: the one's complement sum of big-endian words, an odd byte padded with zero. */
function sumOf(bytes: Uint8Array, initial = 0): number {
  let sum = initial
  for (const [i, byte] of bytes.entries()) sum += i % 2 === 0 ? byte << 8 : byte
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

/** End of the bytes that the transport checksum covers: UDP has a length of its own, and bytes may follow (RFC 9868). */
export function coveredEnd(frame: Uint8Array, { protocol, transport, end }: Place): number {
  if (protocol !== UDP || transport + 8 > Math.min(end, frame.length)) return end
  const length = viewOf(frame).getUint16(transport + 4)
  return length >= 8 && transport + length <= end ? transport + length : end
}

/** Sum of the pseudo header that TCP, UDP and ICMPv6 cover. */
function pseudoSum(frame: Uint8Array, place: Place): number {
  const { family, at, transport, protocol } = place
  const addresses = family === 4 ? frame.subarray(at + 12, at + 20) : frame.subarray(at + 8, at + 40)
  return sumOf(addresses, protocol + coveredEnd(frame, place) - transport)
}

/** Offset of a transport protocol's checksum, and whether it covers the pseudo header; undefined: none. */
function checksumField({ family, protocol }: Place): { readonly at: number; readonly pseudo: boolean } | undefined {
  if (protocol === TCP) return { at: 16, pseudo: true }
  if (protocol === UDP) return { at: 6, pseudo: true }
  if (protocol === 1 && family === 4) return { at: 2, pseudo: false }
  return protocol === 58 && family === 6 ? { at: 2, pseudo: true } : undefined
}

/** Whether all bytes that the transport checksum covers are present. */
const isWhole = (place: Place): boolean =>
  !place.isFragment && place.end <= place.limit && place.end - place.transport >= (place.protocol === TCP ? 20 : 8)

/**
 * Offset of the packet inside `place`: in a tunnel, or quoted by an ICMP error. `gue`: UDP port whose payload is a
 * packet.
 */
function inside(frame: Uint8Array, place: Place, gue: number): number | undefined {
  const { protocol, transport, family, end, isLater } = place
  if (isLater) return undefined
  if (protocol === IPV4 || protocol === IPV6) return transport
  const view = viewOf(frame)
  if (protocol === UDP)
    return transport + 8 <= frame.length && view.getUint16(transport + 2) === gue ? transport + 8 : undefined
  const isIcmp = family === 4 ? protocol === 1 : protocol === 58
  if (!isIcmp || transport + 8 + (family === 4 ? 20 : 40) > Math.min(end, frame.length)) return undefined
  const type = view.getUint8(transport)
  const isError = family === 4 ? [3, 11, 12].includes(type) : type >= 1 && type <= 4
  return isError && view.getUint8(transport + 8) >>> 4 === family ? transport + 8 : undefined
}

/** Every IP packet of a frame, the innermost first. `reach`: inner packets are only followed up to this offset. */
function places(frame: Uint8Array, gue: number, reach = frame.length): Place[] {
  const found: Place[] = []
  let at = networkOf(frame)
  let limit = frame.length
  while (at !== undefined && at + 20 <= limit) {
    const place = placeAt(frame, at, limit)
    found.unshift(place)
    at = inside(frame, place, gue)
    limit = Math.min(limit, place.end, reach)
  }
  return found
}

export const GUE = 6080

/** Writes the transport checksum of a complete packet. */
function sealTransport(frame: Uint8Array, place: Place, keepZero: boolean): void {
  const view = viewOf(frame)
  const field = checksumField(place)
  if (!field || !isWhole(place)) return
  const at = place.transport + field.at
  if (keepZero && place.protocol === UDP && view.getUint16(at) === 0) return
  view.setUint16(at, 0)
  const covered = frame.subarray(place.transport, coveredEnd(frame, place))
  const sum = sumOf(covered, field.pseudo ? pseudoSum(frame, place) : 0)
  const checksum = ~sum & 0xffff
  view.setUint16(at, place.protocol === UDP && checksum === 0 ? 0xffff : checksum)
}

interface Sealing {
  /** Keep a UDP checksum of zero, which means "none". */
  readonly keepZero?: boolean
  readonly gue?: number
  /** Inner packets are only followed up to this offset. */
  readonly reach?: number
  /** Only the checksums of the outermost packet. */
  readonly outermost?: boolean
}

/** Writes every checksum of a frame whose bytes are complete. */
export function seal(frame: Uint8Array, options: Sealing = {}): Uint8Array {
  const { keepZero = false, gue = GUE, reach = frame.length, outermost = false } = options
  const sealed = frame.slice()
  const view = viewOf(sealed)
  for (const place of places(sealed, gue, reach).slice(outermost ? -1 : 0)) {
    sealTransport(sealed, place, keepZero)
    if (place.family === 4 && place.transport <= sealed.length) {
      view.setUint16(place.at + 10, 0)
      view.setUint16(place.at + 10, ~sumOf(sealed.subarray(place.at, place.transport)) & 0xffff)
    }
  }
  return sealed
}

/** Describes the wrong checksums of a frame. */
export function wrongChecksums(frame: Uint8Array, gue = GUE): string[] {
  const view = viewOf(frame)
  return places(frame, gue).flatMap((place) => {
    const wrong: string[] = []
    if (place.family === 4 && sumOf(frame.subarray(place.at, place.transport)) !== 0xffff)
      wrong.push(`IPv4 at ${place.at}`)
    const field = checksumField(place)
    if (!field || !isWhole(place)) return wrong
    const isAbsent = place.protocol === UDP && view.getUint16(place.transport + field.at) === 0
    const covered = frame.subarray(place.transport, coveredEnd(frame, place))
    const sum = sumOf(covered, field.pseudo ? pseudoSum(frame, place) : 0)
    if (!isAbsent && sum !== 0xffff) wrong.push(`protocol ${place.protocol} at ${place.transport}`)
    return wrong
  })
}
