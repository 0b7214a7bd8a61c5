// The loop of the daemon: what happened is only noted; then one round at a time looks at the files and at the kernel,
// and does what the difference asks for. Whatever happens during a round makes one more round, not two at once.

import type { Loaded } from '../config/load.ts'
import { XdpError } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { Live, ObjectKey } from '../model/live.ts'
import type { Outcome, Trigger, WatchEvent } from '../model/watch.ts'
import type { Plan } from '../plan/change.ts'
import { countDelta } from '../plan/delta.ts'
import type { Applied, Approve, Links } from '../reconcile.ts'
import { type Attached, attachedOf, isSameAttached } from './attached.ts'
import type { Book } from './book.ts'
import type { ConfigFile } from './config-file.ts'
import { followEdits } from './edits.ts'
import { noteFailures } from './failures.ts'
import { watchRepairs } from './repairs.ts'
import { createAlarm, type Scheduler } from './scheduler.ts'
import { createWarnings } from './warnings.ts'

/** The pipeline, as far as the daemon uses it. All of it throws XdpError for whatever is to be expected. */
export interface Pipeline {
  /** The plan, without a lock. */
  readonly check: (desired: Desired) => Promise<{ readonly plan: Plan; readonly live: Live; readonly inSync: boolean }>
  /** Carries out what `approve` permits. */
  readonly apply: (desired: Desired, approve: Approve) => Promise<Applied | 'declined'>
  readonly attachments: () => Promise<Links>
}

export interface LoopPorts {
  readonly scheduler: Scheduler
  readonly file: Pick<ConfigFile, 'look'>
  readonly pipeline: Pipeline
  readonly book: Book
  readonly tell: (event: WatchEvent) => void
  /** The files were looked at, which may be other ones by now. */
  readonly onLook: () => void
  /** Makes an error of ours one that can be told like any other. */
  readonly explain: (error: unknown) => XdpError
}

/** What makes a round. `links`: something happened to interfaces, perhaps nothing that matters. */
export type Cause = Trigger | 'links'

export interface Loop {
  /** Settles when nothing is left to do. */
  readonly request: (cause: Cause) => Promise<void>
  /** What is kept in force. */
  readonly wanted: () => Desired
  /** Milliseconds since the round under way began; 0 between rounds. */
  readonly busyMs: () => number
  /** Ends after the round under way. */
  readonly stop: () => Promise<void>
}

/** From the one that tells most to the one that tells least. */
const TRIGGERS: readonly Trigger[] = ['start', 'reload', 'edit', 'retry', 'kernel', 'resync']

/** Whether all that the plan does is to put back what was changed since the last apply. */
const isDriftAlone = ({ changes }: Plan): boolean => changes.every(({ reason }) => reason === 'drift')

