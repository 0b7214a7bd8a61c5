// Rate limits as lines of an image (bpf/include/abi_rates.h), and back. They lie in the section of settings, behind the
// protected prefixes.

import { createHash } from 'node:crypto'
import {
  addressRangeCodec,
  type AddressRange as Bounds,
  LINE_SIZE,
  RATE_BUCKETS_A_LINE,
  RATE_BYTE_SHIFT,
  RATE_FAMILY,
  RATE_FLAG,
  RATE_OFFENDERS,
  RATE_OFFENDERS_A_SET,
  RATE_PER,
  RATE_PER_MASK,
  RATE_PER_SHIFT,
  RATE_UNITS,
  type RateHeader,
  type RateLimit as RateLine,
  type Rule,
  rateHeaderCodec,
  rateLimitCodec,
  rateRecordCodec,
  ruleCodec,
} from '../../abi/generated.ts'
import { RATE, type Rate, type RateLimit, type RatePer } from '../../model/rate-limit.ts'
import type { InterfaceSets } from '../classes/interfaces.ts'
import { boundsOf, MatchSection, matchText, setOf } from '../classes/matches.ts'
import { livePart, placed, rulesOf, type WrittenRule, withMatches } from '../classes/rules.ts'
import { ratesStart } from '../layout/layout.ts'
import { corrupt, LINE_WORDS, makeLines, viewOf } from '../lines/lines.ts'
import { CANDIDATE_LINES, candidatesOf, readCandidates, writeCandidates } from './candidates.ts'

const NANOSECONDS = 1_000_000_000n
const UNITS = NANOSECONDS * BigInt(RATE_UNITS)
const BITS_A_BYTE = 8n
/** Shorter bursts need a clock finer than the ticks of the kernel's timer, of 10 ms at most. */
const FINE_UNITS = (UNITS * 64n) / 1000n

const ceilDivide = (a: number, b: number): number => Math.ceil(a / b)
const RULES_A_LINE = LINE_SIZE / ruleCodec.size
const SOURCES_A_LINE = LINE_SIZE / addressRangeCodec.size
const RECORD_LINES = rateRecordCodec.size / LINE_SIZE

/** Quotient, rounded. */
const divide = (a: bigint, b: bigint): bigint => (a + b / 2n) / b

/** Time of a packet, and of a burst, in RATE_UNITS. */
function packetTimes(rate: Rate | undefined): { readonly packet_time: bigint; readonly packet_burst: bigint } {
  if (rate === undefined) return { packet_time: 0n, packet_burst: 0n }
  const time = divide(UNITS, BigInt(rate.perSecond))
  return { packet_time: time, packet_burst: time * BigInt(rate.burst) }
}

/** Time of a byte, shifted, and of a burst. */
function byteTimes(rate: Rate | undefined): { readonly byte_time: bigint; readonly byte_burst: bigint } {
  if (rate === undefined) return { byte_time: 0n, byte_burst: 0n }
  const shift = BigInt(RATE_BYTE_SHIFT)
  const time = divide((UNITS * BITS_A_BYTE) << shift, BigInt(rate.perSecond))
  return { byte_time: time, byte_burst: (time * (BigInt(rate.burst) / BITS_A_BYTE)) >> shift }
}

const PER: Readonly<Record<RatePer, number>> = {
  all: RATE_PER.ALL,
  source: RATE_PER.SOURCE,
  destination: RATE_PER.DESTINATION,
  service: RATE_PER.SERVICE,
}
const PER_NAMES = new Map(Object.entries(PER).map(([name, number]) => [number, name as RatePer]))

/** Buckets of the state of a limit, as a power of two. */
const shiftOf = ({ per, buckets }: Pick<RateLimit, 'per' | 'buckets'>): number =>
  per === 'all' ? 0 : Math.log2(buckets)

/** Lines of `rate_buckets` for each slot. */
export const bucketLines = (buckets: number): number => buckets / RATE_BUCKETS_A_LINE

/**
 * Lines of `rate_buckets` for limits in these slots: room for a power of two of them, so that most edits hand the map on;
 * 1 without limits. A few unused lines behind them make the number say how many buckets each limit has: see sameBuckets.
 */
