// Derives rates from two counts.

import type { Count } from '../report/result.ts'

/** Packets and bytes per second. */
export type Rates = Count

/**
 * undefined without an earlier count. A count below the earlier one started again at zero (its slot has a new owner, or
 * the maps are new), so all of it counts.
 */
export function ratesOf(before: Count | undefined, now: Count, seconds: number): Rates | undefined {
  if (!before || seconds <= 0) return undefined
  const grown = (old: number, value: number): number => (value < old ? value : value - old) / seconds
  return { packets: grown(before.packets, now.packets), bytes: grown(before.bytes, now.bytes) }
}
