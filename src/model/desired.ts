// The result of reading a config: the desired State, the options that steer the plan, and the location of every entry.

import type { Location } from '../diagnostics.ts'
import type { Family } from './address.ts'
import type { Endpoint } from './endpoint.ts'
import type { ServiceHealth } from './health.ts'
import type { ProtectedPrefix } from './protect.ts'
import type { Radius } from './radius.ts'
import type { Restored, Sources } from './sources.ts'
import type { ScopedSet, State } from './state.ts'

/** Reaction to a foreign program on an interface. */
export type OnConflict = 'fail' | 'replace' | 'chain'
/** Reaction to an interface that the config names and the host does not have. */
export type OnMissing = 'error' | 'skip'

/** Reaction of the daemon to drift. */
export type OnDrift = 'repair' | 'report'
/** Whether attached programs stay when the daemon stops. */
export type OnStop = 'keep' | 'detach'

export interface InterfaceOptions {
  readonly onConflict: OnConflict
  readonly missing: OnMissing
  /** Whether to replace a program of ours whose pins are lost. */
  readonly reclaims?: boolean
  /** Location of the interface's mode, or of its key if no mode is written. */
  readonly at: Location
}

/** Entries of one family as written, in file order: one element per address, prefix or range. */
export interface Entries {
  readonly family: Family
  readonly length: number
  /** Bounds as in Ranges: one word each for IPv4, four for IPv6. */
  readonly start: Uint32Array
  readonly end: Uint32Array
  /** Line number, from 1; ascending. */
  readonly line: Uint32Array
}

/** Locations of the parts of a service. */
export interface ServicePlaces {
  /** Location of its name. */
  readonly at: Location
  readonly vip: Location
  /** The backend with this backendKey, sorry backend included. */
  readonly backend: (key: string) => Location | undefined
}

/** The entries that one file adds to a list under one scope. */
export interface ListSource {
  /** Index into `Provenance.files`. */
  readonly file: number
  /** Index into the list's `sets`. */
  readonly set: number
  /** The origin of the file in words, where its path does not say it. */
  readonly about?: string
  readonly v4: Entries
  readonly v6: Entries
}

/** File and line of every list entry. Entries are not merged, unlike the lists of the state. */
export interface Provenance {
  /** Paths as the user would type them: the config file, then its includes, then list files. */
  readonly files: readonly string[]
  /** By list name, in the order in which the files were read. */
  readonly lists: ReadonlyMap<string, readonly ListSource[]>
  /** By service name. */
  readonly services: ReadonlyMap<string, ServicePlaces>
  /** The name of each rate limit, by that name. */
  readonly rateLimits: ReadonlyMap<string, Location>
  /** The key `syn_protection`; absent: not written. */
  readonly synProtection?: Location | undefined
}

/** One file of a feed, and the result of reading it. */
export interface FeedFile {
  readonly path: string
  /** Format, as configured or detected. */
  readonly format: string
  readonly entries: number
  /** Number of lines skipped because they are not entries. */
  readonly skipped: number
  /** Number of entries left out: `private` hold private addresses, in whole or in part; `wide` are too wide. */
  readonly private: number
  readonly wide: number
  /** Timestamp in the file, else its modification time; Unix time in seconds. */
  readonly updatedAt: number
  /** Metadata from the file: source, copyright, terms. */
  readonly notes: readonly string[]
}

/** A list entry that reads its prefixes from files, with the limits on accepting them. */
export interface Feed {
  /** Name of the list that it fills, in whole or in part. */
  readonly list: string
  /** Location of the key that names its source. */
  readonly at: Location
  readonly files: readonly FeedFile[]
  /** Maximum age of a file in seconds; undefined = any age. */
  readonly maxAge: number | undefined
  /** Largest share (0 to 1) of the live prefixes that the list may lose at once. */
  readonly maxShrink: number
  /** Prefixes that the list may gain at once, as a multiple of its live prefixes; Infinity = any. */
  readonly maxGrowth: number
  /** Entries of this list from the config itself. The feed's limits do not apply to them. */
  readonly inline: readonly ScopedSet[]
}

/** Bounds of the history: number of entries, and bytes of all contents. */
export interface HistoryBounds {
  readonly entries: number
  readonly bytes: number
}

/** Ten million lines of a list take 150 MB. */
export const DEFAULT_HISTORY: HistoryBounds = { entries: 10, bytes: 256 * 2 ** 20 }

/** The settings of `watch`. */
export interface WatchOptions {
  /** Quiet time in milliseconds after the last change of a file before the daemon reads it. */
  readonly debounceMs: number
  /** Time between two full observations of the live state, in milliseconds. */
  readonly resyncMs: number
  readonly onDrift: OnDrift
  readonly onStop: OnStop
  /** Address of the metrics server; undefined: no server. */
  readonly metrics: Endpoint | undefined
}

export interface Desired {
  /** `program` is undefined: the config does not choose the build. */
  readonly state: State
  /** By interface name, one for each of `state.interfaces`. */
  readonly options: ReadonlyMap<string, InterfaceOptions>
  readonly provenance: Provenance
  readonly feeds: readonly Feed[]
  /** By service name, for each service with health checks. */
  readonly health: ReadonlyMap<string, ServiceHealth>
  /** Prefixes that no change may cut. */
  readonly protect: readonly ProtectedPrefix[]
  readonly watch: WatchOptions
  /** `limits.confirm` in milliseconds; undefined: applies wait for no confirmation. */
  readonly confirmMs: number | undefined
  readonly radius: Radius
  readonly history: HistoryBounds
  /** `bans.persist`: `true`: in the state directory; a text: in this file; absent: bans end with the boot. */
  readonly persist?: true | string | undefined
  readonly config: { readonly path: string; readonly sha256: string }
  /** For the history; absent: an apply is not to be remembered. */
  readonly sources?: Sources | undefined
  /** Only for a config of the history. */
  readonly restored?: Restored | undefined
}