export function rateBucketLines(limits: ReadonlyMap<string, RateLimit>, slots: ReadonlyMap<string, number>): number {
  const [first] = limits.values()
  if (first === undefined) return 1
  const used = Math.max(...[...limits.keys()].map((name) => slots.get(name) as number)) + 1
  const lines = bucketLines(first.buckets)
  return 2 ** Math.ceil(Math.log2(used)) * lines + Math.log2(lines)
}

/** Lines of the smallest state of a limit: every state has a multiple of them. */
const LEAST_LINES = bucketLines(RATE.buckets.least)

/** Whether maps of these sizes have as many buckets for each limit, so that these are at the same places. */
export const sameBuckets = (lines: number, others: number): boolean => lines % LEAST_LINES === others % LEAST_LINES

/** Buckets of each limit in a map of this size; 0 without limits. */
export const bucketsOfEach = (lines: number): number =>
  lines === 1 ? 0 : 2 ** (lines % LEAST_LINES) * RATE_BUCKETS_A_LINE

interface Encoded {
  readonly limit: RateLimit
  readonly line: Omit<RateLine, 'first'>
  /** At least one; the first is in the line of the limit. */
  readonly rules: readonly WrittenRule[]
  readonly sources: readonly Bounds[]
}

function encodeLimit(limit: RateLimit, slot: number, sets: InterfaceSets): Encoded {
  const interfaces = limit.scope.interfaces ? sets.numberOf(limit.scope.interfaces) : 0
  const rules = rulesOf('blocklist', limit.scope, 0, 0, interfaces)
  const own = typeof limit.sources === 'object' ? limit.sources : undefined
  const sources = own ? boundsOf(own) : []
  const times = { ...packetTimes(limit.packets), ...byteTimes(limit.bits) }
  const bursts = [limit.packets && times.packet_burst, limit.bits && times.byte_burst]
  const isFine = bursts.some((burst) => burst !== undefined && burst < FINE_UNITS)
  const line = {
    ...times,
    more: 0,
    shift: shiftOf(limit),
    flags:
      (limit.packets ? RATE_FLAG.PACKETS : 0) |
      (limit.bits ? RATE_FLAG.BITS : 0) |
      (limit.action === 'observe' ? RATE_FLAG.OBSERVE : 0) |
      (isFine ? RATE_FLAG.FINE : 0) |
      (limit.ban ? RATE_FLAG.BAN : 0) |
      (limit.sources === 'list' ? RATE_FLAG.SOURCED : 0) |
      (PER[limit.per] << RATE_PER_SHIFT),
    sources4: own?.v4.length ?? 0,
    prefix4: limit.prefix.v4,
    prefix6: limit.prefix.v6,
    slot,
    rules: rules.length,
    sources: sources.length,
    line: slot * bucketLines(limit.buckets),
  }
  return { limit, line, rules, sources }
}

/** Lines of further rules, and of sources. */
const detailLines = ({ rules, sources }: Pick<Encoded, 'rules' | 'sources'>): number =>
  ceilDivide(rules.length - 1, RULES_A_LINE) + ceilDivide(sources.length, SOURCES_A_LINE)

