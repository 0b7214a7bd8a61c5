// The packets that a rule matches, apart from their source: families, protocols, destinations and header fields,
// narrowed match by match.

import type { AddressSet, Family } from '../model/address.ts'
import { TCP_FLAG_NAMES, type TcpFlagName } from '../model/packet-match.ts'
import { type PortRange, PROTOCOL_NUMBERS, TCP, UDP } from '../model/ports.ts'
import { intersect } from './addresses.ts'
import { lookUp } from './source.ts'
import { commonSpans, holdsSpans, isWhole, otherSpans, type Spans, spansOf } from './spans.ts'

/** IANA protocol numbers of the names that nft and iptables print. */
const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipencap: 4,
  ipip: 4,
  ...PROTOCOL_NUMBERS,
  dccp: 33,
  ipv6: 41,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  'ipv6-icmp': 58,
  ospf: 89,
  comp: 108,
  vrrp: 112,
  sctp: 132,
  udplite: 136,
}

/** A protocol by name or number; undefined for an unknown one. */
export function protocolNumber(text: string | number): number | undefined {
  if (typeof text === 'number') return text
  return (
    lookUp(PROTOCOLS, text.toLowerCase()) ?? (/^\d{1,3}$/.test(text) && Number(text) <= 255 ? Number(text) : undefined)
  )
}

/** Whole datagrams, first and later fragments, as numbers of the field `fragments`. */
export const WHOLE = 0
export const FIRST = 1
export const LATER = 2

/**
 * Header fields, each with its numbers. `always`: every packet has it; the others are missing in packets of other
 * protocols and in later fragments. A type of ICMP is `type * 256 + code`; `flags` is their byte of the TCP header.
 */
export const FIELDS = {
  length: { first: 20, last: 65_535, always: true },
  ttl: { first: 0, last: 255, always: true },
  dscp: { first: 0, last: 63, always: true },
  fragments: { first: WHOLE, last: LATER, always: true },
  vlan: { first: 1, last: 4094, always: false },
  sourcePorts: { first: 0, last: 65_535, always: false },
  destinationPorts: { first: 0, last: 65_535, always: false },
  flags: { first: 0, last: 255, always: false },
  icmp: { first: 0, last: 65_535, always: false },
} as const

export type Field = keyof typeof FIELDS

export const FIELD_NAMES = Object.keys(FIELDS) as readonly Field[]

/** Fields of the headers that later fragments lack. */
export const HEADER_FIELDS = ['sourcePorts', 'destinationPorts', 'flags', 'icmp'] as const

/** Values of fields. undefined = any, and packets without the field. */
export type FieldSets = { readonly [F in Field]?: Spans }

/** All numbers of a field outside the ranges. */
export const otherNumbers = (field: Field, spans: Spans): Spans => otherSpans(spans, FIELDS[field])

/** All ports outside the ranges. */
export const otherPorts = (ranges: readonly PortRange[]): Spans => otherNumbers('sourcePorts', ranges)

/** `22` or `8000:8010` (with `separator`) as a port range; undefined for any other text. */
export function parsePorts(text: string, separator: string): PortRange | undefined {
  const [first = '', last = first, ...more] = text.split(separator)
  const valid = [first, last].every((port) => /^\d{1,5}$/.test(port) && Number(port) <= 65_535)
  if (!valid || more.length > 0 || Number(first) > Number(last)) return undefined
  return { first: Number(first), last: Number(last) }
}

/** The packets that a rule matches so far. undefined = any. */
export interface Traffic {
  readonly families: readonly Family[]
  readonly protocols: readonly number[] | undefined
  readonly destinations: AddressSet | undefined
  readonly fields: FieldSets
}

export const anyTraffic = (families: readonly Family[]): Traffic => ({
  families,
  protocols: undefined,
  destinations: undefined,
  fields: {},
})

const common = <T>(left: readonly T[] | undefined, right: readonly T[]): readonly T[] =>
  left === undefined ? right : left.filter((one) => right.includes(one))

