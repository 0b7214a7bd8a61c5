// Counters of the monitor, for metrics: whether checks run, and whether they run in time.

import type { Result } from './standing.ts'

/** Upper bounds of the buckets in milliseconds; one more bucket takes the rest. */
export const LATENESS_BOUNDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] as const

export interface HealthCounters {
  /** Checks that ended with a result. */
  readonly checks: number
  /** Of these: the backend failed. */
  readonly failures: number
  /** Of these: the check could not run. */
  readonly unknown: number
  /** Of the failures: no result in time. */
  readonly timeouts: number
  /** Starts skipped because the process was too late for them. */
  readonly missed: number
  readonly running: number
  /** Lateness of starts. A bucket counts those up to its bound in LATENESS_BOUNDS and above the bound before it. */
  readonly lateness: { readonly buckets: readonly number[]; readonly sumMs: number; readonly maxMs: number }
}

export class Counting {
  #checks = 0
  #failures = 0
  #unknown = 0
  #timeouts = 0
  #missed = 0
  #running = 0
  readonly #buckets = new Array<number>(LATENESS_BOUNDS.length + 1).fill(0)
  #sumMs = 0
  #maxMs = 0

  started(lateMs: number): void {
    this.#running++
    const bound = LATENESS_BOUNDS.findIndex((most) => lateMs <= most)
    const bucket = bound < 0 ? LATENESS_BOUNDS.length : bound
    this.#buckets[bucket] = (this.#buckets[bucket] as number) + 1
    this.#sumMs += lateMs
    this.#maxMs = Math.max(this.#maxMs, lateMs)
  }

  /** `missed`: starts skipped before the next one. */
  ended({ outcome }: Result, isTimeout: boolean, missed: number): void {
    this.#running--
    this.#checks++
    if (outcome === 'bad') this.#failures++
    if (outcome === 'unknown') this.#unknown++
    if (isTimeout) this.#timeouts++
    this.#missed += missed
  }

  /** A check was stopped before its result. */
  stopped(): void {
    this.#running--
  }

  read(): HealthCounters {
    return {
      checks: this.#checks,
      failures: this.#failures,
      unknown: this.#unknown,
      timeouts: this.#timeouts,
      missed: this.#missed,
      running: this.#running,
      lateness: { buckets: [...this.#buckets], sumMs: this.#sumMs, maxMs: this.#maxMs },
    }
  }
}