/** Start of the SHA-256 of what a limit is, wherever its lines are. */
function digestOf(name: string, { line, rules, sources }: Omit<Encoded, 'limit'>): bigint {
  const text = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}` : value)
  const [{ rule: first }] = rules as [WrittenRule]
  // In the order of the fields of struct rate_limit, in which earlier versions recorded them.
  const { packet_time, packet_burst, byte_time, byte_burst, ...rest } = line
  const ordered = { packet_time, packet_burst, byte_time, byte_burst, first, ...rest, more: 0 }
  const matches = rules.flatMap(({ match }) => (match ? [matchText(match)] : []))
  const further = rules.slice(1).map(({ rule }) => rule)
  const content = [name, ordered, further, sources, ...(matches.length > 0 ? [matches] : [])]
  return createHash('sha256').update(JSON.stringify(content, text)).digest().readBigUInt64LE()
}

/**
 * The lines of rate limits; empty without any.
 *
 * @param slots of their counters, by name
 * @param sets numbers of the sets of interfaces that scopes name
 */
export function encodeRates(
  limits: ReadonlyMap<string, RateLimit>,
  slots: ReadonlyMap<string, number>,
  sets: InterfaceSets,
): Uint32Array {
  if (limits.size === 0) return makeLines(0)
  const ordered = [...limits.values()].sort((a, b) => a.position - b.position)
  const encoded = ordered.map((limit) => encodeLimit(limit, slots.get(limit.name) as number, sets))
  const own = encoded.reduce((sum, entry) => sum + detailLines(entry), 1 + encoded.length)
  const matches = new MatchSection(own)
  const rules = encoded.map((entry) => entry.rules.map((rule) => placed(rule, matches)) as [Rule, ...Rule[]])
  const behind = matches.words
  const candidates = own + behind.length / LINE_WORDS
  const records = candidates + CANDIDATE_LINES
  const lines = records + encoded.length * RECORD_LINES
  const words = makeLines(lines)
  words.set(behind, own * LINE_WORDS)
  const view = viewOf(words)
  const [{ buckets }] = ordered as [RateLimit]
  const offenderSets = ordered.some(({ ban }) => ban) ? RATE_OFFENDERS / RATE_OFFENDERS_A_SET : 1
  const header = {
    buckets,
    bucket_lines: rateBucketLines(limits, slots),
    sets: offenderSets,
    candidates,
    rest: [0, 0, 0, 0, 0, 0],
  }
  rateHeaderCodec.encode({ count: encoded.length, lines, family: RATE_FAMILY, ...header }, view)
  writeCandidates(words, candidates, candidatesOf(encoded.map((entry) => entry.rules)))
  let more = 1 + encoded.length
  for (const [i, entry] of encoded.entries()) {
    const { limit, line, sources } = entry
    const [first, ...further] = rules[i] as [Rule, ...Rule[]]
    rateLimitCodec.encode({ ...line, first, more }, view, (1 + i) * LINE_SIZE)
    for (const [n, rule] of further.entries()) ruleCodec.encode(rule, view, more * LINE_SIZE + n * ruleCodec.size)
    const from = more + ceilDivide(further.length, RULES_A_LINE)
    for (const [n, range] of sources.entries())
      addressRangeCodec.encode(range, view, from * LINE_SIZE + n * addressRangeCodec.size)
    const record = {
      name: limit.name,
      digest: digestOf(limit.name, entry),
      packets_per_second: BigInt(limit.packets?.perSecond ?? 0),
      packet_burst: BigInt(limit.packets?.burst ?? 0),
      bits_per_second: BigInt(limit.bits?.perSecond ?? 0),
      bit_burst: BigInt(limit.bits?.burst ?? 0),
      ban_for: BigInt(limit.ban?.forMs ?? 0),
      ban_after: BigInt(limit.ban?.afterMs ?? 0),
    }
    rateRecordCodec.encode(record, view, (records + i * RECORD_LINES) * LINE_SIZE)
    more += detailLines(entry)
  }
  return words
}

function headerOf(settings: Uint32Array): Pick<RateHeader, 'bucket_lines' | 'sets'> {
  const at = ratesStart(settings)
  if (at * LINE_WORDS >= settings.length) return { bucket_lines: 1, sets: 1 }
  return rateHeaderCodec.decode(viewOf(settings), at * LINE_SIZE)
}

/** Lines of `rate_buckets` that an image needs. */
export const rateLinesOf = (settings: Uint32Array): number => headerOf(settings).bucket_lines

/** Sets of `rate_offenders` that an image needs; 1: no limit bans. */
export const offenderSetsOf = (settings: Uint32Array): number => headerOf(settings).sets

/** Rate limits of an image, decoded. */
export interface LiveRates {
  readonly limits: ReadonlyMap<string, RateLimit>
  readonly slots: ReadonlyMap<string, number>
  /** Names of those that differ from the record of the apply that wrote them. */
  readonly drifted: readonly string[]
}

const NO_RATES: LiveRates = { limits: new Map(), slots: new Map(), drifted: [] }

const rateOf = (perSecond: bigint, burst: bigint): Rate | undefined =>
  perSecond === 0n ? undefined : { perSecond: Number(perSecond), burst: Number(burst) }

/**
 * Decodes the rate limits of a section of settings.
 *
 * @param sets the sets of interfaces by number
 * @throws XdpError E113 if a limit refers to lines that do not exist
 */
export function decodeRates(settings: Uint32Array, sets: readonly (readonly string[])[]): LiveRates {
  const words = settings.subarray(ratesStart(settings) * LINE_WORDS)
  if (words.length === 0) return NO_RATES
  const view = viewOf(words)
  const total = words.length / LINE_WORDS
  const { count, lines, buckets, candidates } = rateHeaderCodec.decode(view)
  const records = lines - count * RECORD_LINES
  if (count > RATE.limits || lines > total || records < 1 + count || candidates + CANDIDATE_LINES > records)
    throw corrupt('the rate limits are truncated')
  const limits = new Map<string, RateLimit>()
  const slots = new Map<string, number>()
  const drifted: string[] = []
  const allRules: WrittenRule[][] = []
  for (let position = 0; position < count; position++) {
    const { first, ...line } = rateLimitCodec.decode(view, (1 + position) * LINE_SIZE)
    const record = rateRecordCodec.decode(view, (records + position * RECORD_LINES) * LINE_SIZE)
    const { name } = record
    const more = line.more + ceilDivide(line.rules - 1, RULES_A_LINE)
    if (line.rules < 1 || more + ceilDivide(line.sources, SOURCES_A_LINE) > records || name === '' || limits.has(name))
      throw corrupt(`rate limit ${position}`)
    const rules = Array.from({ length: line.rules - 1 }, (_, n) =>
      ruleCodec.decode(view, line.more * LINE_SIZE + n * ruleCodec.size),
    )
    const sources = Array.from({ length: line.sources }, (_, n) =>
      addressRangeCodec.decode(view, more * LINE_SIZE + n * addressRangeCodec.size),
    )
    const written = withMatches([first, ...rules], view)
    allRules.push(written)
    const { scope } = livePart(0, written, sets)
    const packets = rateOf(record.packets_per_second, record.packet_burst)
    const bits = rateOf(record.bits_per_second, record.bit_burst)
    const times = { ...packetTimes(packets), ...byteTimes(bits) }
    const isTimed = (Object.keys(times) as (keyof typeof times)[]).every((key) => times[key] === line[key])
    if (!isTimed || digestOf(name, { line, rules: written, sources }) !== record.digest) drifted.push(name)
    slots.set(name, line.slot)
    limits.set(name, {
      name,
      position,
      scope,
      ...(sources.length > 0 && { sources: setOf(sources, line.sources4) }),
      ...(line.flags & RATE_FLAG.SOURCED && { sources: 'list' as const }),
      per: PER_NAMES.get((line.flags >> RATE_PER_SHIFT) & RATE_PER_MASK) ?? 'all',
      prefix: { v4: line.prefix4, v6: line.prefix6 },
      ...(packets && { packets }),
      ...(bits && { bits }),
      action: line.flags & RATE_FLAG.OBSERVE ? 'observe' : 'drop',
      ...(record.ban_for !== 0n && { ban: { forMs: Number(record.ban_for), afterMs: Number(record.ban_after) } }),
      buckets,
    })
  }
  return {
    limits,
    slots,
    drifted: [...new Set([...drifted, ...misled(words, candidates, allRules, [...limits.keys()])])],
  }
}

/** Names of limits that are not among the candidates of each group as their rules say. */
function misled(
  words: Uint32Array,
  line: number,
  rules: readonly (readonly WrittenRule[])[],
  names: readonly string[],
): string[] {
  if (line === 0) return []
  const expected = candidatesOf(rules)
  const differing = readCandidates(words, line).reduce((sum, bits, i) => sum | (bits ^ (expected[i] as bigint)), 0n)
  return names.filter((_, i) => (differing >> BigInt(i)) & 1n)
}
