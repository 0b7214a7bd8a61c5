// Reports of the daemon: events as they happen, and its state, for commands that ask later.

import type { Diagnostic } from '../diagnostics.ts'
import type { Drift } from '../model/live.ts'
import type { ServiceMode } from '../model/overlay.ts'
import type { Fetched } from './fetch.ts'

/**
 * Outcome of a reconcile of the daemon. `in-sync`: nothing to do; `held`: drift is reported, not repaired; `refused`: by
 * a guard.
 */
export const OUTCOMES = ['applied', 'in-sync', 'held', 'refused', 'failed'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Reconciles of a daemon since it started. */
export interface ReconcileFacts {
  /** Number of reconciles by outcome. */
  readonly reconciles: Readonly<Record<Outcome, number>>
  /** The latest reconcile, with the time of its end (ISO 8601, UTC); undefined = none yet. */
  readonly last: { readonly at: string; readonly outcome: Outcome; readonly durationMs: number } | undefined
}

/** Health checks of a watcher since it started. */
export interface CheckFacts {
  /** Checks with a result. */
  readonly checks: number
  /** Of these: the backend failed. */
  readonly failures: number
  /** Of these: the check could not run. */
  readonly unknown: number
  /** Checks skipped because the process was too late for their start. */
  readonly missed: number
  readonly running: number
  /** Delay of the starts of checks. */
  readonly lateness: { readonly sumMs: number; readonly maxMs: number }
  /** Number of health bytes written. */
  readonly writes: number
}

/** The cause of a reconcile. */
export type Trigger = 'start' | 'edit' | 'addresses' | 'reload' | 'kernel' | 'resync' | 'retry'

/** Errors of one cause, in report order. */
export interface Trouble {
  readonly errors: readonly Diagnostic[]
  /** Number of further errors, not listed. */
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
  /** The file was read again, and the live state already matches it. */
  'in-sync': { readonly trigger: Trigger; readonly sha256: string; readonly durationMs: number }
  /** The file is invalid; the previous policy stays in force. */
  'bad-config': Trouble
  'config-fixed': Empty
  /** The live state is unchanged. */
  refused: Trouble & { readonly retryMs: number }
  failed: Trouble & { readonly retryMs: number }
  recovered: Empty
  drift: {
    readonly drift: readonly Drift[]
    /** `hold`: repaired too often recently, so the next repair waits. */
    readonly action: 'repair' | 'report' | 'hold'
    readonly retryMs: number | undefined
  }
  'drift-gone': Empty
  /** The policy of an earlier apply holds until the file changes. */
  overruled: { readonly why: 'unconfirmed' | 'rolled-back'; readonly apply: number; readonly config: string }
  /** Its checks failed; `reason` is of the last one. */
  'backend-down': { readonly service: string; readonly backend: string; readonly reason: string | undefined }
  'backend-up': { readonly service: string; readonly backend: string }
  /** The destination of a service's new flows changed. */
  'service-health': {
    readonly service: string
    readonly mode: ServiceMode
    /** Fewer backends are healthy than required. */
    readonly isFallback: boolean
    readonly healthy: number
    readonly needed: number
  }
  /** A source in the network has another content than its copy had, or its first one. */
  fetched: Pick<Fetched, 'source' | 'lists' | 'outcome' | 'prefixes'>
  /** Sources exceeded a rate limit for too long. */
  banned: {
    readonly limit: string
    /** The first of them, formatted. */
    readonly prefixes: readonly string[]
    readonly count: number
    readonly forMs: number
    /** Whether the bans only count. */
    readonly observe: boolean
  }
  warning: { readonly warnings: readonly Diagnostic[] }
  reload: Empty
  /** A fault that only delays the daemon's reaction, or makes it harder to follow. */
  trouble: { readonly what: string }
  stopping: { readonly reason: string }
  stopped: { readonly attached: boolean }
}

export type WatchEventName = keyof Events
export type WatchEvent = { [K in WatchEventName]: { readonly event: K } & Events[K] }[WatchEventName]

/** A backend that its checks took out of use. */
export interface Down {
  readonly service: string
  /** backendKey. */
  readonly backend: string
  /** undefined: it was down before the daemon started. */
  readonly since: string | undefined
  /** Why the last check failed; undefined: no check yet. */
  readonly reason: string | undefined
}

/** Results of health checks. */
export interface HealthSummary {
  /** Number of backends with a check. */
  readonly checked: number
  /** Number of these that are down. */
  readonly down: number
  /** The first of the backends that are down. */
  readonly backends: readonly Down[]
}

/** The state of a daemon. */
export interface WatchState {
  readonly pid: number
  /** ISO 8601, UTC, as all times here. */
  readonly since: string
  /** The last valid config, which the daemon keeps in force. The path is absolute. */
  readonly config: { readonly path: string; readonly sha256: string; readonly loadedAt: string } | undefined
  readonly ready: boolean
  /** The last reconcile. */
  readonly last:
    | { readonly at: string; readonly trigger: Trigger; readonly outcome: Outcome; readonly durationMs: number }
    | undefined
  /** Number of reconciles by outcome. */
  readonly reconciles: Readonly<Record<Outcome, number>>
  /** Current errors of the config, or of applying it. */
  readonly errors: readonly Diagnostic[]
  /** undefined = no error. */
  readonly failingSince: string | undefined
  /** Drift that the daemon does not repair. */
  readonly drift: readonly Drift[]
  /** undefined = no backend has a check. */
  readonly health: HealthSummary | undefined
}
