// Parses the arguments of ban and unban: prefixes, times and texts, and explains invalid ones.

import { type Diagnostic, fail, XdpError } from '../../diagnostics.ts'
import { BY_BYTES, LONGEST_BAN, objectionToLabel, parseBanned, REASON_BYTES } from '../../model/ban.ts'
import { parseMilliseconds } from '../../model/duration.ts'
import type { Prefix } from '../../model/text.ts'

/** `90s`, `10m`, `1h`, `7d`, `2w` in milliseconds; undefined for anything else, zero included. */
export function parseTtl(text: string): number | undefined {
  const value = parseMilliseconds(text)
  return value !== undefined && value > 0 && value <= LONGEST_BAN ? value : undefined
}

export const TTL_HINT = 'write a whole number and a unit, at most ten years: 90s, 10m, 1h, 7d or 2w'

/**
 * Explains why `text` is no address or CIDR. Only for text that `parseBanned` rejects. Loads the code for it only here,
 * because a ban must start fast.
 */
export async function explainBanned(text: string): Promise<Pick<Diagnostic, 'code' | 'message' | 'hint'>> {
  if (/^[^/]+-[^/]+$/.test(text)) {
    const hint = 'write a range as CIDRs: 192.0.2.8/29 is 192.0.2.8 to 192.0.2.15'
    return { code: 'E020', message: `"${text.slice(0, 60)}" is not an address or CIDR`, hint }
  }
  const { explainRange } = await import('../../config/entries/range.ts')
  return explainRange(text)
}

/** Parses the arguments of ban and unban. Throws E300 for each invalid one, so that nothing is banned or lifted. */
export async function readBanned(words: readonly string[]): Promise<Prefix[]> {
  const prefixes = words.map(parseBanned)
  const invalid = words.filter((_, i) => !prefixes[i])
  if (invalid.length > 0) throw new XdpError(await Promise.all(invalid.map(async (text) => usageError(text))))
  return prefixes.filter((prefix) => prefix !== undefined)
}

async function usageError(text: string): Promise<Diagnostic> {
  const { message, hint } = await explainBanned(text)
  return { code: 'E300', severity: 'error', message, ...(hint ? { hint } : {}) }
}

function readText(flag: string, text: string | undefined, most: number): string {
  if (text === undefined) return ''
  const objection = objectionToLabel(text, most)
  if (objection !== undefined) throw fail('E300', `--${flag} ${objection}`, 'write one short line of plain text')
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

/** Parses --ttl, or --for, into milliseconds; 0 without it. Throws E300. */
export function readTtl(options: { readonly ttl: string | undefined; readonly for: string | undefined }): number {
  if (options.ttl !== undefined && options.for !== undefined)
    throw fail('E300', '--ttl and --for are the same flag', 'give one of them')
  const flag = options.for === undefined ? 'ttl' : 'for'
  const text = options[flag]
  if (text === undefined) return 0
  const ttl = parseTtl(text)
  if (ttl === undefined) throw fail('E300', `--${flag} "${text}" is not a valid time`, TTL_HINT)
  return ttl
}
