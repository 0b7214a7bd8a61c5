// `rate_limits:` → limits in canonical form. Their order is that of the files: the top file, then included ones.

import type { Location } from '../../diagnostics.ts'
import { LONGEST_BAN } from '../../model/ban.ts'
import { formatCount, plural } from '../../model/numbers.ts'
import { RATE, type Rate, type RateBan, type RateLimit, type RatePer } from '../../model/rate-limit.ts'
import { alternatives } from '../../model/scope.ts'
import type { Scope } from '../../model/state.ts'
import { type KnownInterfaces, readScope } from '../entries/scope.ts'
import { readDuration } from '../text/duration.ts'
import { lineOf, type Part, soundField } from '../text/part.ts'
import { fieldOf, keyLocation, type Reading, reportAt } from '../text/place.ts'
import type { Report } from '../text/report.ts'
import { listed, quote } from '../text/show.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenBits, WrittenRateLimit } from '../text/written.ts'
import { readSources, SOURCE_KEYS } from './rate-sources.ts'

/** One limit as written. */
interface Context extends Reading {
  readonly placed: Placed
  readonly written: WrittenRateLimit
}

const UNITS: Readonly<Record<string, number>> = { k: 3, K: 3, M: 6, G: 9, T: 12 }

/** `1.5G` → 1500000000; undefined unless it is a whole number. */
export function readBits(written: WrittenBits): number | undefined {
  if (typeof written === 'number') return written
  const [, whole = '', decimals = '', unit = ''] = /^(\d+)(?:\.(\d+?)0*)?([kKMGT]?)$/.exec(written) ?? []
  const zeros = UNITS[unit] ?? 0
  return decimals.length > zeros ? undefined : Number(`${whole}${decimals.padEnd(zeros, '0')}`)
}

/** Each burst with the rate that it needs. */
const BURSTS = { burst: 'packets_per_second', burst_bits: 'bits_per_second' } as const

type BurstKey = keyof typeof BURSTS

/** Reports keys that contradict each other, or lack one that they need. */
function checkKeys({ placed, written, ...reading }: Context): void {
  const refuse = (key: keyof WrittenRateLimit, message: string, hint: string): void =>
    reading.report.error('E135', keyLocation(reading, fieldOf(placed, key)), message, hint)
  if (written.packets_per_second === undefined && written.bits_per_second === undefined) {
    const hint = 'add `packets_per_second: 1000`, or `bits_per_second: 100M`'
    reportAt(reading, placed, 'E135', `rate limit ${written.name} has no rate`, hint)
  } else {
    for (const [burst, other] of [
      ['burst', 'burst_bits'],
      ['burst_bits', 'burst'],
    ] as const) {
      if (written[burst] === undefined || written[BURSTS[burst]] !== undefined) continue
      refuse(burst, `${burst} needs ${BURSTS[burst]}`, `add \`${BURSTS[burst]}:\`, or write \`${other}:\``)
    }
  }
  if (written.per === 'all' && written.prefix !== undefined)
    refuse('prefix', '`per: all` counts packets of all prefixes together', 'remove `prefix`, or write `per: source`')
  const [key, second] = SOURCE_KEYS.filter((one) => written[one] !== undefined)
  if (key === undefined || second === undefined) return
  const isText = key === 'cidr' && second === 'cidrs'
  const hint = isText ? 'write all of them under cidrs' : 'write a second limit with the same rate'
  refuse(second, `the limit has ${key} and ${second}, but may have only one of them`, hint)
}

/** Reports a burst that takes too much of its rate. */
function checkBurst(key: BurstKey, burst: number, perSecond: number, context: Context): void {
  const most = perSecond * RATE.burstSeconds
  if (burst <= most) return
  const message = `${key} is more than ${formatCount(RATE.burstSeconds)} seconds of the rate`
  reportAt(context, fieldOf(context.placed, key), 'E133', message, `write at most ${most}, or a higher rate`)
}

function readPackets(context: Context): Rate | undefined {
  const { packets_per_second: perSecond, burst = perSecond } = context.written
  if (perSecond === undefined || burst === undefined) return undefined
  checkBurst('burst', burst, perSecond, context)
  return { perSecond, burst }
}

/** Bits of the largest frame without VLAN tags at an MTU of 1500: a smaller burst lets no such frame pass. */
const FRAME = 1514 * 8

