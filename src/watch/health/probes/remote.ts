// Checks that another process makes: messages to it, and its answers. The process is src/checker.ts.

import type { HealthCheck } from '../../../model/health.ts'
import type { Subject } from '../loop.ts'
import { type Result, unknown } from '../standing.ts'
import type { Source } from './source.ts'

/** A message to the process. `id` is from 1 on. */
export type Order =
  | {
      readonly kind: 'start'
      readonly id: number
      readonly check: HealthCheck
      readonly subject: Subject
      readonly source: Source
    }
  | { readonly kind: 'stop'; readonly id: number }

/** A message of the process: the result of a check; the first one, with id 0, says that it is ready. */
export interface Answer {
  readonly id: number
  readonly result: Result
}

export interface RemoteChecks {
  /** Has a check made from a source; see Probe. */
  readonly start: (check: HealthCheck, subject: Subject, source: Source, done: (result: Result) => void) => () => void
  /** Takes a message of the process. */
  readonly hear: (answer: Answer) => void
  /** Ends every check that runs without a result about its backend. */
  readonly lose: (reason: string) => void
}

export function remoteChecks(send: (order: Order) => void): RemoteChecks {
  const waiting = new Map<number, (result: Result) => void>()
  let last = 0
  const take = (id: number): ((result: Result) => void) | undefined => {
    const done = waiting.get(id)
    waiting.delete(id)
    return done
  }
  return {
    start(check, subject, source, done) {
      const id = ++last
      waiting.set(id, done)
      send({ kind: 'start', id, check, subject, source })
      return () => {
        if (take(id)) send({ kind: 'stop', id })
      }
    },
    hear: ({ id, result }) => take(id)?.(result),
    lose(reason) {
      for (const id of [...waiting.keys()]) take(id)?.(unknown(reason))
    },
  }
}
