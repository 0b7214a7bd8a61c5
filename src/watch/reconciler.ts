// Reconciles one at a time: applies the wanted config once, and keeps it in force from then on.

import type { Loaded } from '../config/load.ts'
import { XdpError } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import { type Live, type ObjectKey, type Served, servedOf } from '../model/live.ts'
import type { Applied, Approve, Links } from '../pipelines/apply.ts'
import type { Plan } from '../plan/change.ts'
import { countDelta } from '../plan/delta.ts'
import type { Outcome, Trigger, WatchEvent } from '../report/watch.ts'
import { type Attached, attachedOf, isSameAttached, isSameDevice } from './attached.ts'
import type { Book } from './book.ts'
import { noteFailures } from './failures.ts'
import { watchRepairs } from './repairs.ts'
import type { Scheduler } from './time/scheduler.ts'
import { createWarnings } from './warnings.ts'

/** The part of the pipeline that the daemon uses. Every method throws XdpError for expected failures. */
export interface Pipeline {
  /** Makes the plan without taking the lock. */
  readonly check: (desired: Desired) => Promise<{ readonly plan: Plan; readonly live: Live; readonly inSync: boolean }>
  /** Applies the plan if `approve` permits it. */
  readonly apply: (desired: Desired, approve: Approve) => Promise<Applied | 'declined'>
  readonly attachments: () => Promise<Links>
  /** Reads the live services. */
  readonly served: () => Promise<Served>
  /**
   * Starts an apply before its config is known: takes the lock, observes, loads programs. `apply` then goes on from
   * there.
   */
  readonly prepare: (wanted: Desired) => void
  /** Ends a prepared apply that is not needed. */
  readonly dismiss: () => Promise<void>
}

export interface ReconcilerPorts {
  readonly scheduler: Scheduler
  readonly pipeline: Pipeline
  readonly book: Book
  readonly emit: (event: WatchEvent) => void
  /** Called with the live services after each reconcile, failed ones included; `desired` has their health checks. */
  readonly onServed: (served: Served, desired: Desired) => void
  /** Turns an unexpected error into an XdpError. */
  readonly explain: (error: unknown) => XdpError
}

export interface Reconciler {
  /** The config that the daemon keeps in force. */
  readonly wanted: () => Desired
  /** Makes `loaded` the wanted config. Returns whether to apply it: it differs from the one before, or `again`. */
  readonly want: (loaded: Loaded, again: boolean) => boolean
  /** Whether interfaces or their programs differ from those that the last reconcile left. */
  readonly isElsewhere: () => Promise<boolean>
  /** Whether events must not start the next attempt before its time. */
  readonly isWaiting: () => boolean
  /** Runs one reconcile. Returns the milliseconds until the next attempt; undefined: none is needed. */
  readonly reconcile: (trigger: Trigger) => Promise<number | undefined>
}

/** Triggers that change the config, whose reconciles are reported even if they changed nothing. */
const OF_CONFIG: readonly Trigger[] = ['start', 'edit', 'addresses', 'reload']

/** Whether the plan only repairs drift. */
const isDriftAlone = ({ changes }: Plan): boolean => changes.every(({ reason }) => reason === 'drift')

