// Durations on the command line.

import { fail } from '../../diagnostics.ts'
import { parseMilliseconds } from '../../model/duration.ts'

const UNITS = ['ms', 's', 'm', 'h'] as const

/** The longest delay a timer of Node takes, about 24 days. */
const LONGEST = 2 ** 31 - 1

/** `30s`, `500ms`, `2m`, `1h` in milliseconds. Throws E300 for anything else, a bare number included. */
export function parseDuration(flag: string, text: string): number {
  const value = parseMilliseconds(text, UNITS)
  if (value !== undefined && value <= LONGEST) return value
  throw fail('E300', `--${flag} "${text}" is not a duration`, 'write a whole number with its unit: 500ms, 30s or 2m')
}
