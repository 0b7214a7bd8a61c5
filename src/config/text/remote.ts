// Sources of entries in the network, and the copies of them on this host.

import type { Location } from '../../diagnostics.ts'
import type { Unusable } from './unusable.ts'

/** Where the copies are, and what to do about one that was never fetched. */
export interface Copies {
  readonly directory: string
  /** `none`: no copy is read, only the sources are collected. */
  readonly missing: 'error' | 'warn' | 'none'
}

export const DEFAULT_COPIES: Copies = { directory: '/var/lib/xdp/feeds', missing: 'error' }

/** The content of a list as an entry reads it. */
export interface Examined {
  /** In the smallest set that covers the same addresses. */
  readonly prefixes: number
}

/** A source in the network that an entry names. */
export interface Remote {
  readonly kind: 'url' | 'host'
  /** The URL, or the name of the host. */
  readonly name: string
  /** The source for messages: a URL without its query, which may hold a key. */
  readonly shown: string
  /** Path of the copy. */
  readonly path: string
  readonly at: Location
  readonly list: string
  /** undefined: an hour for a URL, as long as the answer is valid for a host. */
  readonly refreshMs: number | undefined
  /** Path of the certificates of authorities; undefined: those of Node.js. */
  readonly ca: string | undefined
  readonly maxBytes: number
  /** Largest share (0 to 1) of its prefixes that a new edition may lose. */
  readonly maxShrink: number
  /** Reads a content under the options of the entry. */
  readonly examine: (bytes: Buffer) => Examined | Unusable
}
