// One reconcile after the other: what a config asks for is carried out once, and kept in force from then on.

import type { Loaded } from '../config/load.ts'
import { XdpError } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import { type Live, type ObjectKey, type Served, servedOf } from '../model/live.ts'
import type { Applied, Approve, Links } from '../pipelines/apply.ts'
import type { Plan } from '../plan/change.ts'
import { countDelta } from '../plan/delta.ts'
import type { Outcome, Trigger, WatchEvent } from '../report/watch.ts'
import { type Attached, attachedOf, isSameAttached } from './attached.ts'
import type { Book } from './book.ts'
import { noteFailures } from './failures.ts'
import { watchRepairs } from './repairs.ts'
import type { Scheduler } from './time/scheduler.ts'
import { createWarnings } from './warnings.ts'

/** The pipeline, as far as the daemon uses it. All of it throws XdpError for whatever is to be expected. */
export interface Pipeline {
  /** The plan, without a lock. */
  readonly check: (desired: Desired) => Promise<{ readonly plan: Plan; readonly live: Live; readonly inSync: boolean }>
  /** Carries out what `approve` permits. */
  readonly apply: (desired: Desired, approve: Approve) => Promise<Applied | 'declined'>
  readonly attachments: () => Promise<Links>
  /** The services that are live. */
  readonly served: () => Promise<Served>
  /** Begins an apply before it is known what for; the next one finds it done. */
  readonly prepare: (wanted: Desired) => void
  /** Nothing is to be applied after all. */
  readonly dismiss: () => Promise<void>
}

export interface ReconcilerPorts {
  readonly scheduler: Scheduler
  readonly pipeline: Pipeline
  readonly book: Book
  readonly tell: (event: WatchEvent) => void
  /** These are live, after a reconcile or in spite of it; `desired` says how they are to be checked. */
  readonly onServed: (served: Served, desired: Desired) => void
  /** Makes an error of ours one that can be told like any other. */
  readonly explain: (error: unknown) => XdpError
}

export interface Reconciler {
  /** What is kept in force. */
  readonly wanted: () => Desired
  /** `loaded` is wanted from now on; `again`: it is carried out though it may be what was wanted before. */
  readonly want: (loaded: Loaded, again: boolean) => boolean
  /** Whether the interfaces are other ones than the last reconcile left, or have other programs. */
  readonly isElsewhere: () => Promise<boolean>
  /** Whether the next attempt must wait for its time. */
  readonly isWaiting: () => boolean
  /** One reconcile. Milliseconds until the next attempt, where this one did not do all that is wanted. */
  readonly reconcile: (trigger: Trigger) => Promise<number | undefined>
}

/** Triggers of a reconcile that somebody asked for, and wants to hear of though nothing was to be done. */
const ASKED: readonly Trigger[] = ['start', 'edit', 'reload']

/** Whether all that the plan does is to put back what was changed since the last apply. */
const isDriftAlone = ({ changes }: Plan): boolean => changes.every(({ reason }) => reason === 'drift')

