// What the daemon tells: events as they happen, and how things stand, for those that ask later.

import type { Diagnostic } from '../diagnostics.ts'
import type { Drift } from '../model/live.ts'
import type { ServiceMode } from '../model/overlay.ts'

/**
 * How a reconcile of the watcher may end. `in-sync`: nothing was to be done; `held`: drift that is only told; `refused`:
 * a guard said no.
 */
export const OUTCOMES = ['applied', 'in-sync', 'held', 'refused', 'failed'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** What a watcher did since it started. */
export interface ReconcileFacts {
  /** How many ended how. */
  readonly reconciles: Readonly<Record<Outcome, number>>
  /** The latest one, with the time of its end (ISO 8601, UTC); undefined = none yet. */
  readonly last: { readonly at: string; readonly outcome: Outcome; readonly durationMs: number } | undefined
}

/** What the checks of a watcher did since it started. */
export interface CheckFacts {
  /** Checks that came to a result. */
  readonly checks: number
  /** Of these: the backend did not pass. */
  readonly failures: number
  /** Of these: the check could not be made. */
  readonly unknown: number
  /** Starts that were left out because the process was too late for them. */
  readonly missed: number
  readonly running: number
  /** How late checks started. */
  readonly lateness: { readonly sumMs: number; readonly maxMs: number }
  /** Bytes of health that were written. */
  readonly writes: number
}

/** What a reconcile was made for. */
export type Trigger = 'start' | 'edit' | 'reload' | 'kernel' | 'resync' | 'retry'

/** Errors of one cause, in the order in which they are told. */
export interface Trouble {
  readonly errors: readonly Diagnostic[]
  /** How many more there are. */
  readonly omitted: number
}

type Empty = Readonly<Record<never, never>>

interface Events {
  started: { readonly pid: number; readonly instance: string; readonly config: string }
  /** The policy of the file is in force for the first time. */
  ready: Empty
  applied: {
    readonly trigger: Trigger
    readonly changes: readonly { readonly op: string; readonly key: string }[]
    readonly prefixes: { readonly added: number; readonly removed: number }
    readonly sha256: string
    readonly durationMs: number
    readonly probes: { readonly run: number; readonly passed: number }
  }
  /** The file was read (anew), and the live state is what it says already. */
  'in-sync': { readonly trigger: Trigger; readonly sha256: string; readonly durationMs: number }
  /** The file cannot be used; what was in force before stays in force. */
  'bad-config': Trouble
  'config-fixed': Empty
  /** The live state is unchanged. */
  refused: Trouble & { readonly retryMs: number }
  failed: Trouble & { readonly retryMs: number }
  recovered: Empty
  drift: {
    readonly drift: readonly Drift[]
    /** `hold`: it was repaired too often of late, so the next repair waits. */
    readonly action: 'repair' | 'report' | 'hold'
    readonly retryMs: number | undefined
  }
  'drift-gone': Empty
  /** Checks say so; `reason` is of the last of them. */
  'backend-down': { readonly service: string; readonly backend: string; readonly reason: string | undefined }
  'backend-up': { readonly service: string; readonly backend: string }
  /** What becomes of the new flows of a service is another thing now. */
  'service-health': {
    readonly service: string
    readonly mode: ServiceMode
    /** Fewer backends are healthy than needed. */
    readonly isFallback: boolean
    readonly healthy: number
    readonly needed: number
  }
  warning: { readonly warnings: readonly Diagnostic[] }
  reload: Empty
  /** Something that only makes it slower to notice things, or harder to follow. */
  trouble: { readonly what: string }
  stopping: { readonly reason: string }
  stopped: { readonly attached: boolean }
}

export type WatchEventName = keyof Events
export type WatchEvent = { [K in WatchEventName]: { readonly event: K } & Events[K] }[WatchEventName]

/** A backend that its checks have taken out of use. */
export interface Down {
  readonly service: string
  /** backendKey. */
  readonly backend: string
  /** undefined: it was down before the daemon began. */
  readonly since: string | undefined
  /** Why the last check failed; undefined: none was made yet. */
  readonly reason: string | undefined
}

/** What checks have found. */
export interface HealthSummary {
  /** Backends that are checked. */
  readonly checked: number
  /** Of these: how many are down. */
  readonly down: number
  /** The first of these. */
  readonly backends: readonly Down[]
}

/** How things stand with a daemon. */
export interface WatchState {
  readonly pid: number
  /** ISO 8601, UTC, as all times here. */
  readonly since: string
  /** The last config that could be used, which is the one that is kept in force. The path is absolute. */
  readonly config: { readonly path: string; readonly sha256: string; readonly loadedAt: string } | undefined
  readonly ready: boolean
  /** The last reconcile. */
  readonly last:
    | { readonly at: string; readonly trigger: Trigger; readonly outcome: Outcome; readonly durationMs: number }
    | undefined
  /** How many reconciles ended how. */
  readonly reconciles: Readonly<Record<Outcome, number>>
  /** What is wrong now with the config, or with carrying it out. */
  readonly errors: readonly Diagnostic[]
  /** undefined = nothing is wrong. */
  readonly failingSince: string | undefined
  /** Drift that is not repaired. */
  readonly drift: readonly Drift[]
  /** undefined = nothing is checked. */
  readonly health: HealthSummary | undefined
}
