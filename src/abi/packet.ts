// Probes: packets that `why` and `apply` send through the loaded programs, in the shape of those on the interfaces of the
// policy, and the explanations that these write back. Default drop treats a probe as essential only for its addresses,
// protocol, ports and type.

import { type Family, isLoopback } from '../model/address.ts'
import type { AnomalyName } from '../model/anomaly.ts'
import { ACK, DHCP_PORTS, ESSENTIAL_TYPES, SYN } from '../model/headers.ts'
import type { EssentialGroup } from '../model/policy.ts'
import { TCP, UDP } from '../model/ports.ts'
import type { Verdict } from '../report/reason.ts'
import { addressAnomalies, flagAnomalies } from '../semantics/anomalies.ts'
import type { Transit } from '../semantics/balance.ts'
import type { Facts } from '../semantics/judge.ts'
import type { Traits } from '../semantics/match.ts'
import {
  ETHERNET_SIZE,
  type Filled,
  fill,
  isCut,
  isIcmp,
  lengthOf,
  packetFor,
  protocolFound,
  type TestPacket,
} from './frame.ts'
import { type Explanation, explanationCodec, INTERFACE_FLAG, type TestRun, testRunCodec } from './generated.ts'

export type { Message, TestPacket } from './frame.ts'

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

/** The facts of the probe's packet for `judge`. */
export function factsFor(packet: TestPacket): Facts {
  const filled = fill(packet)
  const { family, source, protocol, sourcePort, destinationPort, fragment } = filled
  const hasPorts = (protocol === TCP || protocol === UDP) && fragment !== 'later'
  return {
    kind: 'ip',
    family,
    source,
    protocol: protocolFound(filled),
    ports: hasPorts ? { source: sourcePort, destination: destinationPort } : undefined,
    traits: traitsOf(filled),
    essential: essentialGroup(filled),
    unparsed: undefined,
    anomalies: [...anomaliesOf(filled), ...(packet.anomaly ? [packet.anomaly] : [])],
    transit: filled.message || packet.anomaly ? undefined : transitOf(filled),
  }
}

/** Hop-by-hop options, and the routing header, of type 0 here. */
const IPV6_OPTIONS = [0, 43]

/** The anomalies of a packet apart from those that it is bent to have. */
function anomaliesOf(filled: Filled): readonly AnomalyName[] {
  const { family, protocol, sourcePort, destinationPort, flags, fragment } = filled
  const hasHead = fragment !== 'later'
  const hasPorts = hasHead && (protocol === TCP || protocol === UDP)
  const ports = hasPorts ? { source: sourcePort, destination: destinationPort } : undefined
  const type = hasHead && isIcmp(filled) ? filled.icmp.type : undefined
  const isOption = family === 6 && !fragment && IPV6_OPTIONS.includes(protocol)
  return [
    ...addressAnomalies({ ...filled, ports, type }),
    ...(hasHead && protocol === TCP ? flagAnomalies(flags) : []),
    ...(isCut(filled) ? ['bad_length' as const] : []),
    ...(isOption ? ['ip_options' as const] : []),
  ]
}

function traitsOf(filled: Filled): Traits {
  const { destination, ttl, dscp, fragment, vlan, protocol, flags, icmp } = filled
  return {
    destination,
    length: Math.min(lengthOf(filled), 0xffff),
    ttl,
    dscp,
    fragment,
    vlan,
    tcpFlags: protocol === TCP && fragment !== 'later' ? flags : undefined,
    icmp: isIcmp(filled) && fragment !== 'later' ? icmp : undefined,
  }
}

const ICMP_GROUPS = Object.entries(ESSENTIAL_TYPES) as [EssentialGroup, Readonly<Record<Family, readonly number[]>>][]

const essentialIcmp = (family: Family, type: number): EssentialGroup | undefined =>
  ICMP_GROUPS.find(([, types]) => types[family].includes(type))?.[0]

function essentialGroup(filled: Filled): EssentialGroup | undefined {
  const { family, source, destination, protocol, sourcePort, destinationPort, fragment } = filled
  if ([source, destination].every((words) => isLoopback({ family, words }))) return 'loopback'
  if (fragment === 'later') return undefined
  if (isIcmp(filled)) return essentialIcmp(family, filled.icmp.type)
  const { server, client } = DHCP_PORTS[family]
  if (protocol !== UDP) return undefined
  if (sourcePort === server && destinationPort === client) return 'dhcp_client'
  const isRequest = (sourcePort === client || sourcePort === server) && destinationPort === server
  return isRequest ? 'dhcp_server' : undefined
}

/** The facts of the packet for the balancer. */
function transitOf(filled: Filled): Transit {
  const { protocol, destination, ttl, fragment, flags, icmp } = filled
  const isTcp = protocol === TCP
  const hasFlags = isTcp && fragment !== 'later'
  return {
    destination,
    isAddressed: true,
    length: lengthOf(filled),
    isCut: isCut(filled),
    ttl,
    fragment,
    hasPlainLink: true,
    startsFlow: !isTcp || (hasFlags && (flags & (SYN | ACK)) === SYN),
    hasWholeTcp: hasFlags,
    isReset: hasFlags && (flags & 4) !== 0,
    isToGroup: false,
    icmp: isIcmp(filled) && fragment !== 'later' ? { type: icmp.type, quoted: undefined } : undefined,
  }
}

/** Stands for "no list" and "no scope" in an Explanation. */
export const NONE = 0xffff

/** The input of a test run: `data_in`, and the `struct xdp_md` for `ctx_in` that makes its start metadata. */
export interface TestInput {
  readonly data: Uint8Array
  readonly context: Uint8Array
}

const isBare = ({ flags }: TestRun): boolean => (flags & INTERFACE_FLAG.IP) !== 0

/** The packet as the interface can receive it: without a tag where packets have no Ethernet header. */
export const shapedFor = (packet: TestPacket, arrival: TestRun): TestPacket =>
  isBare(arrival) ? { ...packet, vlan: undefined } : packet

/** The packet in the shape of those on the interface: without an Ethernet header where these have none. */
export function testInputFor(packet: TestPacket, arrival: TestRun): TestInput {
  const frame = packetFor(shapedFor(packet, arrival))
  return inputOf(isBare(arrival) ? frame.subarray(ETHERNET_SIZE) : frame, arrival)
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
