// What a config file asks for, beyond the State: options that steer the plan, and where every entry stands.

import type { Location } from '../diagnostics.ts'
import type { Family } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import type { ServiceHealth } from './health.ts'
import type { ScopedSet, State } from './state.ts'

/** What to do where a program that is not ours is attached. */
export type OnConflict = 'fail' | 'replace'
/** What to do where an interface of the file does not exist. */
export type OnMissing = 'error' | 'skip'

/** What the daemon does where the live state was changed by something else. */
export type OnDrift = 'repair' | 'report'
/** What becomes of the attached programs when the daemon stops. */
export type OnStop = 'keep' | 'detach'

export interface InterfaceOptions {
  readonly onConflict: OnConflict
  readonly missing: OnMissing
  /** Where the interface's mode stands (its key where no mode is written). */
  readonly at: Location
}

/** Entries of one family as written, in the order in which they are: one element per address, prefix or range. */
export interface Entries {
  readonly family: Family
  readonly length: number
  /** Bounds as in Ranges: one word each for IPv4, four for IPv6. */
  readonly start: Uint32Array
  readonly end: Uint32Array
  /** Line, from 1; ascending. */
  readonly line: Uint32Array
}

/** Where the parts of a service are written. */
export interface ServicePlaces {
  /** Its name. */
  readonly at: Location
  readonly vip: Location
  /** The backend with this backendKey, sorry backend included. */
  readonly backend: (key: string) => Location | undefined
}

/** What one file puts into a list under one scope. */
export interface ListSource {
  /** Index into `Provenance.files`. */
  readonly file: number
  /** Index into the list's `sets`. */
  readonly set: number
  readonly v4: Entries
  readonly v6: Entries
}

/** Which line put what into a list. Not merged, unlike the lists of the state. */
export interface Provenance {
  /** Paths as the user would type them: the config file, then those it includes, then list files. */
  readonly files: readonly string[]
  /** By list name, in the order in which they were read. */
  readonly lists: ReadonlyMap<string, readonly ListSource[]>
  /** By service name. */
  readonly services: ReadonlyMap<string, ServicePlaces>
}

/** One file of a feed, and what was taken of it. */
export interface FeedFile {
  readonly path: string
  /** Format as named or detected. */
  readonly format: string
  readonly entries: number
  /** Lines that are no entries and were skipped. */
  readonly skipped: number
  /** Entries left out because they hold private addresses (in whole or in part), or are too wide. */
  readonly private: number
  readonly wide: number
  /** Its own timestamp, else when it was last written; Unix time in seconds. */
  readonly updatedAt: number
  /** What it says about itself: source, copyright, terms. */
  readonly notes: readonly string[]
}

/** An entry that is filled from files, and how far these are trusted. */
export interface Feed {
  /** The list that the entry is, or is part of. */
  readonly list: string
  /** Where its `file` is written. */
  readonly at: Location
  readonly files: readonly FeedFile[]
  /** Seconds; undefined = files may be of any age. */
  readonly maxAge: number | undefined
  /** Share (0 to 1) of the live prefixes that the list may lose at once. */
  readonly maxShrink: number
  /** What the config itself puts into the same list: not a matter of the feed, so always taken. */
  readonly inline: readonly ScopedSet[]
}

/** How the daemon follows the file. */
export interface WatchOptions {
  /** How long the files must be left alone before they are read, in milliseconds. */
  readonly debounceMs: number
  /** Time between two full readings of the live state, in milliseconds. */
  readonly resyncMs: number
  readonly onDrift: OnDrift
  readonly onStop: OnStop
  /** Where metrics are served; undefined: nowhere. */
  readonly metrics: Endpoint | undefined
}

export interface Desired {
  /** `program` is undefined: which build to run is not the file's business. */
  readonly state: State
  /** By interface name, one for each of `state.interfaces`. */
  readonly options: ReadonlyMap<string, InterfaceOptions>
  readonly provenance: Provenance
  readonly feeds: readonly Feed[]
  /** By service name, for each service that is checked. */
  readonly health: ReadonlyMap<string, ServiceHealth>
  readonly watch: WatchOptions
  readonly config: { readonly path: string; readonly sha256: string }
}
