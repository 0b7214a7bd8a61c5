// Drift: differences from an unchanged file. Repairs drift at once, unless the config says `on_drift: report`. Waits
// longer and longer where the drift returns after each repair: another tool may be undoing the repairs.

import type { OnDrift } from '../model/desired.ts'
import type { Drift, ObjectKey } from '../model/live.ts'
import type { Change, Plan } from '../plan/change.ts'
import type { WatchEvent } from '../report/watch.ts'
import type { Book } from './book.ts'
import { createBackoff } from './time/backoff.ts'
import type { Scheduler } from './time/scheduler.ts'

const FIRST = 1000
const MOST = 300_000
/** Milliseconds: a repair that outlasts its wait by this much ends the fight with the other tool. */
const PEACE = 60_000

type Action = 'repair' | 'report' | 'hold'

export interface Repairs {
  /**
   * Whether a plan that no edit asked for may be applied now. Reports its drift. `isAnother`: whether an object
   * replaced the one repaired last time, such as an interface that was created again. `moved`: services whose next hops
   * changed with the network, which is no drift.
   */
  readonly permits: (
    plan: Plan,
    onDrift: OnDrift,
    isAnother: (key: ObjectKey) => boolean,
    moved: ReadonlySet<ObjectKey>,
  ) => boolean
  /** The live state matches the config again. */
  readonly done: () => void
  /** Milliseconds until the waiting repair may run; undefined: none waits. */
  readonly waitMs: () => number | undefined
}

/** An interface that appeared is not drift: the file has named it all along. */
const isArrival = ({ kind, op, reason }: Change): boolean =>
  kind === 'interface' && op === 'create' && reason === 'new-in-config'

/** The drift that a plan repairs, with the change of each object. */
export function driftIn({ changes, drift }: Plan, moved: ReadonlySet<ObjectKey>): Drift[] {
  const known = new Map(drift.map((one) => [one.key, one]))
  return changes
    .filter((change) => !moved.has(change.key) && (known.has(change.key) || !isArrival(change)))
    .map(({ key }) => known.get(key) ?? { key, what: 'differs from the file' })
}

export function watchRepairs(
  scheduler: Scheduler,
  book: Pick<Book, 'drifted'>,
  emit: (event: WatchEvent) => void,
): Repairs {
  const backoff = createBackoff(FIRST, MOST)
  let reported: { readonly action: Action; readonly text: string } | undefined
  let isFight = false
  let until = Number.NEGATIVE_INFINITY
  let peaceAt = Number.NEGATIVE_INFINITY
  const reportOnce = (drift: readonly Drift[], action: Action, retryMs?: number): void => {
    const text = drift.map(({ key, what }) => `${key} ${what}`).join('\n')
    if (action === reported?.action && text === reported.text) return
    reported = { action, text }
    book.drifted(action === 'repair' ? [] : drift)
    emit({ event: 'drift', drift, action, retryMs })
  }
  return {
    permits(plan, onDrift, isAnother, moved) {
      const drift = driftIn(plan, moved)
      if (drift.length === 0) return true
      const now = scheduler.now()
      if (onDrift === 'report') {
        reportOnce(drift, 'report')
        return false
      }
      isFight = drift.some(({ key }) => !isAnother(key))
      if (isFight && now < until) {
        reportOnce(drift, 'hold', until - now)
        return false
      }
      reportOnce(drift, 'repair')
      return true
    },
    done() {
      const now = scheduler.now()
      if (reported?.action === 'repair' && isFight) {
        if (now >= peaceAt) backoff.reset()
        const wait = backoff.next()
        until = now + wait
        peaceAt = until + wait + PEACE
      }
      const wasLeft = reported !== undefined && reported.action !== 'repair'
      reported = undefined
      book.drifted([])
      if (wasLeft) emit({ event: 'drift-gone' })
    },
    waitMs: () => (reported?.action === 'hold' ? Math.max(0, until - scheduler.now()) : undefined),
  }
}
