// The daemon's clock and timers. Monotonic, so that setting the wall clock neither hurries nor delays them. Injected,
// so that tests need not wait.

export type Cancel = () => void

export interface Scheduler {
  /** Milliseconds since an arbitrary moment; never decreases. */
  readonly now: () => number
  /** Calls `run` once after `ms` milliseconds. */
  readonly after: (ms: number, run: () => void) => Cancel
}

export const MONOTONIC: Scheduler = {
  now: () => performance.now(),
  after(ms, run) {
    // Node counts in whole milliseconds and may fire a timer a fraction of one early.
    const timer = setTimeout(run, Math.ceil(ms) + 1)
    return () => clearTimeout(timer)
  },
}

/** A timer that can be set repeatedly; at most one call is pending. */
export interface Alarm {
  /** Calls after `ms` milliseconds; replaces a pending call. */
  readonly set: (ms: number) => void
  readonly clear: () => void
}

export function createAlarm({ after }: Scheduler, run: () => void): Alarm {
  let cancel: Cancel | undefined
  const clear = (): void => {
    cancel?.()
    cancel = undefined
  }
  return {
    clear,
    set(ms) {
      clear()
      cancel = after(ms, () => {
        cancel = undefined
        run()
      })
    },
  }
}
