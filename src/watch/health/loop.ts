// Repeats one check: starts it when due, abandons it at its timeout, and passes its result on. A check never runs twice
// at a time.

import type { HealthCheck } from '../../model/health.ts'
import type { Counting } from './counters.ts'
import type { Gate } from './gate.ts'
import { gapOf, nextStart, patienceOf } from './pace.ts'
import { bad, type Result } from './standing.ts'
import type { Timeline } from './timeline.ts'

/** The backend under check. */
export interface Subject {
  readonly service: string
  /** backendKey. */
  readonly backend: string
}

/**
 * Makes one check. Calls `done` at most once; a failure is a result, never an exception. Returns a function that
 * abandons the check and frees its resources, after which `done` is not called.
 */
export type Probe = (check: HealthCheck, subject: Subject, done: (result: Result) => void) => () => void

export interface LoopContext {
  readonly timeline: Timeline
  readonly gate: Gate
  readonly probe: Probe
  /** From 0 to below 1. */
  readonly random: () => number
  readonly counting: Counting
}

/** A timer this many milliseconds late lets queued events run first: the answer may be among them. */
const LATE_MS = 20

const nothing = (): void => undefined

export class CheckLoop {
  readonly #context: LoopContext
  readonly #check: HealthCheck
  readonly #subject: Subject
  readonly #onResult: (result: Result) => void
  /** Cancels the current wait: for the next start, for a place in line, or for the running check. */
  #cancel: () => void = nothing
  #isStopped = false

  /** `first`: time of the first start. */
  constructor(
    context: LoopContext,
    check: HealthCheck,
    subject: Subject,
    first: number,
    onResult: (result: Result) => void,
  ) {
    this.#context = context
    this.#check = check
    this.#subject = subject
    this.#onResult = onResult
    this.#plan(first)
  }

  /** Ends the loop; no further results. */
  stop(): void {
    this.#isStopped = true
    this.#cancel()
    this.#cancel = nothing
  }

  #plan(planned: number): void {
    this.#cancel = this.#context.timeline.at(planned, () => {
      let isIn = false
      const leaveLine = this.#context.gate.enter(() => {
        isIn = true
        this.#start(planned)
      })
      if (!isIn) this.#cancel = leaveLine
    })
  }

  #start(planned: number): void {
    const { timeline, gate, probe, counting } = this.#context
    const started = timeline.now()
    counting.started(started - planned)
    let isOver = false
    let abandon = nothing
    let cancelTimeout = nothing
    const close = (): boolean => {
      if (isOver) return false
      isOver = true
      cancelTimeout()
      return true
    }
    const finish = (result: Result, isTimeout: boolean): void => {
      if (close()) this.#finish({ planned, started }, result, isTimeout)
    }
    const patience = patienceOf(this.#check)
    const giveUp = (): void => {
      if (isOver) return
      abandon()
      finish(bad(`no answer within ${Math.round(patience)} ms`), true)
    }
    const deadline = started + patience
    cancelTimeout = timeline.at(deadline, () => {
      const now = timeline.now()
      if (now - deadline < LATE_MS) giveUp()
      else cancelTimeout = timeline.at(now, giveUp)
    })
    this.#cancel = () => {
      if (!close()) return
      abandon()
      counting.stopped()
      gate.leave()
    }
    abandon = probe(this.#check, this.#subject, (result) => finish(result, false))
  }

  #finish({ planned, started }: { planned: number; started: number }, result: Result, isTimeout: boolean): void {
    const { timeline, gate, random, counting } = this.#context
    const ended = timeline.now()
    const next = nextStart({ planned, started, ended, patience: patienceOf(this.#check) }, gapOf(this.#check, random()))
    counting.ended(result, isTimeout, next.missed)
    if (!this.#isStopped) this.#plan(next.planned)
    gate.leave()
    this.#onResult(result)
  }
}
