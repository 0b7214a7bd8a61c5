// Rate limits: how many packets or bits of one kind pass per second, counted apart for each source, destination or
// service, or for all together. A limit is no list: it decides about a packet that lists and bans leave alone.

import type { AddressSet } from './address.ts'
import type { Scope } from './packet-scope.ts'

/** Packets that are counted together: equal in their source, destination, destination and port, or all of them. */
export type RatePer = 'source' | 'destination' | 'service' | 'all'

export type RateAction = 'drop' | 'observe'

/** A rate with the amount that may pass at once. Whole numbers, at least 1. */
export interface Rate {
  /** Per second: packets, or bits of frames. */
  readonly perSecond: number
  /** In the unit of the rate. */
  readonly burst: number
}

/** Bans of the sources that exceed a limit. Times in milliseconds. */
export interface RateBan {
  readonly forMs: number
  /** For this long a source must exceed the limit, without a pause, before it is banned. */
  readonly afterMs: number
}

/** A limit in canonical form: equal limits are equal objects. At least one of `packets` and `bits` is there. */
export interface RateLimit {
  readonly name: string
  /** From 0: its place in the file. A packet is judged by the limits in this order. */
  readonly position: number
  /** The packets that it counts; neither `established` nor `socket` is set. */
  readonly scope: Scope
  /** The sources that it counts; `list`: those of its list, see sourcesList; undefined: every source. */
  readonly sources?: AddressSet | 'list' | undefined
  readonly per: RatePer
  /** Lengths of the prefixes that share a rate, 0 to 32 and 0 to 128; only where `per` is not `all`. */
  readonly prefix: { readonly v4: number; readonly v6: number }
  readonly packets?: Rate | undefined
  readonly bits?: Rate | undefined
  readonly action: RateAction
  /** Only where `per` is `source`. */
  readonly ban?: RateBan | undefined
  /** Buckets of its state, a power of two: see docs/adr/0076. Equal for all limits of a state. */
  readonly buckets: number
}

const LIST_PREFIX = 'rate_limit:'

/** Name of the list with the sources of a limit, if its line in the data plane is too small for them. No written list has it. */
export const sourcesList = (limit: string): string => `${LIST_PREFIX}${limit}`

/** The limit whose sources a list has. */
export const limitOfSources = (list: string): string => list.slice(LIST_PREFIX.length)

/** The author of bans that rate limits make, and their reason. */
export const RATE_BAN_AUTHOR = 'rate-limit'
export const rateBanReason = (name: string): string => `rate limit ${name}`

/** Bounds of a config. A rate of 1 per second takes 1 s of a bucket's clock, which counts in 1/16 ns. */
export const RATE = {
  limits: 64,
  /** Combinations of port ranges in one limit. */
  rules: 64,
  /** Address ranges that a limit compares one by one; more of them, and those from files, are in a list. */
  sources: 8,
  packets: { least: 1, most: 1_000_000_000 },
  bits: { least: 1000, most: 10_000_000_000_000 },
  /** Seconds of its rate that a burst may take. */
  burstSeconds: 3600,
  buckets: { least: 1024, most: 16_777_216, initial: 65_536 },
  prefix: { v4: 32, v6: 64 },
  ban: {
    afterMs: { least: 1000, most: 600_000, initial: 3000 },
    forMs: { least: 10_000 },
    /** Shortest prefixes that a limit may ban. */
    prefix: { v4: 8, v6: 16 },
  },
} as const

const BUCKET_BYTES = 16
const PLACES_BYTES = 4096 * 64

/**
 * Kernel memory in bytes of the state of limits in these slots: buckets for a power of two of limits, and the places of sources
 * that exceed one with `ban`.
 */
export function rateMemory(limits: ReadonlyMap<string, RateLimit>, slots: ReadonlyMap<string, number>): number {
  const [first] = limits.values()
  if (first === undefined) return 0
  const used = Math.max(...[...limits.keys()].map((name) => slots.get(name) ?? 0)) + 1
  const places = [...limits.values()].some(({ ban }) => ban) ? PLACES_BYTES : 0
  return 2 ** Math.ceil(Math.log2(used)) * first.buckets * BUCKET_BYTES + places
}

const rateKey = (rate: Rate | undefined): string => (rate ? `${rate.perSecond}/${rate.burst}` : '')

const rangesKey = (set: RateLimit['sources']): string =>
  typeof set === 'object'
    ? [set.v4, set.v6].map(({ start, end }) => `${start.join()}-${end.join()}`).join('|')
    : (set ?? 'any')

/** A unique text for each limit apart from its name, by which limits are compared. `scope`: the `scopeKey` of its scope. */
export const rateLimitKey = (limit: RateLimit, scope: string): string =>
  [
    limit.position,
    scope,
    rangesKey(limit.sources),
    limit.per,
    limit.per === 'all' ? '' : `${limit.prefix.v4}/${limit.prefix.v6}`,
    rateKey(limit.packets),
    rateKey(limit.bits),
    limit.action,
    limit.ban ? `${limit.ban.forMs}/${limit.ban.afterMs}` : '',
    limit.buckets,
  ].join(' ')
