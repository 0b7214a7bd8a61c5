// Failed reconciles: reports each failure once, and sets growing waits between attempts.

import { CODES, EXIT, type XdpError } from '../diagnostics.ts'
import type { Outcome, WatchEvent } from '../report/watch.ts'
import type { Book } from './book.ts'
import { createBackoff } from './time/backoff.ts'
import type { Scheduler } from './time/scheduler.ts'

const FIRST = 1000
/** A refused reconcile only reads, so attempts may be frequent. */
const MOST_REFUSED = 60_000
/** A failed reconcile may have switched programs and rolled back, which must not happen all the time. */
const MOST_FAILED = 300_000

export interface Failures {
  /** Records a failure. Returns the outcome to count and the milliseconds until the next attempt. */
  readonly note: (error: XdpError) => { readonly outcome: Outcome; readonly retryMs: number }
  /** The wanted config changed: reports the next failure even if its text is unchanged. */
  readonly forget: () => void
  /** The reconcile succeeded. */
  readonly clear: () => void
  /** The failure is over, but the wanted config is not in force yet, because a repair waits for its time. */
  readonly ease: () => void
  /** Whether events must not start an attempt before its time. */
  readonly isWaiting: () => boolean
}

/** Whether the reconcile changed nothing: a guard refused it, or a required interface is missing. */
function isRefusal({ diagnostics }: XdpError): boolean {
  const first = diagnostics.find(({ severity }) => severity === 'error')
  return first !== undefined && (CODES[first.code].exit === EXIT.refused || first.code === 'E103')
}

export function noteFailures(
  scheduler: Scheduler,
  book: Pick<Book, 'wrong'>,
  emit: (event: WatchEvent) => void,
): Failures {
  const waits = {
    refused: createBackoff(FIRST, MOST_REFUSED),
    failed: createBackoff(FIRST, MOST_FAILED),
  }
  let reported: string | undefined
  let isFailing = false
  let until = Number.NEGATIVE_INFINITY
  const ease = (): void => {
    until = Number.NEGATIVE_INFINITY
    reported = undefined
    if (isFailing) book.wrong('reconcile', [])
  }
  return {
    ease,
    note(error) {
      const outcome = isRefusal(error) ? 'refused' : 'failed'
      const { message, diagnostics: errors, omitted } = error
      isFailing = true
      if (message !== reported) for (const wait of Object.values(waits)) wait.reset()
      const retryMs = waits[outcome].next()
      until = outcome === 'failed' ? scheduler.now() + retryMs : Number.NEGATIVE_INFINITY
      if (message !== reported) emit({ event: outcome, errors, omitted, retryMs })
      reported = message
      book.wrong('reconcile', errors)
      return { outcome, retryMs }
    },
    forget() {
      until = Number.NEGATIVE_INFINITY
      reported = undefined
    },
    clear() {
      ease()
      if (isFailing) emit({ event: 'recovered' })
      isFailing = false
    },
    isWaiting: () => scheduler.now() < until,
  }
}
