// Bans: dynamic entries beside the file. A source prefix is dropped until a time, unless an allowlist entry matches.

import type { Prefix } from './text.ts'

/** One thing to do. */
export interface BanRequest {
  readonly op: 'add' | 'remove'
  readonly prefix: Prefix
  /** How long from now, in milliseconds; 0 = until it is lifted. */
  readonly ttlMs: number
}

/** What goes with every ban of a request. */
export interface BanLabels {
  /** At most 55 bytes of UTF-8. */
  readonly reason: string
  /** Who or what bans; at most 23 bytes of UTF-8. */
  readonly by: string
}

/** Most bytes of the texts, the final NUL left out. */
export const REASON_BYTES = 55
export const BY_BYTES = 23

/**
 * What became of a request. `absent`: the prefix to remove was not banned. `refused`: it covers an address in
 * `protects`. `full`, `no-memory`: the kernel took no more; nothing that was banned is lost.
 */
export type BanOutcome =
  | { readonly result: 'added' | 'refreshed' | 'removed' | 'absent' | 'full' | 'no-memory' }
  | { readonly result: 'refused'; readonly protects: readonly Protected[] }

/** An address that a ban must not cover, and what it is. */
export interface Protected {
  readonly address: Uint32Array
  readonly what: string
}

/** A ban in force. Times are Unix times in milliseconds. */
export interface Ban extends BanLabels {
  readonly prefix: Prefix
  readonly since: number
  /** undefined: until it is lifted. */
  readonly expires: number | undefined
  /** Milliseconds that are left. */
  readonly ttlLeft: number | undefined
}

/** Whether a prefix covers an address of the same family; addresses of the other family have another length. */
export const coversAddress = ({ start, end }: Prefix, words: Uint32Array): boolean =>
  start.length === words.length && !isBelow(words, start) && !isBelow(end, words)

function isBelow(left: Uint32Array, right: Uint32Array): boolean {
  for (let word = 0; word < left.length; word++) {
    if (left[word] !== right[word]) return (left[word] as number) < (right[word] as number)
  }
  return false
}
