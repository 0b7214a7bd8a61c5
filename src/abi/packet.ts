// Probes: packets that `why` and `apply` send through the loaded programs, in the shape of those on the interfaces of the
// policy, and the explanations that these write back. A probe is well-formed, checksums included, so that it stands for a
// packet of its kind. Default drop treats it as essential only for its addresses, protocol and ports.

import { type Address, isLoopback } from '../model/address.ts'
import type { AnomalyName } from '../model/anomaly.ts'
import type { EssentialGroup } from '../model/policy.ts'
import { TCP, UDP } from '../model/ports.ts'
import type { Verdict } from '../report/reason.ts'
import { addressAnomalies } from '../semantics/anomalies.ts'
import type { Transit } from '../semantics/balance.ts'
import type { Facts } from '../semantics/judge.ts'
import { type Explanation, explanationCodec, INTERFACE_FLAG, type TestRun, testRunCodec } from './generated.ts'
import { type HeaderAnomaly, oddFrame } from './odd-packet.ts'

export interface TestPacket {
  readonly source: Address
  /** Of the source's family; undefined = an address for documentation. */
  readonly destination?: Address | undefined
  /** IP protocol number; `icmp` = ICMP or ICMPv6, after the source's family; undefined = UDP. */
  readonly protocol?: number | 'icmp' | undefined
  /** TCP and UDP only; undefined = a port that no service has. */
  readonly sourcePort?: number | undefined
  readonly destinationPort?: number | undefined
  /** TCP only: a packet within a connection (ACK), not its first one (SYN). */
  readonly isWithin?: boolean | undefined
  /** ICMP only; undefined = an echo request. See `MESSAGES`. */
  readonly message?: Message | undefined
  /** IPv4 only: makes its headers such. See odd-packet.ts. */
  readonly anomaly?: HeaderAnomaly | undefined
}

/**
 * ICMP messages of a neighbour that forwards packets: over IPv4 an error (RFC 1191, "fragmentation needed"), because ARP
 * has no addresses that a list could name, over IPv6 a neighbour advertisement (RFC 4861 §4.4).
 */
export type Message = 'too-big' | 'advertisement'

const MESSAGES = {
  'too-big': { type: 3, code: 4, hopLimit: 64, size: 36, group: 'icmp_errors' },
  advertisement: { type: 136, code: 0, hopLimit: 255, size: 24, group: 'neighbor_discovery' },
} as const satisfies Record<Message, { readonly group: EssentialGroup } & Record<string, unknown>>

/** A test packet, the interface that it stands for, and its verdict by the config. */
export interface Probe {
  readonly packet: TestPacket
  readonly arrival: TestRun
  /** Name of that interface; undefined = none in particular. */
  readonly on?: string | undefined
  readonly verdict: Verdict
}

/** An interface with all roles, without a slot: lo, where test runs arrive. */
export const ANYWHERE: TestRun = { ifindex: 1, slot: 0, flags: 0 }
/** As ANYWHERE, of packets without an Ethernet header. */
export const ANYWHERE_BARE: TestRun = { ...ANYWHERE, flags: INTERFACE_FLAG.IP }

const ICMP = 1
const ICMPV6 = 58
const NO_NEXT_HEADER = 59
/** Types of echo requests. */
const ECHO = { 4: 8, 6: 128 } as const
/** Hop-by-hop options and the routing header, of type 0 here. */
const IPV6_OPTIONS = [0, 43]
/** Protocol numbers that IPv6 reads as extension headers: hop-by-hop, routing, fragment, AH, destination options. */
const IPV6_EXTENSIONS = [0, 43, 44, 51, 60]

/** TEST-NET-2 (RFC 5737) and the documentation prefix (RFC 3849). */
const DESTINATION4 = Uint32Array.of(0xc6336401)
const DESTINATION6 = Uint32Array.of(0x20010db8, 0, 0, 1)
/** First and last of the dynamic ports (RFC 6335 §6), which no service can be registered for. */
const SOURCE_PORT = 49152
const DESTINATION_PORT = 65535

const ETHERNET_SIZE = 14
const IPV4_SIZE = 20
const IPV6_SIZE = 40
const HOP_LIMIT = 64

