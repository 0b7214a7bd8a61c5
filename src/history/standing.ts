// The policy that should be in force, by the history. Entries are newest first.

import type { EntryResult, HistoryEntry } from '../report/history.ts'

type Listed = HistoryEntry

/** The policy of an entry was accepted: by its user, or because no confirmation was asked for. */
const isAccepted = ({ result }: Listed): boolean => result === 'applied' || result === 'confirmed'

const isInForce = (entry: Listed): boolean => isAccepted(entry) || entry.result === 'pending'

/** Results of applies that left the policy as it was, or whose end is unknown. */
const WITHOUT_EFFECT: readonly EntryResult[] = ['running', 'interrupted', 'failed']

/** A policy that is in force in place of that of the file. */
export interface Held {
  /**
   * `unconfirmed`: the file is that of an apply whose confirmation did not arrive. `rolled-back`: the file is as it was
   * at a rollback.
   */
  readonly why: 'unconfirmed' | 'rolled-back'
  /** The entry with the unconfirmed config, or of the rollback. */
  readonly over: Listed
  /** The entry whose config is in force; undefined: there was no policy before. */
  readonly by: Listed | undefined
}

/** The policy in force in place of that of the config with this digest; undefined: the file decides. */
export function heldOver(entries: readonly Listed[], sha256: string): Held | undefined {
  const [newest, ...older] = entries.filter(({ result }) => !WITHOUT_EFFECT.includes(result))
  if (newest === undefined) return undefined
  const { action, result, config, overrules } = newest
  if (result === 'reverted') {
    // Without the rollback everything is as before it.
    if (action === 'rollback') return heldOver(older, sha256)
    return config.sha256 === sha256 ? { why: 'unconfirmed', over: newest, by: older.find(isAccepted) } : undefined
  }
  const isHeld = action === 'rollback' && overrules?.sha256.includes(sha256)
  return isHeld ? { why: 'rolled-back', over: newest, by: newest } : undefined
}

/** The rollback in force, if the policy is that of one. */
export function rollbackInForce(entries: readonly Listed[]): Listed | undefined {
  const current = entries.find(isInForce)
  return current?.action === 'rollback' ? current : undefined
}

/** The last apply whose policy is in force, or was before the programs were removed. */
export const inForce = (entries: readonly Listed[]): Listed | undefined => entries.find(isInForce)

/** The entry that a rollback without a number takes: the last accepted one with another config than that in force. */
export function entryBefore(entries: readonly Listed[]): Listed | undefined {
  const current = inForce(entries)
  if (current === undefined) return undefined
  const older = entries.slice(entries.indexOf(current) + 1)
  return older.find((entry) => isAccepted(entry) && entry.config.sha256 !== current.config.sha256)
}

/**
 * Whether an apply of this config only repeats the one in force, as at boot or to repair drift: then it makes no entry. One
 * after a list kept other content than that of its files may take that content.
 */
export function isRepetition(entries: readonly Listed[], sha256: string): boolean {
  const current = inForce(entries)
  if (current === undefined || !isAccepted(current)) return false
  return current.config.sha256 === sha256 && current.distrusted.length === 0
}
