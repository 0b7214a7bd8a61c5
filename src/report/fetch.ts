// Reports about sources in the network: the result of fetching one, and the copies of them on this host.

import type { Diagnostic } from '../diagnostics.ts'

/**
 * `new`: the first copy; `updated`: another content; `unchanged`: the source has what the copy has; `kept`: the new content
 * shrank too much; `failed`: there was no usable content. The last two leave the last good copy as it is.
 */
export const FETCH_OUTCOMES = ['new', 'updated', 'unchanged', 'kept', 'failed'] as const
export type FetchOutcome = (typeof FETCH_OUTCOMES)[number]

/** The result of fetching one source. */
export interface Fetched {
  readonly kind: 'url' | 'host'
  /** Without the query of a URL. */
  readonly source: string
  /** Lists that it fills, in whole or in part. */
  readonly lists: readonly string[]
  readonly outcome: FetchOutcome
  readonly path: string
  /** Prefixes of the copy that is there now; undefined: it is missing, or was not read. */
  readonly prefixes: number | undefined
  /** Prefixes of the new content, if that is known. */
  readonly offered: number | undefined
  /** Size of what was received, in bytes. */
  readonly bytes: number
  /** Why the outcome is `kept` or `failed`. */
  readonly problem: Diagnostic | undefined
  /** Milliseconds for which the source says that its answer is valid, or for which it wants no other request. */
  readonly validMs: number | undefined
}

/** A copy on this host, as the last attempt to fetch it left it. */
export interface CopyFacts {
  readonly kind: 'url' | 'host'
  readonly source: string
  readonly path: string
  /** Last time that the source had a usable content, or no other than the copy; Unix time in seconds. undefined: never. */
  readonly goodAt: number | undefined
  /** Last attempt. */
  readonly checkedAt: number
  /** Why the last attempt failed; undefined: it succeeded. */
  readonly problem: string | undefined
  /** Failed attempts since the last success. */
  readonly failures: number
}