interface BitBounds {
  readonly least: number
  readonly most: number
  /** Completes "must be …". */
  readonly text: string
  /** For values below and above. */
  readonly hint: readonly [below: string, above: string]
}

/** The bits that a key names, if they are within the bounds. Reports others. */
function bitsOf(
  key: 'bits_per_second' | 'burst_bits',
  { least, most, text, hint }: BitBounds,
  context: Context,
): number | undefined {
  const written = context.written[key]
  if (written === undefined) return undefined
  const bits = readBits(written)
  if (bits !== undefined && bits >= least && bits <= most) return bits
  const must = bits === undefined ? 'a whole number of bits' : text
  const advice = bits === undefined ? 'for example 64k, 500M or 1.5G' : hint[bits < least ? 0 : 1]
  reportAt(context, fieldOf(context.placed, key), 'E133', `${key} must be ${must}, not ${written}`, advice)
  return undefined
}

const BIT_RATES: BitBounds = {
  ...RATE.bits,
  text: 'from 1k to 10T',
  hint: ['write at least 1k; units are decimal, and a byte has 8 bits', 'write at most 10T'],
}
const BIT_BURSTS: BitBounds = {
  least: FRAME,
  most: RATE.bits.most * RATE.burstSeconds,
  text: `at least ${FRAME}, which is one frame of 1,514 bytes, and at most 36000T`,
  hint: [`write at least ${FRAME}, or leave the key out for one second of the rate`, 'write at most 36000T'],
}

function readBitRate(context: Context): Rate | undefined {
  const perSecond = bitsOf('bits_per_second', BIT_RATES, context)
  if (perSecond === undefined) return undefined
  const burst = bitsOf('burst_bits', BIT_BURSTS, context) ?? Math.max(perSecond, FRAME)
  checkBurst('burst_bits', burst, perSecond, context)
  return { perSecond, burst }
}

/** Reports a scope with more rules than the data plane has for a limit. */
function checkRules(scope: Scope, { placed, written, ...reading }: Context): void {
  const { sourcePorts, destinationPorts, match } = scope
  const rules = alternatives(scope)
  if (rules <= RATE.rules) return
  const parts = [
    { key: 'destination_port', count: destinationPorts.length, what: 'port ranges' },
    { key: 'source_port', count: sourcePorts.length, what: 'port ranges' },
    { key: 'icmp_type', count: match?.icmp?.length ?? 0, what: 'ICMP types' },
    { key: 'dscp', count: match?.dscp?.length ?? 0, what: 'code points' },
  ].filter(({ count }) => count > 1)
  const whats = [...new Set(parts.map(({ what }) => what))]
  const message = `rate limit ${written.name} has ${formatCount(rules)} combinations of ${listed(whats, 'and')}; a limit can have ${RATE.rules}`
  const at = fieldOf(placed, parts[0]?.key ?? 'destination_port')
  reportAt(reading, at, 'E134', message, `name fewer ${listed(whats, 'or')}, or write several limits`)
}

const prefixOf = (per: RatePer, { v4 = RATE.prefix.v4, v6 }: NonNullable<WrittenRateLimit['prefix']> = {}) => ({
  v4,
  // A customer has a network of sources, but a destination is one address.
  v6: v6 ?? (per === 'source' || per === 'all' ? RATE.prefix.v6 : 128),
})

