// The history of an instance as its users see it.

import type { Diagnostic } from '../diagnostics.ts'
import type { HistoryBounds } from '../model/desired.ts'
import type { SourceFile } from '../model/sources.ts'
import type { DamagedEntry, EntryDraft, StoredEntry, StoredResult } from '../report/history.ts'

/** Applies of one instance. No method throws: a fault in the history must not fail an apply. */
export interface History {
  /** Where it is stored. */
  readonly directory: string
  /** Newest first. */
  readonly entries: () => readonly (StoredEntry | DamagedEntry)[]
  /** The content with this digest; undefined: it is not kept, or damaged. */
  readonly content: (sha256: string) => Uint8Array | undefined
  /** Whether the content with this digest is kept. Does not read it. */
  readonly has: (sha256: string) => boolean
  /** Sets other bounds than the default ones, for `keep` and `add`. */
  readonly bound: (bounds: HistoryBounds) => void
  /**
   * Keeps the contents of files, each once. Leaves out lists that are too long, and those whose file has changed since it
   * was read. Every writer must hold the lock of the instance.
   */
  readonly keep: (files: readonly SourceFile[]) => void
  /** Adds an entry, and removes the oldest ones. Returns its number; undefined if it could not be written. */
  readonly add: (draft: EntryDraft) => number | undefined
  /** Records the result of an entry. */
  readonly settle: (number: number, result: StoredResult, generation?: number) => void
  /** Removes an entry whose apply changed nothing. */
  readonly remove: (number: number) => void
  /** The first fault found. */
  readonly problem: string | undefined
}

/** The warning of an unusable history; undefined: it works. */
export const warningOf = ({ problem, directory }: History): Diagnostic | undefined =>
  problem === undefined
    ? undefined
    : {
        code: 'W246',
        severity: 'warning',
        message: `the history does not work, so that \`xdp rollback\` cannot go back to every policy: ${problem}`,
        hint: `ls -la ${directory}`,
      }

export const isDamaged = (entry: StoredEntry | DamagedEntry): entry is DamagedEntry => 'problem' in entry
