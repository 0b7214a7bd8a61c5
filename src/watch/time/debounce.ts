// Joins a burst of events into one edit.

import { createAlarm, type Scheduler } from './scheduler.ts'

export interface Debounce {
  /** An event happened. */
  readonly touch: () => void
  readonly cancel: () => void
}

/** Endless events still run the edit after this many pauses … */
const PATIENCE = 20
/** … but not before this many milliseconds. */
const LEAST_PATIENCE = 2000

/** Calls `run` once `pause()` milliseconds have passed without an event. */
export function createDebounce(scheduler: Scheduler, pause: () => number, run: () => void): Debounce {
  let first: number | undefined
  let last = 0
  const elapsed = (): void => {
    const begun = first ?? last
    const now = scheduler.now()
    const quiet = last + pause()
    const end = Math.min(quiet, begun + Math.max(PATIENCE * pause(), LEAST_PATIENCE))
    if (now < end) {
      alarm.set(end - now)
      return
    }
    first = undefined
    run()
  }
  const alarm = createAlarm(scheduler, elapsed)
  return {
    touch() {
      last = scheduler.now()
      // A file written in many pieces makes many events, so they do not set the timer again: it compares `last` when it
      // ends.
      if (first !== undefined) return
      first = last
      alarm.set(pause())
    },
    cancel() {
      first = undefined
      alarm.clear()
    },
  }
}