/** A probe with its defaults filled in. */
interface Filled {
  readonly family: 4 | 6
  readonly source: Uint32Array
  readonly destination: Uint32Array
  readonly protocol: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly isWithin: boolean
  readonly message: Message | undefined
}

function fill({
  source,
  destination,
  protocol = UDP,
  sourcePort,
  destinationPort,
  isWithin = false,
  message,
}: TestPacket): Filled {
  const { family, words } = source
  if (destination && destination.family !== family)
    throw new RangeError('source and destination are of different families')
  return {
    family,
    source: words,
    destination: destination?.words ?? (family === 4 ? DESTINATION4 : DESTINATION6),
    protocol: protocol === 'icmp' ? (family === 4 ? ICMP : ICMPV6) : protocol,
    sourcePort: sourcePort ?? SOURCE_PORT,
    destinationPort: destinationPort ?? DESTINATION_PORT,
    isWithin,
    message,
  }
}

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

/** Headers with ports and ICMP headers are complete; any other protocol gets eight bytes of payload. */
function transport(probe: Filled): Uint8Array {
  const { family, protocol, sourcePort, destinationPort, isWithin, message } = probe
  if (message) return messageOf(probe, message)
  const bytes = new Uint8Array(protocol === TCP ? 20 : 8)
  const view = new DataView(bytes.buffer)
  if (protocol === TCP || protocol === UDP) {
    view.setUint16(0, sourcePort)
    view.setUint16(2, destinationPort)
  }
  if (protocol === TCP) {
    // Five words long, SYN or ACK, a full window.
    view.setUint16(12, isWithin ? 0x5010 : 0x5002)
    view.setUint16(14, 0xffff)
    view.setUint16(16, checksum(bytes, pseudo(probe, bytes.length)))
  } else if (protocol === UDP) {
    view.setUint16(4, bytes.length)
    // RFC 768: a sum of zero is sent as all ones, because zero means "no checksum".
    view.setUint16(6, checksum(bytes, pseudo(probe, bytes.length)) || 0xffff)
  } else if (protocol === (family === 4 ? ICMP : ICMPV6)) {
    // Echo request.
    view.setUint8(0, ECHO[family])
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

/** The probe as an Ethernet frame. Throws RangeError if the addresses belong to different families. */
export function packetFor(packet: TestPacket): Uint8Array {
  const filled = fill(packet)
  const payload = transport(filled)
  const hopLimit = filled.message ? MESSAGES[filled.message].hopLimit : HOP_LIMIT
  const headers = ETHERNET_SIZE + (filled.family === 4 ? IPV4_SIZE : IPV6_SIZE)
  const frame = new Uint8Array(headers + payload.length)
  const view = new DataView(frame.buffer)
  // Locally administered unicast addresses: 02:… to 02:…
  view.setUint8(0, 2)
  view.setUint8(5, 1)
  view.setUint8(6, 2)
  view.setUint8(11, 2)
  view.setUint16(12, filled.family === 4 ? 0x0800 : 0x86dd)
  if (filled.family === 4) {
    view.setUint8(14, 0x45)
    view.setUint16(16, IPV4_SIZE + payload.length)
    view.setUint8(22, hopLimit)
    view.setUint8(23, filled.protocol)
    writeWords(view, 26, filled.source)
    writeWords(view, 30, filled.destination)
    view.setUint16(24, checksum(frame.subarray(ETHERNET_SIZE, headers)))
  } else {
    view.setUint8(14, 0x60)
    view.setUint16(18, payload.length)
    view.setUint8(20, filled.protocol)
    view.setUint8(21, hopLimit)
    writeWords(view, 22, filled.source)
    writeWords(view, 38, filled.destination)
  }
  frame.set(payload, headers)
  return packet.anomaly ? oddFrame(frame, packet.anomaly) : frame
}

/** The facts of the probe's packet for `judge`. */
export function factsFor(packet: TestPacket): Facts {
  const filled = fill(packet)
  const { family, source, protocol, sourcePort, destinationPort } = filled
  const hasPorts = protocol === TCP || protocol === UDP
  return {
    kind: 'ip',
    family,
    source,
    protocol: family === 6 && IPV6_EXTENSIONS.includes(protocol) ? NO_NEXT_HEADER : protocol,
    ports: hasPorts ? { source: sourcePort, destination: destinationPort } : undefined,
    essential: essentialGroup(filled),
    unparsed: undefined,
    anomalies: [...anomaliesOf(filled), ...(packet.anomaly ? [packet.anomaly] : [])],
    transit: filled.message || packet.anomaly ? undefined : transitOf(filled),
  }
}

/** A probe is well-formed, so its addresses make its anomalies; but a hop-by-hop or routing header is one itself. */
function anomaliesOf(filled: Filled): readonly AnomalyName[] {
  const { family, protocol, sourcePort, destinationPort, message } = filled
  const ports = protocol === TCP || protocol === UDP ? { source: sourcePort, destination: destinationPort } : undefined
  const isIcmp = protocol === (family === 4 ? ICMP : ICMPV6)
  const type = message ? MESSAGES[message].type : isIcmp ? ECHO[family] : undefined
  const isOption = family === 6 && IPV6_OPTIONS.includes(protocol)
  return [...addressAnomalies({ ...filled, ports, type }), ...(isOption ? ['ip_options' as const] : [])]
}

/** RFC 2131, RFC 8415. */
const DHCP = { 4: { server: 67, client: 68 }, 6: { server: 547, client: 546 } } as const

function essentialGroup({
  family,
  source,
  destination,
  protocol,
  sourcePort,
  destinationPort,
  message,
}: Filled): EssentialGroup | undefined {
  if (message) return MESSAGES[message].group
  if ([source, destination].every((words) => isLoopback({ family, words }))) return 'loopback'
  const { server, client } = DHCP[family]
  if (protocol !== UDP) return undefined
  if (sourcePort === server && destinationPort === client) return 'dhcp_client'
  const isRequest = (sourcePort === client || sourcePort === server) && destinationPort === server
  return isRequest ? 'dhcp_server' : undefined
}

/** The facts of the packet for the balancer. */
function transitOf(filled: Filled): Transit {
  const { family, protocol, destination } = filled
  const isEcho = protocol === (family === 4 ? ICMP : ICMPV6)
  return {
    destination,
    isAddressed: true,
    length: (family === 4 ? IPV4_SIZE : IPV6_SIZE) + transport(filled).length,
    isCut: false,
    ttl: HOP_LIMIT,
    fragment: undefined,
    hasPlainLink: true,
    startsFlow: true,
    hasWholeTcp: protocol === TCP,
    isReset: false,
    isToGroup: false,
    icmp: isEcho ? { type: family === 4 ? 8 : 128, quoted: undefined } : undefined,
  }
}

/** Stands for "no list" and "no scope" in an Explanation. */
export const NONE = 0xffff

/** The input of a test run: `data_in`, and the `struct xdp_md` for `ctx_in` that makes its start metadata. */
export interface TestInput {
  readonly data: Uint8Array
  readonly context: Uint8Array
}

/** The packet in the shape of those on the interface: without an Ethernet header where these have none. */
export function testInputFor(packet: TestPacket, arrival: TestRun): TestInput {
  const frame = packetFor(packet)
  return inputOf((arrival.flags & INTERFACE_FLAG.IP) === 0 ? frame : frame.subarray(ETHERNET_SIZE), arrival)
}

/** The frame with metadata for the program in front: the interface that it stands for. */
export function inputOf(frame: Uint8Array, arrival: TestRun): TestInput {
  const data = new Uint8Array(testRunCodec.size + frame.length)
  testRunCodec.encode(arrival, new DataView(data.buffer))
  data.set(frame, testRunCodec.size)
  // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex. The kernel lets data_in begin with the
  // metadata, so that its length is the offset of the packet.
  const context = Uint32Array.of(testRunCodec.size, data.length, 0, 0, 0, 0)
  return { data, context: new Uint8Array(context.buffer) }
}

/** The packet of a test run's output, without the metadata. */
export const packetOf = (output: Uint8Array): Uint8Array => output.subarray(testRunCodec.size)

/** Decodes the explanation that `explain` wrote over the start of its packet. */
export function explanationOf(output: Uint8Array): Explanation {
  return explanationCodec.decode(new DataView(output.buffer, output.byteOffset, output.byteLength))
}
