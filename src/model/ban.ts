// Bans: dynamic entries outside the config file. Packets from a banned prefix are dropped until the ban expires, unless
// an allowlist entry matches.

import type { Code } from '../diagnostics.ts'
import type { Address } from './address.ts'
import type { AllowedCuts } from './contact.ts'
import { type Prefix, parsePrefix } from './text.ts'

/** One ban to add, refresh or remove. */
export interface BanRequest {
  readonly op: 'add' | 'remove'
  readonly prefix: Prefix
  /** Duration in milliseconds; 0 = until it is removed. */
  readonly ttlMs: number
  /** Whether packets are only counted, and go on. */
  readonly observe?: boolean
  /**
   * Whether a ban of the prefix by another author stays in its place, and so does one that drops if this one observes, or one with
   * another reason that ends no earlier; it takes none of the room that is kept for others.
   */
  readonly yields?: boolean
  /** Whether any ban of the prefix that is in force stays in its place. */
  readonly unlessBanned?: boolean
}

/**
 * Texts stored with a ban. With a request to remove one, the texts that it must carry to be removed; an empty text matches
 * any.
 */
export interface BanLabels {
  /** At most 55 bytes of UTF-8. */
  readonly reason: string
  /** Program or user that requested the ban; at most 23 bytes of UTF-8. */
  readonly by: string
}

/** A request with its labels. */
export interface BanOrder extends BanRequest {
  readonly labels: BanLabels
  /** Guarded peers that it may cut; `all`: also addresses of this host. */
  readonly allowed: AllowedCuts
  /** SSH clients of the caller. */
  readonly peers: readonly Address[]
}

/** Maximum size of each text in bytes, without the final NUL. */
export const REASON_BYTES = 55
export const BY_BYTES = 23

/** Why a ban is refused. */
export interface BanRefusal {
  readonly code: Code
  readonly message: string
  readonly hint: string
}

/**
 * Result of a request. `absent`: the prefix to remove was not banned. `refused`: the ban would cut guarded peers, or cover
 * an address of this host. `kept`: another ban of the prefix is in force, and stays. Of a request that yields, `enforced`: it
 * replaced one that only observed; `replaced`: one by its author that ended earlier and had another reason. `full`, `no-memory`: the kernel rejected the new ban; existing bans stay in force.
 */
export type BanOutcome =
  | { readonly result: BanResult }
  | { readonly result: 'refused'; readonly reasons: readonly BanRefusal[] }

type BanResult = 'added' | 'refreshed' | 'enforced' | 'replaced' | 'removed' | 'absent' | 'kept' | 'full' | 'no-memory'

/** Whether a request made a ban where none of its kind was in force. */
export const isNewBan = ({ result }: BanOutcome): boolean =>
  result === 'added' || result === 'enforced' || result === 'replaced'

/** An address that a ban should not cover, and a description of it. */
export interface Protected {
  readonly address: Uint32Array
  readonly what: string
}

/** A ban in force. Times are Unix times in milliseconds. */
export interface Ban extends BanLabels {
  readonly prefix: Prefix
  readonly since: number
  /** undefined: until it is removed. */
  readonly expires: number | undefined
  /** Milliseconds until it expires. */
  readonly ttlLeft: number | undefined
  /** Whether packets are only counted, and go on. */
  readonly observe: boolean
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

/** Whether a prefix is in ::ffff:0:0/96: no packet has such a source. */
const isMapped = ({ family, start, length }: Prefix): boolean =>
  family === 6 && length >= 96 && start[0] === 0 && start[1] === 0 && start[2] === 0xffff

/** Parses an address or a CIDR; undefined if `text` is neither. */
export function parseBanned(text: string): Prefix | undefined {
  const prefix = parsePrefix(text)
  return prefix && !isMapped(prefix) ? prefix : undefined
}

/** Why a text cannot be a label, after its name; undefined if it can. */
export function objectionToLabel(text: string, most: number): string | undefined {
  const bytes = new TextEncoder().encode(text).length
  if (bytes > most) return `has ${bytes} bytes, more than ${most}`
  return /\p{Cc}/u.test(text) ? 'contains a control character' : undefined
}

/** Ten years in milliseconds. A longer time is a typing error: a ban without a time is permanent. */
export const LONGEST_BAN = 3650 * 86_400_000
