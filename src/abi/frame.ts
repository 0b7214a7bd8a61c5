// The frames of test packets: well-formed, checksums included, so that each stands for a packet of its kind.

import type { Address } from '../model/address.ts'
import { ACK, SYN } from '../model/headers.ts'
import type { PacketFields } from '../model/packet-fields.ts'
import { ICMP_OF, IPV6_EXTENSIONS, IPV6_FRAGMENT, NO_NEXT_HEADER, TCP, UDP } from '../model/ports.ts'
import { type HeaderAnomaly, oddFrame } from './odd-packet.ts'

/**
 * Fields that are left open have ordinary values: ports that no service has, the flags that `isWithin` says, an echo request, a TTL
 * of 64, a whole datagram without a tag. No packet is shorter than its headers.
 */
export interface TestPacket extends PacketFields {
  readonly source: Address
  /** Of the source's family; undefined = an address for documentation. */
  readonly destination?: Address | undefined
  /** IP protocol number; `icmp` = ICMP or ICMPv6, after the source's family; undefined = UDP. */
  readonly protocol?: number | 'icmp' | undefined
  /** TCP only: a packet within a connection (ACK), not its first one (SYN). */
  readonly isWithin?: boolean | undefined
  /** ICMP only, in place of `icmp`, which makes a message without content. See `MESSAGES`. */
  readonly message?: Message | undefined
  /** IPv4 without a tag only: bends its headers. See odd-packet.ts. */
  readonly anomaly?: HeaderAnomaly | undefined
}

/**
 * ICMP messages of a neighbour that forwards packets: over IPv4 an error (RFC 1191, "fragmentation needed"), because ARP
 * has no addresses that a list could name, over IPv6 a neighbour advertisement (RFC 4861 §4.4).
 */
export type Message = 'too-big' | 'advertisement'

export const MESSAGES = {
  'too-big': { type: 3, code: 4, hopLimit: 64, size: 36 },
  advertisement: { type: 136, code: 0, hopLimit: 255, size: 24 },
} as const satisfies Record<Message, Record<string, unknown>>

/** TEST-NET-2 (RFC 5737) and the documentation prefix (RFC 3849). */
const DESTINATION4 = Uint32Array.of(0xc6336401)
const DESTINATION6 = Uint32Array.of(0x20010db8, 0, 0, 1)
/** First and last of the dynamic ports (RFC 6335 §6), which no service can be registered for. */
const SOURCE_PORT = 49152
const DESTINATION_PORT = 65535

export const ETHERNET_SIZE = 14
const TAG_SIZE = 4
const IPV4_SIZE = 20
const IPV6_SIZE = 40
const HOP_LIMIT = 64
/** Longer test packets have no bytes for the rest of their length. */
const LARGEST_PADDED = 9000

/** A probe with its defaults filled in. */
export interface Filled {
  readonly family: 4 | 6
  readonly source: Uint32Array
  readonly destination: Uint32Array
  readonly protocol: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly flags: number
  /** Type and code of an ICMP message. */
  readonly icmp: { readonly type: number; readonly code: number }
  readonly message: Message | undefined
  readonly length: number | undefined
  readonly ttl: number
  readonly dscp: number
  readonly fragment: 'first' | 'later' | undefined
  readonly vlan: number | undefined
}

export function fill(packet: TestPacket): Filled {
  const { source, destination, protocol = UDP, sourcePort, destinationPort, isWithin = false, message } = packet
  const { family, words } = source
  if (destination && destination.family !== family)
    throw new RangeError('source and destination are of different families')
  return {
    family,
    source: words,
    destination: destination?.words ?? (family === 4 ? DESTINATION4 : DESTINATION6),
    protocol: protocol === 'icmp' ? ICMP_OF[family] : protocol,
    sourcePort: sourcePort ?? SOURCE_PORT,
    destinationPort: destinationPort ?? DESTINATION_PORT,
    flags: packet.tcpFlags ?? (isWithin ? ACK : SYN),
    icmp: packet.icmp ?? (message ? MESSAGES[message] : { type: family === 4 ? 8 : 128, code: 0 }),
    message: packet.icmp ? undefined : message,
    length: packet.length,
    ttl: packet.ttl ?? (message ? MESSAGES[message].hopLimit : HOP_LIMIT),
    dscp: packet.dscp ?? 0,
    fragment: packet.fragment,
    vlan: packet.vlan,
  }
}

