// Lines of conditions on packets (struct match) behind the rules of a section: one for each combination of port ranges,
// types of ICMP and code points of a scope.

import {
  addressRangeCodec,
  type AddressRange as Bounds,
  LINE_SIZE,
  MATCH_CONDITION,
  MATCH_DESTINATIONS,
  MATCH_FRAGMENT,
  type Match,
  matchCodec,
  RULE_MARK,
  type Rule,
} from '../../abi/generated.ts'
import type { AddressSet, Ranges } from '../../model/address.ts'
import { compareKinds, type Fragments, type IcmpKind, type PacketMatch } from '../../model/packet-match.ts'
import type { PortRange } from '../../model/ports.ts'
import { EMPTY_SET, normalize } from '../../model/ranges.ts'
import type { Scope } from '../../model/state.ts'
import { corrupt, LINE_WORDS, makeLines, viewOf } from '../lines/lines.ts'

/** A line, and the ranges of destinations behind it. */
export interface MatchLines {
  readonly line: Match
  readonly more: readonly Bounds[]
}

/** Fields that one rule of a scope asks for in its line. */
interface Alternative {
  readonly source: PortRange | undefined
  readonly destination: PortRange | undefined
  readonly icmp: IcmpKind | undefined
  readonly dscp: number | undefined
}

const RANGES_A_LINE = LINE_SIZE / addressRangeCodec.size
const NO_RANGE: Bounds = { first_high: 0n, first_low: 0n, last_high: 0n, last_low: 0n }
const ANY_PORT: PortRange = { first: 0, last: 0xffff }
const NONE: PortRange = { first: 0, last: 0 }
const NO_FLAGS = { mask: 0, value: 0 }
const IPV4_IN_IPV6 = 0xffff00000000n

const half = (words: Uint32Array, at: number): bigint =>
  (BigInt(words[at] as number) << 32n) | BigInt(words[at + 1] as number)

/** The ranges of a set, IPv4 first. */
export function boundsOf({ v4, v6 }: AddressSet): Bounds[] {
  const low = (bounds: Uint32Array, i: number): bigint => IPV4_IN_IPV6 | BigInt(bounds[i] as number)
  return [
    ...Array.from({ length: v4.length }, (_, i) => ({
      first_high: 0n,
      first_low: low(v4.start, i),
      last_high: 0n,
      last_low: low(v4.end, i),
    })),
    ...Array.from({ length: v6.length }, (_, i) => ({
      first_high: half(v6.start, i * 4),
      first_low: half(v6.start, i * 4 + 2),
      last_high: half(v6.end, i * 4),
      last_low: half(v6.end, i * 4 + 2),
    })),
  ]
}

/** The set of ranges, of which the first `count4` are of IPv4. */
export function setOf(bounds: readonly Bounds[], count4: number): AddressSet {
  return { v4: rangesOf(4, bounds.slice(0, count4)), v6: rangesOf(6, bounds.slice(count4)) }
}

function rangesOf(family: 4 | 6, bounds: readonly Bounds[]): Ranges {
  const words = (high: bigint, low: bigint): number[] => {
    const all = [high >> 32n, high & 0xffffffffn, low >> 32n, low & 0xffffffffn].map(Number)
    return family === 4 ? all.slice(3) : all
  }
  const start = Uint32Array.from(bounds.flatMap(({ first_high, first_low }) => words(first_high, first_low)))
  const end = Uint32Array.from(bounds.flatMap(({ last_high, last_low }) => words(last_high, last_low)))
  return normalize(family, start, end)
}

const FRAGMENTS: Readonly<Record<Fragments, number>> = {
  none: MATCH_FRAGMENT.NONE,
  first: MATCH_FRAGMENT.FIRST,
  later: MATCH_FRAGMENT.LATER,
  any: MATCH_FRAGMENT.FIRST | MATCH_FRAGMENT.LATER,
}
const FRAGMENT_NAMES = new Map(Object.entries(FRAGMENTS).map(([name, bits]) => [bits, name as Fragments]))

const orNone = <T>(values: readonly T[] | undefined): readonly (T | undefined)[] =>
  values === undefined || values.length === 0 ? [undefined] : values

