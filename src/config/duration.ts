// Durations and shares as the schema lets them be written.

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `500ms`, `30s`, `5m`, `2h` or `1d` in milliseconds. */
export function readDuration(text: string): number {
  const [, count, unit] = /^(\d+)([a-z]+)$/.exec(text) as unknown as readonly [string, string, string]
  return Number(count) * (MILLISECONDS[unit] as number)
}

/** `50%` as 0.5. */
export const readShare = (text: string): number => Number(text.slice(0, -1)) / 100