export const onlyFamily = (traffic: Traffic, family: Family): Traffic => ({
  ...traffic,
  families: common(traffic.families, [family]),
})

export const onlyProtocols = (traffic: Traffic, protocols: readonly number[]): Traffic => ({
  ...traffic,
  protocols: common(traffic.protocols, protocols),
})

/** The fields with one narrowed to some numbers. */
export function narrowField(fields: FieldSets, field: Field, spans: Spans): FieldSets {
  const bounds = FIELDS[field]
  const own = commonSpans(spansOf(spans), [bounds])
  const known = fields[field]
  const both = known === undefined ? own : commonSpans(known, own)
  const { [field]: _, ...rest } = fields
  return bounds.always && isWhole(both, bounds) ? rest : { ...rest, [field]: both }
}

export const onlyField = (traffic: Traffic, field: Field, spans: Spans): Traffic => ({
  ...traffic,
  fields: narrowField(traffic.fields, field, spans),
})

export const onlyPorts = (
  traffic: Traffic,
  side: 'sourcePorts' | 'destinationPorts',
  ports: readonly PortRange[],
): Traffic => onlyField(traffic, side, ports)

/** The traffic without what was asked of some fields. */
export const anyOf = (traffic: Traffic, ...fields: readonly Field[]): Traffic => ({
  ...traffic,
  fields: Object.fromEntries(Object.entries(traffic.fields).filter(([name]) => !fields.includes(name as Field))),
})

/** The addresses in both. */
export const both = (a: AddressSet | undefined, b: AddressSet): AddressSet =>
  a === undefined ? b : { v4: intersect(a.v4, b.v4), v6: intersect(a.v6, b.v6) }

export const onlyDestinations = (traffic: Traffic, addresses: AddressSet): Traffic => ({
  ...traffic,
  destinations: both(traffic.destinations, addresses),
})

/** The packets in both. */
export function commonTraffic(outer: Traffic, inner: Traffic): Traffic {
  const { families, protocols, destinations, fields } = inner
  let traffic: Traffic = { ...outer, families: common(outer.families, families) }
  if (protocols !== undefined) traffic = onlyProtocols(traffic, protocols)
  if (destinations !== undefined) traffic = onlyDestinations(traffic, destinations)
  for (const field of FIELD_NAMES) {
    const spans = fields[field]
    if (spans !== undefined) traffic = onlyField(traffic, field, spans)
  }
  return traffic
}

/** Whether flags are all with one of the names set. */
export const hasFlag = (flags: Spans | undefined, name: TcpFlagName): boolean =>
  flags !== undefined && holdsSpans(bytesWith([name], [name]), flags)

/** Bytes of TCP flags where, of those under a mask, exactly some are set. */
export function bytesWith(mask: readonly TcpFlagName[] | number, set: readonly TcpFlagName[] | number): Spans {
  const [under, value] = [mask, set].map((names) => (typeof names === 'number' ? names : byteOf(names))) as [
    number,
    number,
  ]
  const all = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => (byte & under) === value)
  return spansOf(all.map((byte) => ({ first: byte, last: byte })))
}

/** The byte with these flags set. */
export const byteOf = (names: readonly TcpFlagName[]): number =>
  names.reduce((sum, name) => sum | (1 << TCP_FLAG_NAMES.indexOf(name)), 0)

/** Whether nothing is asked but the family. */
export const isAnyTraffic = ({ protocols, destinations, fields }: Traffic): boolean =>
  protocols === undefined && destinations === undefined && Object.keys(fields).length === 0

/** Whether a rule matches ports of a protocol for which a config has no ports. */
export const portsWithoutProtocol = ({ protocols, fields }: Traffic): boolean =>
  (fields.sourcePorts !== undefined || fields.destinationPorts !== undefined) &&
  (protocols === undefined || protocols.some((protocol) => protocol !== TCP && protocol !== UDP))
