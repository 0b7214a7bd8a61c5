// Renders bans as a table and as JSON (schemas/bans.schema.json), and the outcome of ban and unban
// (schemas/ban.schema.json).

import type { Diagnostic } from '../diagnostics.ts'
import type { Ban } from '../model/ban.ts'
import { plural } from '../model/numbers.ts'
import { formatAddress } from '../model/text.ts'
import { diagnosticsJson } from './diagnostic.ts'
import { formatDuration } from './duration.ts'
import { jsonDocument } from './json.ts'
import { seconds } from './numbers.ts'
import { paint } from './paint.ts'
import { formatTable } from './table.ts'

/**
 * Replaces control characters: the caller of `xdp ban` chooses reason and author, and they must not steer the terminal.
 */
export const showable = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd')

const addressOf = ({ prefix: { family, start } }: Ban): string => formatAddress(family, start)

/** The prefix; without a length if it is a single address. */
function titleOf(ban: Ban): string {
  const { family, length } = ban.prefix
  return length === (family === 4 ? 32 : 128) ? addressOf(ban) : `${addressOf(ban)}/${length}`
}

const iso = (milliseconds: number): string => new Date(milliseconds).toISOString()

export function renderBans(bans: readonly Ban[], color: boolean): string {
  if (bans.length === 0) return 'No bans.\n'
  const isMixed = bans.some(({ observe }) => observe)
  const rows = bans.map((ban) => [
    titleOf(ban),
    ban.ttlLeft === undefined ? 'until lifted' : formatDuration(ban.ttlLeft),
    seconds(iso(ban.since)),
    ...(isMixed ? [ban.observe ? 'observe' : 'drop'] : []),
    showable(ban.by),
    showable(ban.reason),
  ])
  const columns = ['BANNED', 'TIME LEFT', 'SINCE', ...(isMixed ? ['ACTION'] : []), 'BY', 'REASON'].map((title) => ({
    title,
  }))
  const [head = '', ...body] = formatTable(columns, rows)
  return `${[paint(color).bold(head), ...body].join('\n')}\n`
}

/** One ban in JSON, alike in every document. */
export function banJson(ban: Ban): Readonly<Record<string, unknown>> {
  const address = addressOf(ban)
  return {
    address,
    prefix: `${address}/${ban.prefix.length}`,
    by: ban.by === '' ? null : ban.by,
    reason: ban.reason === '' ? null : ban.reason,
    since: iso(ban.since),
    expires: ban.expires === undefined ? null : iso(ban.expires),
    ttl_left: ban.ttlLeft === undefined ? null : Math.ceil(ban.ttlLeft / 1000),
    action: ban.observe ? 'observe' : 'drop',
  }
}

export const renderBansJson = (bans: readonly Ban[]): string => jsonDocument({ bans: bans.map(banJson) })

/** Counts of requests by outcome. */
export interface BanReport {
  readonly added: number
  readonly refreshed: number
  readonly removed: number
  readonly absent: number
  /** Lines without a valid address or time. */
  readonly rejected: number
  /** Requests that a guard refused. */
  readonly refused: number
  /** Requests that the kernel rejected. */
  readonly failed: number
  /** The first errors of rejected, refused and failed requests. */
  readonly errors: readonly Diagnostic[]
  /** Bans that the allowlist beats, and addresses to unban that the file blocks. */
  readonly warnings: readonly Diagnostic[]
}

/** One sentence for the successful requests; the errors cover the others. */
export function renderBanReport({ added, refreshed, removed, absent }: BanReport): string {
  const parts = [
    ...(added > 0 ? [`banned ${plural(added, 'prefix', 'prefixes')}`] : []),
    ...(refreshed > 0 ? [`refreshed ${plural(refreshed, 'ban')}`] : []),
    ...(removed > 0 ? [`lifted ${plural(removed, 'ban')}`] : []),
    ...(absent > 0 ? [absent === 1 && removed === 0 ? 'there was no such ban' : `${absent} were not banned`] : []),
  ]
  const text = parts.length === 0 ? 'nothing changed' : parts.join(', ')
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.\n`
}

export function renderBanReportJson(report: BanReport): string {
  const { added, refreshed, removed, absent, rejected, refused, failed, errors, warnings } = report
  const counts = { added, refreshed, removed, absent, rejected, refused, failed }
  return jsonDocument({ ...counts, errors: diagnosticsJson(errors), warnings: diagnosticsJson(warnings) })
}