export function createReconciler(first: Loaded, ports: ReconcilerPorts): Reconciler {
  const { scheduler, pipeline, book, emit } = ports
  const failures = noteFailures(scheduler, book, emit)
  const repairs = watchRepairs(scheduler, book, emit)
  const warnings = createWarnings(emit)
  let wanted = first
  /** Whether `wanted` was applied, so that any difference is drift. */
  let isSettled = false
  let attached: Attached | undefined
  /** The config in force: an older one than `wanted` while that fails. */
  let carried: Desired | undefined
  book.adopted(first.desired)

  /** undefined: the interfaces could not be read. */
  const readAttached = (): Promise<Attached | undefined> =>
    pipeline.attachments().then(
      (links) => attachedOf(links, wanted.desired),
      () => undefined,
    )

  /** Keeps health checks running while the wanted config cannot be applied. */
  const lookAtServed = async (): Promise<void> => {
    const desired = carried ?? wanted.desired
    if (desired.state.services.size === 0 && !desired.state.rateLimits) return
    await pipeline.served().then((served) => ports.onServed(served, desired), undefinedIfExpected)
  }

  const agree = (links: Links, plan: Plan, served: Served): void => {
    attached = attachedOf(links, wanted.desired)
    carried = wanted.desired
    ports.onServed(served, carried)
    repairs.done()
    warnings.report([...wanted.warnings, ...plan.warnings])
  }

  const permitted = (plan: Plan, live: Live, isAnother: (key: ObjectKey) => boolean): boolean =>
    repairs.permits(plan, wanted.desired.watch.onDrift, isAnother, movedIn(plan, live))

  /** Applies the wanted config for the first time. */
  const carryOut = async (trigger: Trigger): Promise<Applied | 'declined'> => {
    const { desired } = wanted
    const applied = await pipeline.apply(desired, async (plan, live) => {
      // `on_drift: report` also holds for the first reconcile of a daemon that was restarted.
      const permits = trigger !== 'start' || !isDriftAlone(plan) || permitted(plan, live, () => true)
      if (!permits) ports.onServed(servedOf(live), desired)
      return permits
    })
    isSettled = true
    return applied
  }

  /** Repairs drift, and attaches to interfaces that appeared. */
  const repair = ({ desired }: Loaded): Promise<Applied | 'declined'> => {
    const before = attached
    return pipeline.apply(desired, async (plan, live) => {
      const now = attachedOf(live.links, desired)
      return permitted(plan, live, (key) => !isSameDevice(before?.get(key), now.get(key)))
    })
  }

  const perform = async (trigger: Trigger, elapsed: () => number): Promise<Outcome> => {
    if (isSettled) {
      // Without the lock this may read a half-finished apply of another process, so only "in sync" is believed.
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
      emit({ event: 'applied', trigger, changes, prefixes, sha256, durationMs, probes: result.probes })
    } else if (OF_CONFIG.includes(trigger)) emit({ event: 'in-sync', trigger, sha256, durationMs })
    return result.changed ? 'applied' : 'in-sync'
  }

  const becomeReady = (): void => {
    if (!book.state().ready) emit({ event: 'ready' })
    book.ready()
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
        becomeReady()
        return repairs.waitMs()
      } catch (thrown) {
        const error = ports.explain(thrown)
        if (isInterruption(error)) return undefined
        const { outcome, retryMs } = failures.note(error)
        book.reconciled(trigger, outcome, elapsed())
        if (isHeld(error)) becomeReady()
        // The guards most likely saw this state: a change of it allows another attempt before its time.
        attached = await readAttached()
        await lookAtServed()
        return retryMs
      }
    },
  }
}

/** Services that differ only in next hops: the network changed, and no process changed our tables. */
const movedIn = ({ changes }: Plan, { drift }: Live): ReadonlySet<ObjectKey> =>
  new Set(
    changes.flatMap(({ kind, key, reason }) =>
      kind === 'service' && reason === 'drift' && !drift.has(key) ? [key] : [],
    ),
  )

/** Identifies a config, the addresses that it names, and the age of its feeds, by which the guard on old feeds decides. */
const editionOf = ({ desired: { config, feeds }, host = '' }: Loaded): string =>
  [config.sha256, host, ...feeds.flatMap(({ files }) => files.map(({ updatedAt }) => updatedAt))].join()

/** Stopping the daemon interrupts its reconcile, which is not a failure. */
const isInterruption = ({ diagnostics }: XdpError): boolean => diagnostics.some(({ code }) => code === 'E112')

/**
 * Whether the daemon leaves a policy in force because of a confirmation. A service manager that waits for it at startup
 * must not end it for that.
 */
const isHeld = ({ diagnostics }: XdpError): boolean =>
  diagnostics.every(({ code }) => ['E230', 'E231', 'E239'].includes(code))

function undefinedIfExpected(error: unknown): undefined {
  if (!(error instanceof XdpError)) throw error
}
