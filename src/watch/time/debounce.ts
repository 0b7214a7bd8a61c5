// Many events in a row are one edit.

import { createAlarm, type Scheduler } from './scheduler.ts'

export interface Debounce {
  /** Something happened. */
  readonly touch: () => void
  readonly cancel: () => void
}

/** Something that never stops changing is looked at all the same, after this many times the pause, in all at least … */
const PATIENCE = 20
/** … this long, in milliseconds. */
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
      // A file that is written in many pieces gives many events: the timer runs on and looks at `last` when it ends.
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