/** The bans that a limit makes. Reports those that it cannot make. */
function readBan(context: Context, per: RatePer, prefix: RateLimit['prefix']): RateBan | undefined {
  const { placed, written } = context
  const { name, ban } = written
  if (ban === undefined) return undefined
  const at = fieldOf(placed, 'ban')
  const { afterMs: after, forMs: time, prefix: shortest } = RATE.ban
  if (per !== 'source') {
    const message = `rate limit ${name} counts per ${per}, so no source of its packets is at fault`
    reportAt(context, at, 'E270', message, 'remove `ban`, or write `per: source`')
  } else if (prefix.v4 < shortest.v4 || prefix.v6 < shortest.v6) {
    const message = `rate limit ${name} would ban prefixes of /${prefix.v4} in IPv4 and /${prefix.v6} in IPv6`
    const hint = `write longer prefixes, of /${shortest.v4} and /${shortest.v6} at least, or remove \`ban\``
    reportAt(context, fieldOf(placed, 'prefix'), 'E273', message, hint)
  }
  const afterMs = ban.after === undefined ? after.initial : readDuration(ban.after)
  const forMs = readDuration(ban.for)
  if (afterMs > after.most) {
    const message = `ban.after is ${ban.after}, and a limit can wait for at most ${after.most / 60_000}m`
    reportAt(context, fieldOf(at, 'after'), 'E271', message, 'for example `after: 3s`')
  }
  if (forMs < time.least || forMs > LONGEST_BAN) {
    const message = `ban.for is ${ban.for}, and a ban of a limit lasts from ${time.least / 1000}s to ${LONGEST_BAN / 86_400_000}d`
    reportAt(context, fieldOf(at, 'for'), 'E272', message, 'for example `for: 10m`')
  }
  return { forMs, afterMs }
}

function readLimit(context: Context, interfaces: KnownInterfaces, position: number, buckets: number): RateLimit {
  const { written, placed, source, report } = context
  checkKeys(context)
  const { action: _, ...packets } = written
  const scope = readScope('blocklist', packets, placed, { source, report, interfaces })
  checkRules(scope, context)
  const { name, per = 'source', prefix, action = 'drop' } = written
  const lengths = prefixOf(per, per === 'all' ? undefined : prefix)
  return {
    name,
    position,
    scope,
    sources: readSources(placed, written, context),
    per,
    prefix: lengths,
    packets: readPackets(context),
    bits: readBitRate(context),
    action,
    ban: readBan(context, per, lengths),
    buckets,
  }
}

/** Reports a name that a limit before has. `first`: the place of that one, by name. */
function checkName(
  { placed, written, ...reading }: Context,
  first: Map<string, { readonly part: Part; readonly at: Placed }>,
  part: Part,
): void {
  const at = fieldOf(placed, 'name')
  const other = first.get(written.name)
  if (other === undefined) {
    first.set(written.name, { part, at })
    return
  }
  const where = other.part === part ? `on line ${part.source.lineOf(other.at.from)}` : lineOf(other.part, other.at)
  const message = `the name ${quote(written.name)} is used by two rate limits; the first is ${where}`
  reportAt(reading, at, 'E031', message, 'give each limit its own name')
}

export interface RateLimits {
  /** By name, in the order of the files; undefined: none. */
  readonly rateLimits: ReadonlyMap<string, RateLimit> | undefined
  /** The place of each name. */
  readonly places: ReadonlyMap<string, Location>
}

/** Buckets of each limit, a power of two. */
function readBuckets(top: Part | undefined): number {
  const placed = top && soundField(top, 'limits', 'rate_buckets')
  return placed === undefined ? RATE.buckets.initial : 2 ** Math.ceil(Math.log2(placed.value as number))
}

/**
 * The limits of all parts. Ignore the result if `report.failed`.
 *
 * @param interfaces gets the sets of interfaces that limits name, which count with those of the lists
 */
export function readRateLimits(parts: readonly Part[], interfaces: KnownInterfaces, report: Report): RateLimits {
  const buckets = readBuckets(parts[0])
  const found = parts.flatMap((part) => {
    const items = part.root.fields?.get('rate_limits')?.items ?? []
    return items.flatMap((placed, index) => (part.wrong.has(`rate_limits/${index}`) ? [] : [{ part, placed }]))
  })
  const first = new Map<string, { readonly part: Part; readonly at: Placed }>()
  const read = found.map(({ part, placed }, position) => {
    const context = { source: part.source, report, placed, written: placed.value as WrittenRateLimit }
    checkName(context, first, part)
    return readLimit(context, interfaces, position, buckets)
  })
  const beyond = found[RATE.limits]
  if (beyond !== undefined) {
    const message = `the config has ${plural(found.length, 'rate limit')}; one instance can have ${RATE.limits}`
    report.error('E134', beyond.part.source.locate(beyond.placed.from, beyond.placed.to), message)
  }
  const places = [...first].map(([name, { part, at }]) => [name, part.source.locate(at.from, at.to)] as const)
  return {
    rateLimits: read.length === 0 ? undefined : new Map(read.map((limit) => [limit.name, limit])),
    places: new Map(places),
  }
}
