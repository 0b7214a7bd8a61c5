// Drift: what differs although the file did not change. Repaired at once, unless it is to be told only, or unless it
// comes back again and again: two tools that both put right what the other did would otherwise never rest.

import type { OnDrift } from '../model/desired.ts'
import type { Drift, ObjectKey } from '../model/live.ts'
import type { Change, Plan } from '../plan/change.ts'
import type { WatchEvent } from '../report/watch.ts'
import type { Book } from './book.ts'
import { createBackoff } from './time/backoff.ts'
import type { Scheduler } from './time/scheduler.ts'

const FIRST = 1000
const MOST = 300_000
/** A repair that lasts this much longer than the last wait was no part of a fight, in milliseconds. */
const PEACE = 60_000

type Action = 'repair' | 'report' | 'hold'

export interface Repairs {
  /**
   * Whether a plan that no edit asked for may be carried out now. Tells of the drift in it. `isAnother`: an object that
   * took the place of the one that was repaired last time, such as an interface that was made anew. `moved`: what
   * is no drift, because the network moved and the file did not say where to.
   */
  readonly permits: (
    plan: Plan,
    onDrift: OnDrift,
    isAnother: (key: ObjectKey) => boolean,
    moved: ReadonlySet<ObjectKey>,
  ) => boolean
  /** The live state is as it should be. */
  readonly done: () => void
  /** Milliseconds until a repair that waits may be made; undefined: none waits. */
  readonly waitMs: () => number | undefined
}

/** An interface that came into being is not drift: the file asked for it all the time. */
const isArrival = ({ kind, op, reason }: Change): boolean =>
  kind === 'interface' && op === 'create' && reason === 'new-in-config'

/** What a plan without an edit undoes, with what happened to it. */
export function driftIn({ changes, drift }: Plan, moved: ReadonlySet<ObjectKey>): Drift[] {
  const known = new Map(drift.map(({ key, what }) => [key, what]))
  return changes
    .filter((change) => !moved.has(change.key) && (known.has(change.key) || !isArrival(change)))
    .map(({ key }) => ({ key, what: known.get(key) ?? 'is not what the file says' }))
}

export function watchRepairs(
  scheduler: Scheduler,
  book: Pick<Book, 'drifted'>,
  tell: (event: WatchEvent) => void,
): Repairs {
  const backoff = createBackoff(FIRST, MOST)
  let told: { readonly action: Action; readonly text: string } | undefined
  let isFight = false
  let until = Number.NEGATIVE_INFINITY
  let peaceAt = Number.NEGATIVE_INFINITY
  const tellOnce = (drift: readonly Drift[], action: Action, retryMs?: number): void => {
    const text = drift.map(({ key, what }) => `${key} ${what}`).join('\n')
    if (action === told?.action && text === told.text) return
    told = { action, text }
    book.drifted(action === 'repair' ? [] : drift)
    tell({ event: 'drift', drift, action, retryMs })
  }
  return {
    permits(plan, onDrift, isAnother, moved) {
      const drift = driftIn(plan, moved)
      if (drift.length === 0) return true
      const now = scheduler.now()
      if (onDrift === 'report') {
        tellOnce(drift, 'report')
        return false
      }
      isFight = drift.some(({ key }) => !isAnother(key))
      if (isFight && now < until) {
        tellOnce(drift, 'hold', until - now)
        return false
      }
      tellOnce(drift, 'repair')
      return true
    },
    done() {
      const now = scheduler.now()
      if (told?.action === 'repair' && isFight) {
        if (now >= peaceAt) backoff.reset()
        const wait = backoff.next()
        until = now + wait
        peaceAt = until + wait + PEACE
      }
      const wasLeft = told !== undefined && told.action !== 'repair'
      told = undefined
      book.drifted([])
      if (wasLeft) tell({ event: 'drift-gone' })
    },
    waitMs: () => (told?.action === 'hold' ? Math.max(0, until - scheduler.now()) : undefined),
  }
}
