// Durations on the command line.

import { fail } from '../diagnostics.ts'

const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** The longest delay a timer of Node takes, about 24 days. */
const LONGEST = 2 ** 31 - 1

/** `30s`, `500ms`, `2m`, `1h` in milliseconds. Throws E300 for anything else, a bare number included. */
export function parseDuration(flag: string, text: string): number {
  const match = /^(\d+)(ms|s|m|h)$/.exec(text)
  const value = match ? Number(match[1]) * MILLISECONDS[match[2] as keyof typeof MILLISECONDS] : Number.NaN
  if (value <= LONGEST) return value
  throw fail('E300', `--${flag} "${text}" is not a duration`, 'write a whole number with its unit: 500ms, 30s or 2m')
}
