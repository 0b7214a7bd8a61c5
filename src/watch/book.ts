// The daemon's current state, for `xdp status`, the service manager and metrics.

import { resolve } from 'node:path'
import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { Drift } from '../model/live.ts'
import type { HealthSummary, Outcome, Trigger, WatchState } from '../report/watch.ts'

export interface Book {
  readonly state: () => WatchState
  /** Whether the config on disk is valid. */
  readonly isConfigGood: () => boolean
  /** Records the valid config that was read last. */
  readonly adopted: (desired: Desired) => void
  readonly reconciled: (trigger: Trigger, outcome: Outcome, durationMs: number) => void
  readonly ready: () => void
  /** Records the errors of the config, or of the last reconcile; an empty list clears them. */
  readonly wrong: (subject: 'config' | 'reconcile', errors: readonly Diagnostic[]) => void
  readonly drifted: (drift: readonly Drift[]) => void
  readonly checked: (health: HealthSummary | undefined) => void
}

const NONE: WatchState['reconciles'] = { applied: 0, 'in-sync': 0, held: 0, refused: 0, failed: 0 }

/** `clock`: wall clock in milliseconds. Calls `onChange` after every change. */
export function openBook(pid: number, clock: () => number, onChange: (state: WatchState) => void): Book {
  const time = (): string => new Date(clock()).toISOString()
  const errors: Record<'config' | 'reconcile', readonly Diagnostic[]> = { config: [], reconcile: [] }
  let state: WatchState = {
    pid,
    since: time(),
    config: undefined,
    ready: false,
    last: undefined,
    reconciles: NONE,
    errors: [],
    failingSince: undefined,
    drift: [],
    health: undefined,
  }
  const enter = (change: Partial<WatchState>): void => {
    state = { ...state, ...change }
    onChange(state)
  }
  return {
    state: () => state,
    isConfigGood: () => errors.config.length === 0,
    adopted({ config: { path, sha256 } }) {
      // Readers of this state may run in another directory.
      enter({ config: { path: resolve(path), sha256, loadedAt: time() } })
    },
    reconciled(trigger, outcome, durationMs) {
      const reconciles = { ...state.reconciles, [outcome]: state.reconciles[outcome] + 1 }
      enter({ last: { at: time(), trigger, outcome, durationMs }, reconciles })
    },
    ready() {
      if (!state.ready) enter({ ready: true })
    },
    wrong(subject, found) {
      if (found.length === 0 && errors[subject].length === 0) return
      errors[subject] = found
      const all = [...errors.config, ...errors.reconcile]
      const failingSince = all.length === 0 ? undefined : (state.failingSince ?? time())
      enter({ errors: all, failingSince })
    },
    drifted(drift) {
      if (drift.length > 0 || state.drift.length > 0) enter({ drift })
    },
    checked(health) {
      if (JSON.stringify(health) !== JSON.stringify(state.health)) enter({ health })
    },
  }
}
