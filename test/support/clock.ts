// A clock that advances only when a test advances it.

import type { Scheduler } from '../../src/watch/time/scheduler.ts'

export interface Clock extends Scheduler {
  /**
   * Advances by a number of milliseconds; every timer that expires meanwhile runs at its time, with all of its
   * consequences.
   */
  readonly pass: (ms: number) => Promise<void>
  /** Number of active timers. */
  readonly waiting: () => number
}

/** Waits until all pending promises are settled. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}

export function createClock(): Clock {
  const timers = new Map<object, { readonly at: number; readonly run: () => void }>()
  let time = 0
  return {
    now: () => time,
    after(ms, run) {
      const timer = {}
      timers.set(timer, { at: time + ms, run })
      return () => void timers.delete(timer)
    },
    waiting: () => timers.size,
    async pass(ms) {
      const end = time + ms
      await settle()
      for (;;) {
        const [next] = [...timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)
        if (!next) break
        const [timer, { at, run }] = next
        timers.delete(timer)
        time = Math.max(time, at)
        run()
        await settle()
      }
      time = end
    },
  }
}
