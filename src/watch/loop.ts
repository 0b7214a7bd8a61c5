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
  /** The config to keep in force while the file has this one: the same, or one of the history. */
  readonly choose: (file: Loaded) => Promise<Loaded>
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

/** Causes that read the config, those first which say most about what it then holds. */
const READS: readonly Trigger[] = ['reload', 'edit', 'addresses']
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
  /** The last valid config of the file, and the one that is wanted instead. */
  let ofFile = first
  let chosen = first
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
    const reading = READS.find((one) => causes.has(one))
    const isNew = await examine(reading !== undefined, causes.has('reload'))
    const trigger = isNew ? (reading ?? 'kernel') : await dueTo(causes)
    if (isStopped || trigger === undefined || reconciler.isWaiting()) return
    resync.set(reconciler.wanted().watch.resyncMs)
    const retryMs = await reconciler.reconcile(trigger)
    if (isStopped || retryMs === undefined) retry.clear()
    else retry.set(retryMs)
  }

  /** Whether there is a config to keep in force that was not applied yet. `isRead`: the files may hold one. */
  const examine = async (isRead: boolean, force: boolean): Promise<boolean> => {
    const found = isRead ? await read(force) : undefined
    if (found) ofFile = found
    const before = chosen
    chosen = await ports.choose(ofFile)
    if (!found && chosen === before) return false
    ports.onAdopt(chosen.desired)
    return reconciler.want(chosen, force)
  }

  /** The valid config in the files; undefined: they are unchanged, or invalid. */
  const read = async (force: boolean): Promise<Loaded | undefined> => {
    if (force) emit({ event: 'reload' })
    const found = await edits.examine(force)
    ports.onLook()
    return found
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
