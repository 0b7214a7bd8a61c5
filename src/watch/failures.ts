// Reconciles that did not succeed: each is told once, and tried again after a while that grows.

import { CODES, EXIT, type XdpError } from '../diagnostics.ts'
import type { Outcome, WatchEvent } from '../report/watch.ts'
import type { Book } from './book.ts'
import { createBackoff } from './time/backoff.ts'
import type { Scheduler } from './time/scheduler.ts'

const FIRST = 1000
/** What a guard refuses costs no more than a look. */
const MOST_REFUSED = 60_000
/** What fails on the way may have switched and been put back, which is not to be repeated all the time. */
const MOST_FAILED = 300_000

export interface Failures {
  /** Enters a failure; how it is to be counted, and in how many milliseconds to try again. */
  readonly note: (error: XdpError) => { readonly outcome: Outcome; readonly retryMs: number }
  /** What is wanted is something else now: the next failure is another one. */
  readonly forget: () => void
  /** It succeeded. */
  readonly clear: () => void
  /** Nothing is in the way any more, but what is wanted is not in force yet: a repair waits for its time. */
  readonly ease: () => void
  /** Whether the next attempt has to wait for its time, whatever happens meanwhile. */
  readonly isWaiting: () => boolean
}

/** Whether nothing was attempted: a guard said no, or an interface that must exist does not. */
function isRefusal({ diagnostics }: XdpError): boolean {
  const first = diagnostics.find(({ severity }) => severity === 'error')
  return first !== undefined && (CODES[first.code].exit === EXIT.refused || first.code === 'E103')
}

export function noteFailures(
  scheduler: Scheduler,
  book: Pick<Book, 'wrong'>,
  tell: (event: WatchEvent) => void,
): Failures {
  const waits = {
    refused: createBackoff(FIRST, MOST_REFUSED),
    failed: createBackoff(FIRST, MOST_FAILED),
  }
  let told: string | undefined
  let isFailing = false
  let until = Number.NEGATIVE_INFINITY
  const ease = (): void => {
    until = Number.NEGATIVE_INFINITY
    told = undefined
    if (isFailing) book.wrong('reconcile', [])
  }
  return {
    ease,
    note(error) {
      const outcome = isRefusal(error) ? 'refused' : 'failed'
      const { message, diagnostics: errors, omitted } = error
      isFailing = true
      if (message !== told) for (const wait of Object.values(waits)) wait.reset()
      const retryMs = waits[outcome].next()
      until = outcome === 'failed' ? scheduler.now() + retryMs : Number.NEGATIVE_INFINITY
      if (message !== told) tell({ event: outcome, errors, omitted, retryMs })
      told = message
      book.wrong('reconcile', errors)
      return { outcome, retryMs }
    },
    forget() {
      until = Number.NEGATIVE_INFINITY
      told = undefined
    },
    clear() {
      ease()
      if (isFailing) tell({ event: 'recovered' })
      isFailing = false
    },
    isWaiting: () => scheduler.now() < until,
  }
}
