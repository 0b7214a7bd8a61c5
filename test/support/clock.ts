// Time that passes when a test says so.

import type { Scheduler } from '../../src/watch/time/scheduler.ts'

export interface Clock extends Scheduler {
  /** Lets so many milliseconds pass; every timer that ends meanwhile is run at its time, with all that follows from it. */
  readonly pass: (ms: number) => Promise<void>
  /** Timers that are set. */
  readonly waiting: () => number
}

/** Lets everything that waits for nothing but a promise come to its end. */
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
