// Reference model of rate limits: the limits that count a packet, and the meter that says whether it conforms. The data
// plane implements both in C (bpf/include/rate.h, meter.h).

import { contains } from '../model/ranges.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import { sourcesOf } from '../model/rate-sources.ts'
import type { State } from '../model/state.ts'
import type { Verdict } from '../report/reason.ts'
import { type Circumstances, type Facts, type Ingress, inScope, judge, TEST_INGRESS } from './judge.ts'

/** Groups of `policy.essential` that no limit holds up. */
export const UNLIMITED: ReadonlySet<string> = new Set(['neighbor_discovery', 'mld', 'dhcp_client'])

/** Reasons of packets that lists, bans and anomalies decide. */
const DECIDED: ReadonlySet<string> = new Set(['allowlist', 'blocklist', 'ban', 'anomaly'])

/** The limits of a state that count a packet, in the order in which it meets them. */
export function countingLimits(
  state: Pick<State, 'lists' | 'policy' | 'rateLimits'>,
  facts: Facts,
  ingress: Ingress = TEST_INGRESS,
  circumstances: Circumstances = {},
): readonly RateLimit[] {
  if (facts.kind !== 'ip' || !state.rateLimits || !ingress.roles.includes('filter')) return []
  const { lists, policy } = state
  if (DECIDED.has(judge({ lists, policy }, facts, { ...circumstances, own: false }, ingress).reason)) return []
  const { essential, family, source } = facts
  if (essential && UNLIMITED.has(essential) && policy?.essential.includes(essential)) return []
  const counts = (limit: RateLimit): boolean => {
    const sources = sourcesOf(limit, lists)
    return (
      inScope(limit.scope, 'blocklist', facts, ingress) &&
      (sources === undefined || contains(family === 4 ? sources.v4 : sources.v6, source) >= 0)
    )
  }
  return [...state.rateLimits.values()].filter(counts).sort((a, b) => a.position - b.position)
}

/**
 * The verdict on a packet that finds the balances of all limits used up. An observing limit drops nothing; sockets and bans
 * are not in the state.
 */
export const verdictBeyondRates = (state: State, facts: Facts, ingress: Ingress = TEST_INGRESS): Verdict =>
  countingLimits(state, facts, ingress).some(({ action }) => action === 'drop')
    ? 'drop'
    : judge(state, facts, {}, ingress).verdict

/** A packet at a meter. All but the places in the units of the clock. */
export interface Taking {
  /** Places of the two buckets of its key; equal if there is one. */
  readonly first: number
  readonly second: number
  readonly now: bigint
  readonly cost: bigint
  readonly burst: bigint
  /** Room beyond the burst: the largest cost, and the difference of clocks. */
  readonly most: bigint
}

const later = (a: bigint, b: bigint): bigint => (a > b ? a : b)
const earlier = (a: bigint, b: bigint): bigint => (a < b ? a : b)

/**
 * Takes from a key's buckets: two rows of a count-min sketch with conservative update, of clocks of the generic cell rate
 * algorithm (ITU-T I.371). Returns whether the packet conforms.
 */
export function take(buckets: bigint[], { first, second, now, cost, burst, most }: Taking): boolean {
  const bound = now + burst + most
  for (const at of [first, second]) buckets[at] = earlier(buckets[at] ?? 0n, bound)
  const ahead = (at: number): bigint => later(buckets[at] as bigint, now)
  const [emptier, fuller] = ahead(first) <= ahead(second) ? [first, second] : [second, first]
  const least = ahead(emptier)
  const next = least + cost
  if (next - now > burst && least > now) return false
  buckets[fuller] = later(buckets[fuller] as bigint, next)
  buckets[emptier] = next
  return true
}
