// Packets that lists, rate limits and anomalies would have dropped while they only observed.

import type { AnomalyName } from './anomaly.ts'

/** Packets that would have been dropped since their entry, rate limit or anomaly began to observe. */
export interface Observed {
  readonly packets: number
  readonly bytes: number
  /** About how many sources they came from, IPv6 counted by networks of 64 bits; undefined: an earlier build did not count. */
  readonly sources?: number | undefined
  /** Each anomaly of a policy that begins to drop. */
  readonly anomalies?: readonly (Observed & { readonly name: AnomalyName })[]
}

/** Names of what begins to drop. */
export interface Beginning {
  readonly lists: readonly string[]
  readonly limits: readonly string[]
  readonly anomalies: readonly AnomalyName[]
}
