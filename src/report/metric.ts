// The type of a metric, and the report that samples come from.

import type { Stats, Surroundings } from './stats.ts'

/** The source of all samples. */
export interface Report {
  /** The version of xdp. */
  readonly version: string
  readonly stats: Stats
  readonly surroundings: Surroundings
}

/** Label values in the order of the metric's labels, and the value. */
export type Sample = readonly [labels: readonly string[], value: number]

export interface Metric {
  readonly name: `xdp_${string}`
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly labels: readonly string[]
  readonly samples: (report: Report) => readonly Sample[]
}

export const one = (value: number | undefined): readonly Sample[] => (value === undefined ? [] : [[[], value]])