export function createReconciler(first: Loaded, ports: ReconcilerPorts): Reconciler {
  const { scheduler, pipeline, book, tell } = ports
  const failures = noteFailures(scheduler, book, tell)
  const repairs = watchRepairs(scheduler, book, tell)
  const warnings = createWarnings(tell)
  let wanted = first
  /** Whether `wanted` was carried out, so that what differs is drift. */
  let isSettled = false
  let attached: Attached | undefined
  /** What is in force, which is not always what is wanted. */
  let carried: Desired | undefined
  book.adopted(first.desired)

  /** undefined: cannot be told. */
  const readAttached = (): Promise<Attached | undefined> =>
    pipeline.attachments().then(
      (links) => attachedOf(links, wanted.desired),
      () => undefined,
    )

  /** Backends are checked also while nothing of what is wanted can be carried out. */
  const lookAtServed = async (): Promise<void> => {
    const desired = carried ?? wanted.desired
    if (desired.state.services.size === 0) return
    await pipeline.served().then((served) => ports.onServed(served, desired), undefinedIfExpected)
  }

  const agree = (links: Links, plan: Plan, served: Served): void => {
    attached = attachedOf(links, wanted.desired)
    carried = wanted.desired
    ports.onServed(served, carried)
    repairs.done()
    warnings.tell([...wanted.warnings, ...plan.warnings])
  }

  const permitted = (plan: Plan, live: Live, isAnother: (key: ObjectKey) => boolean): boolean =>
    repairs.permits(plan, wanted.desired.watch.onDrift, isAnother, movedIn(plan, live))

  /** Everything that the plan says is done. */
  const carryOut = async (trigger: Trigger): Promise<Applied | 'declined'> => {
    const { desired } = wanted
    const applied = await pipeline.apply(desired, async (plan, live) => {
      // Who wants drift only to be told wants the same of a daemon that starts anew.
      const permits = trigger !== 'start' || !isDriftAlone(plan) || permitted(plan, live, () => true)
      if (!permits) ports.onServed(servedOf(live), desired)
      return permits
    })
    isSettled = true
    return applied
  }

  /** What differs is drift, or an interface that came. */
  const repair = ({ desired }: Loaded): Promise<Applied | 'declined'> => {
    const before = attached
    return pipeline.apply(desired, async (plan, live) => {
      const now = attachedOf(live.links, desired)
      return permitted(plan, live, (key) => before?.get(key)?.ifindex !== now.get(key)?.ifindex)
    })
  }

  const perform = async (trigger: Trigger, elapsed: () => number): Promise<Outcome> => {
    if (isSettled) {
      // Without the lock this may look at an apply of somebody else half-way: only agreement is believed.
      const checked = await pipeline.check(wanted.desired).catch(undefinedIfExpected)
      if (checked?.inSync) {
        agree(checked.live.links, checked.plan, servedOf(checked.live))
        return 'in-sync'
      }
    }
    const applied = await (isSettled ? repair(wanted) : carryOut(trigger))
    if (applied === 'declined') return 'held'
    const { plan, result, links, served } = applied
    agree(links, plan, served)
    const { sha256 } = wanted.desired.config
    const durationMs = elapsed()
    if (result.changed) {
      const changes = plan.changes.map(({ op, key }) => ({ op, key }))
      const prefixes = countDelta(plan.changes)
      tell({ event: 'applied', trigger, changes, prefixes, sha256, durationMs, probes: result.probes })
    } else if (ASKED.includes(trigger)) tell({ event: 'in-sync', trigger, sha256, durationMs })
    return result.changed ? 'applied' : 'in-sync'
  }

  return {
    wanted: () => wanted.desired,
    want(loaded, again) {
      const isOther = again || editionOf(loaded) !== editionOf(wanted)
      wanted = loaded
      book.adopted(loaded.desired)
      if (!isOther) return false
      isSettled = false
      failures.forget()
      return true
    },
    async isElsewhere() {
      const now = await readAttached()
      return !now || !attached || !isSameAttached(attached, now)
    },
    isWaiting: failures.isWaiting,
    async reconcile(trigger) {
      const began = scheduler.now()
      const elapsed = (): number => Math.round(scheduler.now() - began)
      try {
        const outcome = await perform(trigger, elapsed)
        if (outcome === 'held') failures.ease()
        else failures.clear()
        book.reconciled(trigger, outcome, elapsed())
        if (!book.state().ready) tell({ event: 'ready' })
        book.ready()
        return repairs.waitMs()
      } catch (thrown) {
        const error = ports.explain(thrown)
        if (isInterruption(error)) return undefined
        const { outcome, retryMs } = failures.note(error)
        book.reconciled(trigger, outcome, elapsed())
        // Most likely what the guards saw: a change of it is worth another attempt before its time.
        attached = await readAttached()
        await lookAtServed()
        return retryMs
      }
    },
  }
}

/** Services that differ in nothing but the way to their backends: the network moved, nobody undid anything. */
const movedIn = ({ changes }: Plan, { drift }: Live): ReadonlySet<ObjectKey> =>
  new Set(
    changes.flatMap(({ kind, key, reason }) =>
      kind === 'service' && reason === 'drift' && !drift.has(key) ? [key] : [],
    ),
  )

/** The content of a config, and the age of its feeds, which decides whether they are believed. */
const editionOf = ({ desired: { config, feeds } }: Loaded): string =>
  [config.sha256, ...feeds.flatMap(({ files }) => files.map(({ updatedAt }) => updatedAt))].join()

/** Whoever stops the daemon ends what is under way, which is no failure of it. */
const isInterruption = ({ diagnostics }: XdpError): boolean => diagnostics.some(({ code }) => code === 'E112')

function undefinedIfExpected(error: unknown): undefined {
  if (!(error instanceof XdpError)) throw error
}
