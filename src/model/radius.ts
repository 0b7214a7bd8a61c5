// The blast radius: how much one apply may remove, and how much a policy may block.

import type { Location } from '../diagnostics.ts'

/** A number of prefixes, or a share (0 to 1) of those that are live. */
export type Amount = { readonly count: number } | { readonly share: number }

/** A limit, and its place in the config. */
export interface Placed<T> {
  readonly value: T
  readonly at: Location
}

/** Limits of the config; undefined: none. */
export interface Radius {
  /** Prefixes that one apply may remove, from each list and from all lists together. */
  readonly maxRemoved: Placed<Amount> | undefined
  /** Share (0 to 1) of all IPv4 addresses, and of 2000::/3, that blocklists may block. */
  readonly maxBlocked: Placed<number> | undefined
  /** Shortest prefix of a blocklist entry, in bits. */
  readonly widest: Placed<{ readonly v4: number; readonly v6: number }> | undefined
}

export const NO_RADIUS: Radius = { maxRemoved: undefined, maxBlocked: undefined, widest: undefined }