const alternativesOf = ({ sourcePorts, destinationPorts, match }: Scope): Alternative[] =>
  orNone(sourcePorts).flatMap((source) =>
    orNone(destinationPorts).flatMap((destination) =>
      orNone(match?.icmp).flatMap((icmp) => orNone(match?.dscp).map((dscp) => ({ source, destination, icmp, dscp }))),
    ),
  )

const icmpConditions = ({ v4, v6, code4, code6 }: IcmpKind): number =>
  (v4 === undefined ? 0 : MATCH_CONDITION.ICMP4) |
  (v6 === undefined ? 0 : MATCH_CONDITION.ICMP6) |
  (code4 === undefined ? 0 : MATCH_CONDITION.CODE4) |
  (code6 === undefined ? 0 : MATCH_CONDITION.CODE6)

/** The condition of each key of a match; those of ICMP depend on its types. */
const CONDITIONS: readonly (readonly [keyof PacketMatch, number])[] = [
  ['tcpFlags', MATCH_CONDITION.TCP_FLAGS],
  ['length', MATCH_CONDITION.LENGTH],
  ['ttl', MATCH_CONDITION.TTL],
  ['dscp', MATCH_CONDITION.DSCP],
  ['fragments', MATCH_CONDITION.FRAGMENTS],
  ['vlan', MATCH_CONDITION.VLAN],
  ['destinations', MATCH_CONDITION.DESTINATION],
]

const conditionsOf = ({ source, destination, icmp }: Alternative, match: PacketMatch): number =>
  CONDITIONS.reduce(
    (sum, [key, condition]) => (match[key] === undefined ? sum : sum | condition),
    (source || destination ? MATCH_CONDITION.PORTS : 0) | (icmp ? icmpConditions(icmp) : 0),
  )

function lineOf(alternative: Alternative, match: PacketMatch): MatchLines {
  const { icmp = {}, dscp = 0 } = alternative
  const unnamed = alternative.source || alternative.destination ? ANY_PORT : NONE
  const { source = unnamed, destination = unnamed } = alternative
  const { tcpFlags = NO_FLAGS, length = NONE, ttl = NONE, fragments, vlan = NONE, destinations = EMPTY_SET } = match
  const [first = NO_RANGE, ...more] = boundsOf(destinations)
  const line: Match = {
    conditions: conditionsOf(alternative, match),
    tcp_mask: tcpFlags.mask,
    tcp_flags: tcpFlags.value,
    source_first: source.first,
    source_last: source.last,
    destination_first: destination.first,
    destination_last: destination.last,
    length_first: length.first,
    length_last: length.last,
    vlan_first: vlan.first,
    vlan_last: vlan.last,
    ttl_first: ttl.first,
    ttl_last: ttl.last,
    icmp_type4: icmp.v4 ?? 0,
    icmp_code4: icmp.code4 ?? 0,
    icmp_type6: icmp.v6 ?? 0,
    icmp_code6: icmp.code6 ?? 0,
    dscp,
    fragments: fragments ? FRAGMENTS[fragments] : 0,
    destinations: destinations.v4.length + destinations.v6.length,
    destinations4: destinations.v4.length,
    destination: first,
  }
  return { line, more }
}

/** The lines of a scope with a match, one for each of its rules. */
export const matchesOf = (scope: Scope): MatchLines[] =>
  alternativesOf(scope).map((alternative) => lineOf(alternative, scope.match ?? {}))

export const hasMatch = ({ interfaces }: Pick<Rule, 'interfaces'>): boolean => (interfaces & RULE_MARK.MATCH) !== 0

/** The fields of a rule that name the line, counted from the start of its section. */
export const matchNumber = (number: number): Pick<Rule, 'source_first' | 'source_last'> => ({
  source_first: number & 0xffff,
  source_last: number >>> 16,
})

export const numberOf = ({ source_first, source_last }: Pick<Rule, 'source_first' | 'source_last'>): number =>
  source_first + source_last * 0x10000

const sizeOf = ({ more }: MatchLines): number => 1 + Math.ceil(more.length / RANGES_A_LINE)

function encodeLines(match: MatchLines): Uint32Array {
  const words = makeLines(sizeOf(match))
  const view = viewOf(words)
  matchCodec.encode(match.line, view, 0)
  for (const [i, range] of match.more.entries())
    addressRangeCodec.encode(range, view, LINE_SIZE + i * addressRangeCodec.size)
  return words
}