/** The protocol that a parser of the packet finds. */
export function protocolFound({ family, protocol, fragment }: Filled): number | undefined {
  if (family === 4 || !IPV6_EXTENSIONS.includes(protocol)) return protocol
  return fragment === 'later' ? undefined : NO_NEXT_HEADER
}

export const isIcmp = ({ family, protocol }: Filled): boolean => protocol === ICMP_OF[family]

/** RFC 1071: the one's complement of the one's complement sum of big-endian 16-bit words. */
function checksum(bytes: Uint8Array, initial = 0): number {
  let sum = initial
  for (let at = 0; at < bytes.length; at++) sum += (bytes[at] as number) << (at % 2 === 0 ? 8 : 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

const halves = (words: Uint32Array): number => words.reduce((sum, word) => sum + (word >>> 16) + (word & 0xffff), 0)

/** The part of the pseudo header that TCP, UDP and ICMPv6 checksums share (RFC 9293 §3.1, RFC 8200 §8.1). */
const pseudo = ({ source, destination, protocol }: Filled, length: number): number =>
  halves(source) + halves(destination) + protocol + length

/** The message as the neighbour sends it. An error quotes a UDP packet of this host (RFC 792); its MTU is 1,400. */
function messageOf(probe: Filled, message: Message): Uint8Array {
  const { family, source, destination, sourcePort, destinationPort } = probe
  const { type, code, size } = MESSAGES[message]
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, type)
  view.setUint8(1, code)
  if (family === 4) {
    view.setUint16(6, 1400)
    const quoted = new Uint8Array(IPV4_SIZE)
    const header = new DataView(quoted.buffer)
    header.setUint8(0, 0x45)
    header.setUint16(2, IPV4_SIZE + 8)
    header.setUint8(8, HOP_LIMIT)
    header.setUint8(9, UDP)
    writeWords(header, 12, destination)
    writeWords(header, 16, source)
    header.setUint16(10, checksum(quoted))
    bytes.set(quoted, 8)
    view.setUint16(28, destinationPort)
    view.setUint16(30, sourcePort)
    view.setUint16(32, 8)
  } else writeWords(view, 8, source)
  view.setUint16(2, checksum(bytes, family === 4 ? 0 : pseudo(probe, size)))
  return bytes
}

/** Bytes of the headers in front of the transport header. */
const networkSize = ({ family, fragment }: Filled): number =>
  family === 4 ? IPV4_SIZE : IPV6_SIZE + (fragment ? 8 : 0)

/** Bytes of the transport header of a whole datagram, or of its data. */
const headSize = ({ protocol, message }: Filled): number =>
  message ? MESSAGES[message].size : protocol === TCP ? 20 : 8

/** Bytes of the datagram, as its IP header says. */
export const lengthOf = (probe: Filled): number =>
  Math.max(
    networkSize(probe) + headSize(probe),
    Math.min(probe.length ?? 0, 0xffff + (probe.family === 4 ? 0 : IPV6_SIZE)),
  )

/** Whether the frame is shorter than that. */
export const isCut = (probe: Filled): boolean => lengthOf(probe) > LARGEST_PADDED

/** Headers with ports and ICMP headers are complete; any other protocol gets eight bytes of payload. */
function transport(probe: Filled): Uint8Array {
  const { family, protocol, sourcePort, destinationPort, flags, message, icmp, fragment } = probe
  if (message) return messageOf(probe, message)
  const size = isCut(probe) ? headSize(probe) : lengthOf(probe) - networkSize(probe)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  // Data in the middle of a datagram.
  if (fragment === 'later') return bytes
  if (protocol === TCP || protocol === UDP) {
    view.setUint16(0, sourcePort)
    view.setUint16(2, destinationPort)
  }
  if (protocol === TCP) {
    // Five words long, a full window.
    view.setUint16(12, 0x5000 | flags)
    view.setUint16(14, 0xffff)
    view.setUint16(16, checksum(bytes, pseudo(probe, bytes.length)))
  } else if (protocol === UDP) {
    view.setUint16(4, bytes.length)
    // RFC 768: a sum of zero is sent as all ones, because zero means "no checksum".
    view.setUint16(6, checksum(bytes, pseudo(probe, bytes.length)) || 0xffff)
  } else if (isIcmp(probe)) {
    view.setUint8(0, icmp.type)
    view.setUint8(1, icmp.code)
    view.setUint16(2, checksum(bytes, family === 4 ? 0 : pseudo(probe, bytes.length)))
  } else {
    // For the number of an IPv6 extension header, these eight bytes are that header, with no next header.
    view.setUint8(0, NO_NEXT_HEADER)
  }
  return bytes
}

function writeWords(view: DataView, at: number, words: Uint32Array): void {
  for (const [i, word] of words.entries()) view.setUint32(at + i * 4, word)
}

/** Offset and "more fragments" of IPv4; a later fragment begins 1,480 bytes behind the first, and is the last. */
const FRAGMENT4 = { first: 0x2000, later: 185 } as const

function header4(probe: Filled): Uint8Array {
  const bytes = new Uint8Array(IPV4_SIZE)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 0x45)
  view.setUint8(1, probe.dscp << 2)
  view.setUint16(2, lengthOf(probe))
  if (probe.fragment) view.setUint16(6, FRAGMENT4[probe.fragment])
  view.setUint8(8, probe.ttl)
  view.setUint8(9, probe.protocol)
  writeWords(view, 12, probe.source)
  writeWords(view, 16, probe.destination)
  view.setUint16(10, checksum(bytes))
  return bytes
}

