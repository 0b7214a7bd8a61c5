// Durations in text: a whole number with its unit.

/** All units of time in this tool; each key of the config accepts a subset. */
export const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const

export type TimeUnit = keyof typeof MILLISECONDS

const isUnit = (text: string | undefined): text is TimeUnit => text !== undefined && Object.hasOwn(MILLISECONDS, text)

/**
 * `500ms`, `30s`, `2m`, `1h`, `7d` or `2w` in milliseconds; undefined for anything else, a bare number included, and for
 * units that are not among `units`. How long it may be is for the caller to check.
 */
export function parseMilliseconds(text: string, units?: readonly TimeUnit[]): number | undefined {
  const [, count, unit] = /^(\d{1,15})([a-z]{1,2})$/.exec(text) ?? []
  if (!isUnit(unit) || units?.includes(unit) === false) return undefined
  return Number(count) * MILLISECONDS[unit]
}