export function startLoop(first: Loaded, ports: LoopPorts): Loop {
  const { scheduler, file, pipeline, book, tell } = ports
  const pending = new Set<Cause>()
  let rounds: Promise<void> | undefined
  let began = 0
  let stopped = false
  let wanted = first
  /** Whether `wanted` was carried out, so that what differs is drift. */
  let settled = false
  let attached: Attached | undefined

  const request: Loop['request'] = async (cause) => {
    if (stopped) return undefined
    pending.add(cause)
    rounds ??= run()
    return rounds
  }
  const resync = createAlarm(scheduler, () => {
    resync.set(wanted.desired.watch.resyncMs)
    void request('resync')
  })
  const retry = createAlarm(scheduler, () => void request('retry'))
  const edits = followEdits({ scheduler, file, book, tell, again: () => void request('edit') })
  const failures = noteFailures(scheduler, book, tell)
  const repairs = watchRepairs(scheduler, book, tell)
  const warnings = createWarnings(tell)

  async function run(): Promise<void> {
    while (pending.size > 0 && !stopped) {
      const causes = new Set(pending)
      pending.clear()
      began = scheduler.now()
      await round(causes)
    }
    rounds = undefined
  }

  async function round(causes: ReadonlySet<Cause>): Promise<void> {
    const isNew = (causes.has('edit') || causes.has('reload')) && (await examine(causes.has('reload')))
    if (stopped || !(isNew || (await isDue(causes)))) return
    if (failures.isWaiting()) return
    const trigger = TRIGGERS.find((one) => causes.has(one)) ?? 'kernel'
    await attempt(trigger, () => (settled ? compare(trigger) : carryOut(trigger)))
  }

  /** Whether a config is there that was not carried out yet. */
  async function examine(anew: boolean): Promise<boolean> {
    if (anew) tell({ event: 'reload' })
    const found = await edits.examine(anew)
    ports.onLook()
    if (!found) return false
    const isOther = found.desired.config.sha256 !== wanted.desired.config.sha256
    wanted = found
    book.adopted(found.desired)
    if (!isOther && !anew) return false
    settled = false
    failures.forget()
    return true
  }

  /** Whether the live state may be another one than the daemon left. */
  async function isDue(causes: ReadonlySet<Cause>): Promise<boolean> {
    if ([...causes].some((cause) => cause !== 'edit' && cause !== 'links')) return true
    if (!causes.has('links')) return false
    const now = await readAttached()
    return !now || !attached || !isSameAttached(attached, now)
  }

  /** undefined: cannot be told. */
  const readAttached = (): Promise<Attached | undefined> =>
    pipeline.attachments().then(
      (links) => attachedOf(links, wanted.desired),
      () => undefined,
    )

  /** An edit: everything that the plan says is done. */
  async function carryOut(trigger: Trigger): Promise<Outcome> {
    const { desired } = wanted
    const applied = await pipeline.apply(desired, async (plan) => {
      // Who wants drift to be told only wants the same of a daemon that starts anew.
      return trigger !== 'start' || !isDriftAlone(plan) || repairs.permits(plan, desired.watch.onDrift, () => true)
    })
    settled = true
    return conclude(applied, trigger)
  }

  /** No edit: what differs is drift, or an interface that came. */
  async function compare(trigger: Trigger): Promise<Outcome> {
    const { desired } = wanted
    // Without the lock this may look at an apply of somebody else half-way: only agreement is believed.
    const checked = await pipeline.check(desired).catch((error: unknown) => {
      if (!(error instanceof XdpError)) throw error
      return undefined
    })
    if (checked?.inSync) return agree(checked.live.links, checked.plan)
    const before = attached
    const applied = await pipeline.apply(desired, async (plan, { links }) => {
      const now = attachedOf(links, desired)
      const isAnother = (key: ObjectKey): boolean => before?.get(key)?.ifindex !== now.get(key)?.ifindex
      return repairs.permits(plan, desired.watch.onDrift, isAnother)
    })
    return conclude(applied, trigger)
  }

  function agree(links: Links, plan: Plan): Outcome {
    attached = attachedOf(links, wanted.desired)
    repairs.done()
    warnings.tell([...wanted.warnings, ...plan.warnings])
    return 'in-sync'
  }

  function conclude(applied: Applied | 'declined', trigger: Trigger): Outcome {
    if (applied === 'declined') return 'held'
    const { plan, result, links } = applied
    agree(links, plan)
    const { sha256 } = wanted.desired.config
    const durationMs = Math.round(scheduler.now() - began)
    if (!result.changed) {
      if (trigger === 'start' || trigger === 'edit' || trigger === 'reload') {
        tell({ event: 'in-sync', trigger, sha256, durationMs })
      }
      return 'in-sync'
    }
    const changes = plan.changes.map(({ op, key }) => ({ op, key }))
    const prefixes = countDelta(plan.changes)
    tell({ event: 'applied', trigger, changes, prefixes, sha256, durationMs, probes: result.probes })
    return 'applied'
  }

  /** Runs one reconcile and enters how it ended. */
  async function attempt(trigger: Trigger, body: () => Promise<Outcome>): Promise<void> {
    resync.set(wanted.desired.watch.resyncMs)
    const elapsed = (): number => Math.round(scheduler.now() - began)
    try {
      const outcome = await body()
      failures.clear()
      book.reconciled(trigger, outcome, elapsed())
      again(repairs.waitMs())
      if (!book.state().ready) tell({ event: 'ready' })
      book.ready()
    } catch (thrown) {
      // Who stops us ends what is under way, which is no failure.
      if (stopped) return
      const { outcome, retryMs } = failures.note(ports.explain(thrown))
      book.reconciled(trigger, outcome, elapsed())
      again(retryMs)
      // Most likely what the guards saw: a change of it is worth another attempt before its time.
      attached = await readAttached()
    }
  }

  const again = (ms: number | undefined): void => (ms === undefined ? retry.clear() : retry.set(ms))

  book.adopted(first.desired)
  return {
    request,
    wanted: () => wanted.desired,
    busyMs: () => (rounds === undefined ? 0 : scheduler.now() - began),
    async stop() {
      stopped = true
      for (const alarm of [resync, retry]) alarm.clear()
      edits.stop()
      await rounds
    },
  }
}
