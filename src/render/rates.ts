// From two counts to what happened a second.

import type { Count } from '../report/result.ts'

/** Packets and bytes a second. */
export type Rates = Count

/**
 * undefined where there is nothing to compare with. A count that is below the one before began anew (the slot was
 * given to another, or the maps were made anew), so all of it is new.
 */
export function ratesOf(before: Count | undefined, now: Count, seconds: number): Rates | undefined {
  if (!before || seconds <= 0) return undefined
  const grown = (old: number, value: number): number => (value < old ? value : value - old) / seconds
  return { packets: grown(before.packets, now.packets), bytes: grown(before.bytes, now.bytes) }
}
