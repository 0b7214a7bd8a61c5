// A box → scopes of entries. An entry has one range of lengths, one combination of flags, one code of ICMP.

import type { Family, Ranges } from '../model/address.ts'
import { MATCH_DESTINATIONS } from '../model/limits.ts'
import { ICMP_TYPES, type IcmpKind, type PacketMatch, type TcpFlags } from '../model/packet-match.ts'
import { inRanges } from '../model/ports.ts'
import { EMPTY4, EMPTY6, WIDTH } from '../model/ranges.ts'
import type { Scope } from '../model/state.ts'
import type { Box } from './boxes.ts'
import { FIRST, LATER, WHOLE } from './scopes.ts'
import type { Spans } from './spans.ts'

/** Ranges of destinations in chunks for one entry each. */
function chunksOf(ranges: Ranges): readonly Ranges[] {
  const width = MATCH_DESTINATIONS * WIDTH[ranges.family]
  return Array.from({ length: Math.ceil(ranges.length / MATCH_DESTINATIONS) }, (_, index) => {
    const [start, end] = [ranges.start, ranges.end].map((words) => words.slice(index * width, (index + 1) * width))
    const length = Math.min(MATCH_DESTINATIONS, ranges.length - index * MATCH_DESTINATIONS)
    return { ...ranges, length, start: start as Uint32Array, end: end as Uint32Array }
  })
}

const numbersOf = (spans: Spans): number[] =>
  spans.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index))

/** The bytes of flags as few combinations of set and clear ones, none twice. */
function cubesOf(bytes: Spans): readonly TcpFlags[] {
  const wanted = new Set(numbersOf(bytes))
  /** Combinations within `mask` and `value`: the whole, or the halves by the flag that leaves the fewest. */
  const split = (mask: number, value: number): TcpFlags[] => {
    const own = numbersOf([{ first: 0, last: 255 }]).filter((byte) => (byte & mask) === value)
    const held = own.filter((byte) => wanted.has(byte)).length
    if (held === 0) return []
    if (held === own.length) return [{ mask, value }]
    const all = [1, 2, 4, 8, 16, 32, 64, 128].filter((bit) => (mask & bit) === 0)
    // A flag whose halves have the most unequal shares separates the best.
    const share = (bit: number): number =>
      Math.abs(2 * own.filter((byte) => byte & bit && wanted.has(byte)).length - held)
    const [best = 0] = all.toSorted((a, b) => share(b) - share(a))
    return [...split(mask | best, value), ...split(mask | best, value | best)]
  }
  return split(0, 0)
}

const NAMED: Readonly<Record<Family, ReadonlyMap<number | undefined, IcmpKind>>> = {
  4: new Map(Object.values(ICMP_TYPES).map((kind) => [kind.v4, kind])),
  6: new Map(Object.values(ICMP_TYPES).map((kind) => [kind.v6, kind])),
}

/** A whole type, as its name has it: that of the other family is as good, because no address of it is under the entry. */
const wholeType = (type: number, family: Family): IcmpKind =>
  NAMED[family].get(type) ?? (family === 4 ? { v4: type } : { v6: type })

const oneCode = (type: number, code: number, family: Family): IcmpKind =>
  family === 4 ? { v4: type, code4: code } : { v6: type, code6: code }

/** Types and codes, in groups that one entry can have: all whole types, and the types with each code. */
function kindsOf(spans: Spans, family: Family): readonly (readonly IcmpKind[])[] {
  const whole: number[] = []
  const byCode = new Map<number, number[]>()
  for (let type = 0; type < 256; type++) {
    const codes = numbersOf(
      spans.flatMap(({ first, last }) => {
        const [from, to] = [Math.max(first, type * 256), Math.min(last, type * 256 + 255)]
        return from <= to ? [{ first: from - type * 256, last: to - type * 256 }] : []
      }),
    )
    if (codes.length === 256) whole.push(type)
    else for (const code of codes) byCode.set(code, [...(byCode.get(code) ?? []), type])
  }
  return [
    ...(whole.length > 0 ? [whole.map((type) => wholeType(type, family))] : []),
    ...[...byCode].map(([code, types]) => types.map((type) => oneCode(type, code, family))),
  ]
}

function fragmentsOf(spans: Spans): readonly NonNullable<PacketMatch['fragments']>[] {
  const [first, later] = [inRanges(spans, FIRST), inRanges(spans, LATER)]
  const pieces = first && later ? 'any' : first ? 'first' : 'later'
  return [...(inRanges(spans, WHOLE) ? ['none' as const] : []), ...(first || later ? [pieces as 'any'] : [])]
}

/** Each value of a key once more beside the others. */
const spread = <K extends keyof PacketMatch>(
  matches: readonly PacketMatch[],
  key: K,
  values: readonly PacketMatch[K][] | undefined,
): readonly PacketMatch[] =>
  values === undefined ? matches : matches.flatMap((one) => values.map((value) => ({ ...one, [key]: value })))

/** The scopes that hold the packets of a box, each packet once. */
export function scopesOf({ protocol, destinations, fields }: Box, family: Family): readonly Scope[] {
  const { flags, icmp, length, ttl, dscp, fragments, vlan, sourcePorts = [], destinationPorts = [] } = fields
  let matches: readonly PacketMatch[] = [{}]
  matches = spread(matches, 'tcpFlags', flags && cubesOf(flags))
  matches = spread(matches, 'icmp', icmp && kindsOf(icmp, family))
  matches = spread(matches, 'length', length)
  matches = spread(matches, 'ttl', ttl)
  matches = spread(matches, 'dscp', dscp && [numbersOf(dscp)])
  matches = spread(matches, 'fragments', fragments && fragmentsOf(fragments))
  matches = spread(matches, 'vlan', vlan)
  const to = destinations && chunksOf(destinations)
  const set = (ranges: Ranges) => (family === 4 ? { v4: ranges, v6: EMPTY6 } : { v4: EMPTY4, v6: ranges })
  matches = spread(matches, 'destinations', to?.map(set))
  const base = { protocol, sourcePorts, destinationPorts }
  // Combinations that ask for nothing: all flags of a TCP header.
  const canonical = matches.map(({ tcpFlags, ...match }) => (tcpFlags?.mask ? { ...match, tcpFlags } : match))
  return canonical.map((match) => (Object.keys(match).length > 0 ? { ...base, match } : base))
}