function header6(probe: Filled): Uint8Array {
  const { protocol, fragment } = probe
  const bytes = new Uint8Array(networkSize(probe))
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 0x6000 | (probe.dscp << 6))
  view.setUint16(4, lengthOf(probe) - IPV6_SIZE)
  view.setUint8(6, fragment ? IPV6_FRAGMENT : protocol)
  view.setUint8(7, probe.ttl)
  writeWords(view, 8, probe.source)
  writeWords(view, 24, probe.destination)
  if (!fragment) return bytes
  view.setUint8(40, protocol)
  view.setUint16(42, fragment === 'first' ? 1 : FRAGMENT4.later << 3)
  return bytes
}

/** The probe as an Ethernet frame. Throws RangeError if the addresses belong to different families. */
export function packetFor(packet: TestPacket): Uint8Array {
  const filled = fill(packet)
  const { family, vlan } = filled
  const parts = [linkOf(family, vlan), family === 4 ? header4(filled) : header6(filled), transport(filled)]
  const frame = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    frame.set(part, at)
    at += part.length
  }
  return packet.anomaly ? oddFrame(frame, packet.anomaly) : frame
}

/** Locally administered unicast addresses, 02:… to 02:…, and a tag. */
function linkOf(family: 4 | 6, vlan: number | undefined): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_SIZE + (vlan === undefined ? 0 : TAG_SIZE))
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 2)
  view.setUint8(5, 1)
  view.setUint8(6, 2)
  view.setUint8(11, 2)
  if (vlan !== undefined) {
    view.setUint16(12, 0x8100)
    view.setUint16(14, vlan)
  }
  view.setUint16(bytes.length - 2, family === 4 ? 0x0800 : 0x86dd)
  return bytes
}
