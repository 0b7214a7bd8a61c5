// A rate of a rule, as a rate limit would have it.

import type { RatePer } from '../model/rate-limit.ts'

/** Packets beyond a rate, or within it. */
export interface RateSpec {
  /** Name in the source; empty: none. */
  readonly name: string
  readonly per: RatePer
  readonly prefix: { readonly v4: number; readonly v6: number } | undefined
  /** Packets. */
  readonly perSecond: number
  readonly burst: number
  /** Whether the rule matches packets beyond the rate, or those within. */
  readonly over: boolean
  /** Whether the rule counts only packets that open connections. */
  readonly opening: boolean
  /** How the limit differs; undefined: not at all. */
  readonly remark: string | undefined
  /** Why the limit could drop more than the rule; then it is only suggested. */
  readonly why: string | undefined
}
