// A section of the live view: rows with rates between two snapshots of the counters.

import type { Count } from '../report/result.ts'
import type { Stats } from '../report/stats.ts'
import { formatRate } from './numbers.ts'
import { right } from './status.ts'
import type { Column } from './table.ts'

export interface Frame {
  readonly instance: string
  readonly stats: Stats
  /** The snapshot before; undefined: this is the first. */
  readonly previous: Stats | undefined
  /** Seconds between the two, by a monotonic clock. */
  readonly seconds: number
  /** The refresh interval as the user wrote it: `1s`. */
  readonly interval: string
  /** Why the latest snapshot failed; the frame then shows the one before. */
  readonly error: string | undefined
  readonly columns: number
  readonly rows: number
  readonly color: boolean
}

export interface Section {
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly string[])[]
}

/** Widths of any rate and of most counts, so that columns do not move while numbers grow. */
const RATE = 6
const COUNT = 13
export const rateColumn = (title: string): Column => right(title.padStart(RATE))
export const countColumn = (title: string): Column => right(title.padStart(COUNT))

export const NONE: Count = { packets: 0, bytes: 0 }

export const perSecond = (rate: number | undefined): string => (rate === undefined ? '-' : formatRate(rate))
export const bits = (rate: number | undefined): string => (rate === undefined ? '-' : formatRate(rate * 8))

/** Sorts by rate, then by total packets, both descending, then by name. */
export function busiest<T extends { readonly name: string; readonly packets: number }>(
  items: readonly T[],
  rate: (item: T) => number,
): T[] {
  return items.toSorted((a, b) => rate(b) - rate(a) || b.packets - a.packets || (a.name < b.name ? -1 : 1))
}
