// The loop of the daemon. An event only marks its cause as pending; one round at a time then reads the files and the
// kernel and reconciles the difference. Events during a round make one more round after it.

import type { Loaded } from '../config/load.ts'
import type { Desired } from '../model/desired.ts'
import type { Trigger } from '../report/watch.ts'
import { followEdits } from './edits.ts'
import type { ConfigFile } from './files/config-file.ts'
import { createReconciler, type ReconcilerPorts } from './reconciler.ts'
import { createAlarm } from './time/scheduler.ts'

export interface LoopPorts extends ReconcilerPorts {
  readonly file: Pick<ConfigFile, 'look'>
  /** The loop read the files; the config may name other files now. */
  readonly onLook: () => void
  /** This config is the wanted one from now on. */
  readonly onAdopt: (desired: Desired) => void
}

/** The cause of a round. `links`: interfaces had events, perhaps none that matters. */
export type Cause = Trigger | 'links'

export interface Loop {
  /** Resolves when nothing is pending. */
  readonly request: (cause: Cause) => Promise<void>
  /** A file event announced an edit: prepares its apply. */
  readonly expect: () => void
  /** The config that the daemon keeps in force. */
  readonly wanted: () => Desired
  /** Milliseconds since the current round began; 0 between rounds. */
  readonly busyMs: () => number
  /** Stops after the current round. */
  readonly stop: () => Promise<void>
}

/** Causes that read the live state, the most telling first: a round with several reports the first. */
const LOOKS: readonly Trigger[] = ['start', 'retry', 'kernel', 'resync']

export function startLoop(first: Loaded, ports: LoopPorts): Loop {
  const { scheduler, file, pipeline, book, emit } = ports
  const pending = new Set<Cause>()
  let rounds: Promise<void> | undefined
  let began = 0
  let isStopped = false
  /** A file event announced an edit during a round. */
  let isExpected = false
  const reconciler = createReconciler(first, ports)
  const edits = followEdits({ scheduler, file, book, emit, again: () => void request('edit') })
  const retry = createAlarm(scheduler, () => void request('retry'))
  const resync = createAlarm(scheduler, () => {
    resync.set(reconciler.wanted().watch.resyncMs)
    void request('resync')
  })

  const request = async (cause: Cause): Promise<void> => {
    if (isStopped) return
    pending.add(cause)
    rounds ??= run()
    await rounds
  }

  const run = async (): Promise<void> => {
    while (pending.size > 0 && !isStopped) {
      const causes = new Set(pending)
      pending.clear()
      // This round reads the announced edit. Preparing after it would hold the lock for an edit that never comes.
      if (causes.has('edit')) isExpected = false
      began = scheduler.now()
      await round(causes)
      if (pending.size === 0) await pipeline.dismiss()
    }
    rounds = undefined
    if (isExpected) expect()
  }

  const expect = (): void => {
    isExpected = rounds !== undefined
    if (!isStopped && !isExpected && !reconciler.isWaiting()) pipeline.prepare(reconciler.wanted())
  }

  const round = async (causes: ReadonlySet<Cause>): Promise<void> => {
    const isNew = (causes.has('edit') || causes.has('reload')) && (await examine(causes.has('reload')))
    const trigger = isNew ? (causes.has('reload') ? 'reload' : 'edit') : await dueTo(causes)
    if (isStopped || trigger === undefined || reconciler.isWaiting()) return
    resync.set(reconciler.wanted().watch.resyncMs)
    const retryMs = await reconciler.reconcile(trigger)
    if (isStopped || retryMs === undefined) retry.clear()
    else retry.set(retryMs)
  }

  /** Whether the files hold a valid config that was not applied yet. */
  const examine = async (force: boolean): Promise<boolean> => {
    if (force) emit({ event: 'reload' })
    const found = await edits.examine(force)
    ports.onLook()
    if (!found) return false
    ports.onAdopt(found.desired)
    return reconciler.want(found, force)
  }

  /** The trigger of a reconcile that no edit asked for; undefined: the live state needs none. */
  const dueTo = async (causes: ReadonlySet<Cause>): Promise<Trigger | undefined> => {
    const trigger = LOOKS.find((one) => causes.has(one))
    if (trigger || !causes.has('links')) return trigger
    return (await reconciler.isElsewhere()) ? 'kernel' : undefined
  }

  return {
    request,
    expect,
    wanted: reconciler.wanted,
    busyMs: () => (rounds === undefined ? 0 : scheduler.now() - began),
    async stop() {
      isStopped = true
      for (const alarm of [resync, retry]) alarm.clear()
      edits.stop()
      await rounds
      await pipeline.dismiss()
    },
  }
}
