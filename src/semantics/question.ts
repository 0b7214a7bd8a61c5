// The packets that a question about an address leaves open, and one of them as facts for the models.

import type { Address } from '../model/address.ts'
import { ACK, SYN } from '../model/headers.ts'
import type { PacketFields } from '../model/packet-fields.ts'
import { ICMP_OF, IPV6_EXTENSIONS, NO_NEXT_HEADER, TCP, UDP } from '../model/ports.ts'
import { compareAddresses } from '../model/text.ts'
import type { Transit } from './balance.ts'
import {
  type Box,
  type Condition,
  type Edges,
  HIDDEN_FLAGS,
  NO_PROTOCOL,
  type Sample,
  stretches,
  within,
} from './packet-space.ts'
import { HEADED, isProtocol } from './packet-tests.ts'

/** A packet of which only some fields are known. */
export interface Question extends PacketFields {
  readonly source: Address
  readonly destination?: Uint32Array | undefined
  readonly protocol?: number | undefined
}

/** Values of ordinary packets, which a search prefers. */
const ORDINARY = { source: 49152, destination: 65535, flags: 2, length: 64, ttl: 64, dscp: 0, code: 0 } as const

const upTo = (most: number): number[] => Array.from({ length: most + 1 }, (_, i) => i)

/** Values with the ordinary one first, if it is among them or between them. */
const preferring = (ordinary: number, values: readonly number[]): number[] => [...new Set([ordinary, ...values])]

type EdgeKey = Exclude<keyof Edges, 'addresses'>

/** The fields of the packets that a question is about: every field has a value for each case that the conditions tell apart. */
export function packetsOf(question: Question, conditions: readonly Condition[]): Box | undefined {
  const { source, protocol, sourcePort, destinationPort, tcpFlags, icmp, length, ttl, dscp, vlan, destination } =
    question
  const { family } = source
  const tests = conditions.flat()
  const edges = (key: EdgeKey): number[] => tests.flatMap(({ edges }) => edges?.[key] ?? [])
  const header = family === 4 ? 20 : 40
  const own = <T>(value: T | undefined, open: () => readonly T[]): readonly T[] =>
    value === undefined ? open() : [value]
  const stretchesOf = (ordinary: number, keys: readonly EdgeKey[]): number[] =>
    preferring(ordinary, stretches(keys.flatMap(edges), 0, 0xffff))
  const sources = own(sourcePort, () => stretchesOf(ORDINARY.source, ['source']))
  const destinations = own(destinationPort, () => stretchesOf(ORDINARY.destination, ['destination']))
  // Some packets have equal ports.
  const equal = stretchesOf(ORDINARY.source, ['source', 'destination']).filter(
    (port) => (sourcePort ?? port) === port && (destinationPort ?? port) === port,
  )
  const named = sourcePort ?? destinationPort
  const canBeEqual = named !== undefined && (destinationPort ?? named) === named
  const box: Box = {
    protocol: own(protocolFound(protocol, family), () => everyProtocol(family)),
    ports: [
      ...sources.flatMap((from) => destinations.map((to) => [from, to] as const)),
      ...[...equal, ...(canBeEqual ? [named] : [])].map((port) => [port, port] as const),
    ],
    tcpFlags: own(tcpFlags, () => preferring(ORDINARY.flags, upTo(HIDDEN_FLAGS))),
    icmp: own(icmp, () => {
      const codes = preferring(ORDINARY.code, stretches(edges('code'), 0, 0xff))
      return preferring(family === 4 ? 8 : 128, upTo(0xff)).flatMap((type) => codes.map((code) => ({ type, code })))
    }),
    length: own(length && Math.min(length, 0xffff), () =>
      preferring(ORDINARY.length, stretches(edges('length'), header, 0xffff)),
    ),
    ttl: own(ttl, () => preferring(ORDINARY.ttl, stretches(edges('ttl'), 0, 0xff))),
    dscp: own(dscp, () => upTo(63)),
    fragment: question.fragment === undefined ? [undefined, 'first', 'later'] : [question.fragment],
    vlan: vlan === undefined ? [undefined, ...stretches(edges('vlan'), 0, 0xfff)] : [vlan],
    destination: own(destination, () =>
      addressesOf(
        family,
        tests.flatMap(({ edges }) => edges?.addresses ?? []),
      ),
    ),
    flaw: [undefined, 'bad_length', 'ip_options', 'tiny_fragments', 'cut'],
  }
  return within(box, namedTests(question))
}

/** The condition that packets with the fields of a question meet. */
function namedTests({ source, sourcePort, destinationPort, tcpFlags, icmp }: Question): Condition {
  return [
    ...(sourcePort !== undefined || destinationPort !== undefined ? [isProtocol(TCP, UDP), ...HEADED] : []),
    ...(tcpFlags !== undefined ? [isProtocol(TCP), ...HEADED] : []),
    ...(icmp !== undefined ? [isProtocol(ICMP_OF[source.family]), ...HEADED] : []),
  ]
}

const protocolFound = (protocol: number | undefined, family: Address['family']): number | undefined =>
  protocol !== undefined && family === 6 && IPV6_EXTENSIONS.includes(protocol) ? NO_NEXT_HEADER : protocol

const everyProtocol = (family: Address['family']): number[] =>
  family === 4
    ? preferring(UDP, upTo(0xff))
    : [...preferring(UDP, upTo(0xff)).filter((number) => !IPV6_EXTENSIONS.includes(number)), NO_PROTOCOL]

/** The addresses at edges, behind one of documentation. */
function addressesOf(family: Address['family'], edges: readonly Uint32Array[]): Uint32Array[] {
  const ordinary = family === 4 ? Uint32Array.of(0xc6336401) : Uint32Array.of(0x20010db8, 0, 0, 1)
  const sorted = [new Uint32Array(ordinary.length), ...edges].sort(compareAddresses)
  const distinct = sorted.filter((words, i) => i === 0 || compareAddresses(words, sorted[i - 1] as Uint32Array) !== 0)
  return [ordinary, ...distinct]
}

/** Whether the packet has ports, flags or a type that can be read. */
const isHeaded = ({ fragment, flaw }: Sample): boolean => fragment !== 'later' && flaw !== 'cut'

/** A packet of the question for the balancer. */
export function transitOf(sample: Sample, { family, words }: Address) {
  const { protocol, destination, length, ttl, fragment, tcpFlags, icmp, flaw } = sample
  const hasFlags = protocol === TCP && isHeaded(sample) && tcpFlags !== HIDDEN_FLAGS
  const hasPorts = (protocol === TCP || protocol === UDP) && isHeaded(sample)
  const transit: Transit = {
    ...{ destination, isAddressed: true, length, ttl, fragment, hasPlainLink: true, isToGroup: false },
    isCut: flaw === 'cut' || flaw === 'bad_length',
    startsFlow: protocol !== TCP || (hasFlags && (tcpFlags & (SYN | ACK)) === SYN),
    hasWholeTcp: hasFlags,
    isReset: hasFlags && (tcpFlags & 4) !== 0,
    icmp: protocol === ICMP_OF[family] && isHeaded(sample) ? { type: icmp.type, quoted: undefined } : undefined,
  }
  const [from, to] = sample.ports
  return { family, source: words, protocol, ports: hasPorts ? { source: from, destination: to } : undefined, transit }
}
