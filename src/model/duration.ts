// Durations in text: a whole number with its unit.

/** All units of time in this tool; each key of the config accepts a subset. */
export const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const

/** `500ms`, `30s`, `2m`, `1h` in milliseconds; undefined for anything else, a bare number included. */
export function parseMilliseconds(text: string): number | undefined {
  const match = /^(\d{1,15})(ms|s|m|h)$/.exec(text)
  return match ? Number(match[1]) * MILLISECONDS[match[2] as keyof typeof MILLISECONDS] : undefined
}
