// Durations and percentages, in the forms that the schema permits.

import { MILLISECONDS } from '../../model/duration.ts'

/** `500ms`, `30s`, `5m`, `2h`, `1d` or `1w` in milliseconds. */
export function readDuration(text: string): number {
  const [, count, unit] = /^(\d+)([a-z]+)$/.exec(text) as unknown as readonly [
    string,
    string,
    keyof typeof MILLISECONDS,
  ]
  return Number(count) * MILLISECONDS[unit]
}

/** `50%` as 0.5. */
export const readShare = (text: string): number => Number(text.slice(0, -1)) / 100
