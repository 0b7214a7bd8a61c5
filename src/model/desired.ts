// What a config file asks for, beyond the State: options that steer the plan, and where every entry stands.

import type { Location } from '../diagnostics.ts'
import type { Family } from './address.ts'
import type { State } from './state.ts'

/** What to do where a program that is not ours is attached. */
export type OnConflict = 'fail' | 'replace'
/** What to do where an interface of the file does not exist. */
export type OnMissing = 'error' | 'skip'

export interface InterfaceOptions {
  readonly onConflict: OnConflict
  readonly missing: OnMissing
  /** Where the interface's mode stands (its key where no mode is written). */
  readonly at: Location
}

/**
 * The entries of one list and family as written, sorted by first address, then last: one element per address, prefix
 * or range of the source. Not merged: it answers "which line says so".
 */
export interface Entries {
  readonly family: Family
  readonly length: number
  /** Bounds as in Ranges: one word each for IPv4, four for IPv6. */
  readonly start: Uint32Array
  readonly end: Uint32Array
  /** Index into `Provenance.files`. */
  readonly file: Uint16Array
  /** Line, from 1. */
  readonly line: Uint32Array
  /** Index into the list's `sets`. */
  readonly set: Uint16Array
}

export interface Provenance {
  /** Paths as the user would type them; the config file is the first. */
  readonly files: readonly string[]
  /** By list name. */
  readonly lists: ReadonlyMap<string, { readonly v4: Entries; readonly v6: Entries }>
}

export interface Desired {
  /** `program` is undefined: which build to run is not the file's business. */
  readonly state: State
  /** By interface name, one for each of `state.interfaces`. */
  readonly options: ReadonlyMap<string, InterfaceOptions>
  readonly provenance: Provenance
  readonly config: { readonly path: string; readonly sha256: string }
}
