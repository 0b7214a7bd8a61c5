// Durations and percentages, in the forms that the schema permits.

import { parseMilliseconds } from '../../model/duration.ts'

/** `500ms`, `30s`, `5m`, `2h`, `1d` or `1w` in milliseconds. The schema has refused everything else. */
export const readDuration = (text: string): number => parseMilliseconds(text) as number

/** `50%` as 0.5. */
export const readShare = (text: string): number => Number(text.slice(0, -1)) / 100

/** `10000%` as 100, `any` as infinity. */
export const readGrowth = (text: string): number => (text === 'any' ? Number.POSITIVE_INFINITY : readShare(text))
