// Header fields in matches of `nft -j list ruleset`, as numbers: nft(8), libnftables-json(5).

import { DSCP_NAMES, TCP_FLAG_NAMES } from '../model/packet-match.ts'
import type { PortRange } from '../model/ports.ts'
import { codeNumber, ofCodes, ofTypes, typeNumber } from './icmp-types.ts'
import { bare, fieldsOf, type Json, only } from './nft-json.ts'
import { bytesWith, FIRST, type Field, LATER, otherNumbers, WHOLE } from './scopes.ts'
import { lookUp } from './source.ts'
import { type Spans, spansOf } from './spans.ts'

/** How the elements of a match are numbers of a field. */
interface Reading {
  readonly field: Field
  readonly number: (value: Json) => number | undefined
  /** A range of such numbers as those of the field. */
  readonly spans: (range: PortRange) => Spans
}

const plain = (field: Field, shift = 0): Reading => ({
  field,
  number: (value) => (typeof value === 'number' ? value : undefined),
  spans: ({ first, last }) => [{ first: first + shift, last: last + shift }],
})

const types = (family: 4 | 6): Reading => ({
  field: 'icmp',
  number: (value) => typeNumber(value, family),
  spans: (range) => [ofTypes(range)],
})

const codes = (family: 4 | 6): Reading => ({
  field: 'icmp',
  number: (value) => codeNumber(value, family),
  spans: ofCodes,
})

const dscp: Reading = {
  ...plain('dscp'),
  number: (value) => (typeof value === 'number' ? value : lookUp(DSCP_NAMES, `${value}`)),
}

/** Length of the IPv6 header, which its own length does not count. */
const HEADER6 = 40

/** By `protocol field`. */
const READINGS: Readonly<Record<string, Reading>> = {
  'ip length': plain('length'),
  'ip6 length': plain('length', HEADER6),
  'ip ttl': plain('ttl'),
  'ip6 hoplimit': plain('ttl'),
  'ip dscp': dscp,
  'ip6 dscp': dscp,
  'icmp type': types(4),
  'icmp code': codes(4),
  'icmpv6 type': types(6),
  'icmpv6 code': codes(6),
  'vlan id': plain('vlan'),
  ...Object.fromEntries(
    ['tcp', 'udp', 'th'].flatMap((protocol) => [
      [`${protocol} sport`, plain('sourcePorts')],
      [`${protocol} dport`, plain('destinationPorts')],
    ]),
  ),
  'meta length': plain('length'),
}

export interface FieldMatch {
  readonly field: Field
  readonly spans: Spans
}

/** Fields that a table of a device sees as XDP does not: padding counts as length. */
const NOT_AT_A_DEVICE = new Set(['meta length'])
/** Fields that only a table of a device sees. */
const AT_A_DEVICE = new Set(['vlan id'])

const REVERSED: Readonly<Record<string, (value: number) => PortRange>> = {
  '<': (value) => ({ first: 0, last: value - 1 }),
  '<=': (value) => ({ first: 0, last: value }),
  '>': (value) => ({ first: value + 1, last: 65_535 }),
  '>=': (value) => ({ first: value, last: 65_535 }),
}

function rangeOf(element: Json, { number }: Reading): PortRange | undefined {
  const value = bare(element)
  const [key, content] = only(value)
  const [from, to] = key === 'range' && Array.isArray(content) ? content : [value, value]
  const [first, last] = [number(from), number(to)]
  return first === undefined || last === undefined ? undefined : { first, last }
}

/** Whether a match of `name` has a field. `device`: the table is for a device. */
export const isField = (name: string, device: boolean): boolean =>
  lookUp(READINGS, name) !== undefined && !(device ? NOT_AT_A_DEVICE : AT_A_DEVICE).has(name)

/** The numbers that a match of `name` lets through; undefined if they are not known. */
export function readField(name: string, op: string, elements: readonly Json[]): FieldMatch | undefined {
  const reading = lookUp(READINGS, name)
  const ranges = reading && elements.map((element) => rangeOf(element, reading))
  if (reading === undefined || ranges === undefined || ranges.includes(undefined)) return undefined
  const { field } = reading
  const compare = lookUp(REVERSED, op)
  const [range] = ranges
  if (compare !== undefined) {
    const isOne = ranges.length === 1 && range !== undefined && range.first === range.last
    // Only lengths, ports and hops have an order.
    if (!isOne || field === 'icmp' || field === 'dscp' || field === 'vlan') return undefined
    return { field, spans: reading.spans(compare(range.first)) }
  }
  if (op !== '==' && op !== '!=') return undefined
  const spans = spansOf(ranges.flatMap((one) => (one === undefined ? [] : reading.spans(one))))
  return { field, spans: op === '!=' ? otherNumbers(field, spans) : spans }
}

/** `syn`, `["syn","ack"]`, `{"|":["syn","ack"]}` or a number as a byte; undefined for other values. */
function flagsOf(value: Json): number | undefined {
  if (typeof value === 'number') return value
  const own = (TCP_FLAG_NAMES as readonly Json[]).indexOf(value)
  if (own >= 0) return 1 << own
  if (value === 'ecn') return 1 << TCP_FLAG_NAMES.indexOf('ece')
  const [key, content] = only(value)
  const list = Array.isArray(value) ? value : key === '|' && Array.isArray(content) ? content : undefined
  const bytes = list?.map(flagsOf)
  return bytes === undefined || bytes.includes(undefined)
    ? undefined
    : bytes.reduce<number>((sum, byte) => sum | (byte ?? 0), 0)
}

/** The flags that `tcp flags` lets through, under a mask or not; undefined if they are not known. */
export function readFlags(op: string, mask: Json | undefined, right: Json): FieldMatch | undefined {
  const { set } = fieldsOf(right)
  const values = Array.isArray(set) ? set.map((one) => flagsOf(bare(one))) : [flagsOf(right)]
  const under = mask === undefined ? 255 : flagsOf(mask)
  if (under === undefined || values.includes(undefined)) return undefined
  const bytes = values.map((value) => value ?? 0)
  const spans = (own: Spans): FieldMatch => ({ field: 'flags', spans: own })
  const equal = spansOf(bytes.flatMap((value) => bytesWith(under, value)))
  if (op === '==') return spans(equal)
  if (op === '!=') return spans(otherNumbers('flags', equal))
  // Without an operator, one of the flags must be set.
  const none = bytesWith(bytes[0] ?? 0, 0)
  if (mask !== undefined || bytes.length !== 1) return undefined
  if (op === 'in') return spans(otherNumbers('flags', none))
  return op === '!' ? spans(none) : undefined
}

const OFFSET = 0x1fff
const OFFSET_OR_MORE = 0x3fff

/** Fragments by `ip frag-off` under a mask; undefined for another mask, or another value than 0. */
export function readFragments(op: string, mask: Json, right: Json): FieldMatch | undefined {
  if ((op !== '==' && op !== '!=') || Number(right) !== 0) return undefined
  const pieces = { [OFFSET]: LATER, [OFFSET_OR_MORE]: FIRST }[Number(mask)]
  if (pieces === undefined) return undefined
  const [first, last] = op === '!=' ? [pieces, LATER] : [WHOLE, pieces - 1]
  return { field: 'fragments', spans: [{ first, last }] }
}
