// A clock that stands still until a test moves it.

import type { Scheduler } from '../../src/watch/time/scheduler.ts'

interface Waiting {
  readonly time: number
  readonly call: () => void
}

export class FakeTimer implements Scheduler {
  #now: number
  readonly #waiting = new Set<Waiting>()

  constructor(now = 1_000_000) {
    this.#now = now
  }

  readonly now = (): number => this.#now

  readonly after = (delay: number, call: () => void): (() => void) => {
    const waiting = { time: this.#now + Math.max(0, delay), call }
    this.#waiting.add(waiting)
    return () => void this.#waiting.delete(waiting)
  }

  /** Number of pending calls. */
  get pending(): number {
    return this.#waiting.size
  }

  /** Advances by a number of milliseconds, and makes every call at its time. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (let next = this.#next(); next && next.time <= end; next = this.#next()) {
      this.#now = Math.max(this.#now, next.time)
      this.#waiting.delete(next)
      next.call()
    }
    this.#now = end
  }

  /** Advances without making calls, as if the process were suspended. Calls that are due come with the next advance. */
  stall(ms: number): void {
    this.#now += ms
  }

  #next(): Waiting | undefined {
    let first: Waiting | undefined
    for (const waiting of this.#waiting) if (!first || waiting.time < first.time) first = waiting
    return first
  }
}
