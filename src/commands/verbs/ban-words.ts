// Parses the arguments of ban and unban: prefixes, times and texts, and explains invalid ones.

import { explainRange } from '../../config/entries/range.ts'
import { type Diagnostic, fail } from '../../diagnostics.ts'
import { BY_BYTES, REASON_BYTES } from '../../model/ban.ts'
import { MILLISECONDS, parseMilliseconds } from '../../model/duration.ts'
import { type Prefix, parsePrefix } from '../../model/text.ts'

/** Ten years. A longer time is a typing error: a ban without a time is permanent. */
const LONGEST = 3650 * MILLISECONDS.d

/** `90s`, `10m`, `1h`, `7d`, `2w` in milliseconds; undefined for anything else, zero included. */
export function parseTtl(text: string): number | undefined {
  const value = parseMilliseconds(text)
  return value !== undefined && value > 0 && value <= LONGEST ? value : undefined
}

export const TTL_HINT = 'write a whole number and a unit, at most ten years: 90s, 10m, 1h, 7d or 2w'

/** Whether a prefix is in ::ffff:0:0/96: no packet has such a source. */
const isMapped = ({ family, start, length }: Prefix): boolean =>
  family === 6 && length >= 96 && start[0] === 0 && start[1] === 0 && start[2] === 0xffff

/** Parses an address or a CIDR; undefined if `text` is neither. */
export function parseBanned(text: string): Prefix | undefined {
  const prefix = parsePrefix(text)
  return prefix && !isMapped(prefix) ? prefix : undefined
}

/** Explains why `text` is no address or CIDR. Only for text that `parseBanned` rejects. */
export function explainBanned(text: string): Pick<Diagnostic, 'code' | 'message' | 'hint'> {
  if (/^[^/]+-[^/]+$/.test(text)) {
    const hint = 'write a range as CIDRs: 192.0.2.8/29 is 192.0.2.8 to 192.0.2.15'
    return { code: 'E020', message: `"${text.slice(0, 60)}" is not an address or CIDR`, hint }
  }
  return explainRange(text)
}

/** Parses the argument of ban and unban. Throws E300. */
export function readBanned(text: string): Prefix {
  const prefix = parseBanned(text)
  if (prefix) return prefix
  const { message, hint } = explainBanned(text)
  throw fail('E300', message, hint)
}

function readText(flag: string, text: string | undefined, most: number): string {
  if (text === undefined) return ''
  const bytes = new TextEncoder().encode(text).length
  if (bytes > most) throw fail('E300', `--${flag} has ${bytes} bytes, more than ${most}`, 'write a shorter text')
  if (/\p{Cc}/u.test(text)) throw fail('E300', `--${flag} contains a control character`, 'write one line of plain text')
  return text
}

/** Parses --reason and --by. Throws E300. */
export const readLabels = ({
  reason,
  by,
}: {
  readonly reason: string | undefined
  readonly by: string | undefined
}) => ({
  reason: readText('reason', reason, REASON_BYTES),
  by: readText('by', by, BY_BYTES),
})

/** Parses --ttl into milliseconds; 0 without it. Throws E300. */
export function readTtl(text: string | undefined): number {
  if (text === undefined) return 0
  const ttl = parseTtl(text)
  if (ttl === undefined) throw fail('E300', `--ttl "${text}" is not a valid time`, TTL_HINT)
  return ttl
}