/** Collects the lines of a section, each content once. */
export class MatchSection {
  readonly #numbers = new Map<string, number>()
  readonly #blocks: Uint32Array[] = []
  #next: number

  /** `first`: the line of the section at which they begin. */
  constructor(first: number) {
    this.#next = first
  }

  /** The line of a match, counted from the start of the section. */
  add(match: MatchLines): number {
    const words = encodeLines(match)
    const key = words.join()
    const known = this.#numbers.get(key)
    if (known !== undefined) return known
    const number = this.#next
    this.#numbers.set(key, number)
    this.#blocks.push(words)
    this.#next += words.length / LINE_WORDS
    return number
  }

  get words(): Uint32Array {
    const words = new Uint32Array(this.#blocks.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const block of this.#blocks) {
      words.set(block, at)
      at += block.length
    }
    return words
  }
}

/** Reads the lines that a rule names. Throws XdpError E113 if they are not there. */
export function readMatch(section: DataView, rule: Rule): MatchLines {
  const at = numberOf(rule) * LINE_SIZE
  const lacks = (size: number): boolean => at + size > section.byteLength
  if (lacks(LINE_SIZE)) throw corrupt('the line of a match')
  const line = matchCodec.decode(section, at)
  const behind = Math.max(0, line.destinations - 1)
  if (line.destinations > MATCH_DESTINATIONS || lacks(LINE_SIZE * (1 + Math.ceil(behind / RANGES_A_LINE))))
    throw corrupt('the destinations of a match')
  const more = Array.from({ length: behind }, (_, i) =>
    addressRangeCodec.decode(section, at + LINE_SIZE + i * addressRangeCodec.size),
  )
  return { line, more }
}

/** A text for each content of lines. */
export const matchText = (match: MatchLines): string => encodeLines(match).join()

const inOrder = <T>(values: readonly T[], key: (value: T) => string, compare: (a: T, b: T) => number): T[] =>
  [...new Map(values.map((value) => [key(value), value])).values()].sort(compare)

function icmpOf({ conditions, ...line }: Match): IcmpKind | undefined {
  const has = (condition: number): boolean => (conditions & condition) !== 0
  const kind: IcmpKind = {
    ...(has(MATCH_CONDITION.ICMP4) && { v4: line.icmp_type4 }),
    ...(has(MATCH_CONDITION.CODE4) && { code4: line.icmp_code4 }),
    ...(has(MATCH_CONDITION.ICMP6) && { v6: line.icmp_type6 }),
    ...(has(MATCH_CONDITION.CODE6) && { code6: line.icmp_code6 }),
  }
  return Object.keys(kind).length > 0 ? kind : undefined
}

/** The match of a scope, of the lines of all its rules. */
export function matchOf(lines: readonly MatchLines[]): PacketMatch {
  const [{ line, more }] = lines as [MatchLines]
  const has = (condition: number): boolean => (line.conditions & condition) !== 0
  const kinds = lines.flatMap(({ line: one }) => icmpOf(one) ?? [])
  const icmp = inOrder(kinds, (kind) => JSON.stringify(kind), compareKinds)
  const points = lines.filter(({ line: one }) => one.conditions & MATCH_CONDITION.DSCP).map(({ line: one }) => one.dscp)
  const dscp = inOrder(points, String, (a, b) => a - b)
  const fragments = FRAGMENT_NAMES.get(line.fragments)
  const bounds = line.destinations > 0 ? [line.destination, ...more] : []
  return {
    ...(has(MATCH_CONDITION.TCP_FLAGS) && { tcpFlags: { mask: line.tcp_mask, value: line.tcp_flags } }),
    ...(icmp.length > 0 && { icmp }),
    ...(has(MATCH_CONDITION.LENGTH) && { length: { first: line.length_first, last: line.length_last } }),
    ...(has(MATCH_CONDITION.TTL) && { ttl: { first: line.ttl_first, last: line.ttl_last } }),
    ...(dscp.length > 0 && { dscp }),
    ...(has(MATCH_CONDITION.FRAGMENTS) && fragments && { fragments }),
    ...(has(MATCH_CONDITION.VLAN) && { vlan: { first: line.vlan_first, last: line.vlan_last } }),
    ...(has(MATCH_CONDITION.DESTINATION) && {
      destinations: bounds.length > 0 ? setOf(bounds, line.destinations4) : EMPTY_SET,
    }),
  }
}
