// Time as the daemon knows it. Monotonic: somebody who sets the clock neither hurries nor delays it. Injected, so that
// what waits can be tested without waiting.

export type Cancel = () => void

export interface Scheduler {
  /** Milliseconds since some moment; never goes back. */
  readonly now: () => number
  /** Calls `run` once, after so many milliseconds. */
  readonly after: (ms: number, run: () => void) => Cancel
}

export const MONOTONIC: Scheduler = {
  now: () => performance.now(),
  after(ms, run) {
    // Node counts in whole milliseconds and may end a timer a part of one too early, when its time has not come yet.
    const timer = setTimeout(run, Math.ceil(ms) + 1)
    return () => clearTimeout(timer)
  },
}

/** A timer that can be set again and again; at most one call is waiting. */
export interface Alarm {
  /** Calls after so many milliseconds, whatever was set before. */
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
