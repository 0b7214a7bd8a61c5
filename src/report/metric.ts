// What a metric is.

import type { Stats, Surroundings } from './stats.ts'

/** All that metrics are made of. */
export interface Report {
  /** Of xdp itself. */
  readonly version: string
  readonly stats: Stats
  readonly surroundings: Surroundings
}

/** Label values, in the order of the metric's labels, and the value. */
export type Sample = readonly [labels: readonly string[], value: number]

export interface Metric {
  readonly name: `xdp_${string}`
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly labels: readonly string[]
  readonly samples: (report: Report) => readonly Sample[]
}

export const one = (value: number | undefined): readonly Sample[] => (value === undefined ? [] : [[[], value]])
