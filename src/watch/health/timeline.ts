// Schedules calls by a monotonic clock, all from one timer: thousands of checks have a start and a timeout each. Tests
// inject a clock.

import type { Scheduler } from '../time/scheduler.ts'

/** Longest delay of the timer in milliseconds, below the limit of setTimeout; an early turn does nothing. */
const LONGEST_DELAY = 2 ** 30

/** Most calls in one turn of the event loop: after a stall all of them may be due. */
const MOST_A_TURN = 64

interface Entry {
  readonly time: number
  /** Calls for one time run in the order of scheduling. */
  readonly order: number
  /** undefined: cancelled or done. */
  call: (() => void) | undefined
}

const isBefore = (a: Entry, b: Entry): boolean => a.time < b.time || (a.time === b.time && a.order < b.order)

export class Timeline {
  readonly #scheduler: Scheduler
  /** A binary heap: no entry is before its parent, at (i - 1) / 2. */
  readonly #heap: Entry[] = []
  #order = 0
  #armed: { readonly time: number; readonly cancel: () => void } | undefined

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  now(): number {
    return this.#scheduler.now()
  }

  /** Calls at `time` or as soon as possible after it, never before `at` returns. Returns a function that cancels it. */
  at(time: number, call: () => void): () => void {
    const entry: Entry = { time, order: this.#order++, call }
    this.#push(entry)
    this.#arm(time)
    return () => {
      entry.call = undefined
    }
  }

  /** Cancels every call. */
  clear(): void {
    this.#heap.length = 0
    this.#armed?.cancel()
    this.#armed = undefined
  }

  #arm(time: number): void {
    if (this.#armed) {
      if (this.#armed.time <= time) return
      this.#armed.cancel()
    }
    const delay = Math.min(LONGEST_DELAY, Math.max(0, Math.ceil(time - this.now())))
    const cancel = this.#scheduler.after(delay, () => this.#turn())
    this.#armed = { time, cancel }
  }

  #turn(): void {
    this.#armed = undefined
    const now = this.now()
    // Calls scheduled during this turn wait for the next one.
    const last = this.#order
    let left = MOST_A_TURN
    for (let first = this.#heap[0]; first && first.time <= now && first.order < last; first = this.#heap[0]) {
      if (first.call && left-- === 0) break
      this.#pop()
      const { call } = first
      first.call = undefined
      call?.()
    }
    const next = this.#heap[0]
    if (next) this.#arm(next.time)
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(entry, heap[parent] as Entry)) break
      heap[at] = heap[parent] as Entry
      at = parent
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Entry
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry, heap[child] as Entry)) child++
      if (!isBefore(heap[child] as Entry, last)) break
      heap[at] = heap[child] as Entry
      at = child
    }
    heap[at] = last
  }
}
