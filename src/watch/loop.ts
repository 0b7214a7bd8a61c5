// The loop of the daemon: what happened is only noted; then one round at a time looks at the files and at the kernel,
// and does what the difference asks for. Whatever happens during a round makes one more round, not two at once.

import type { Loaded } from '../config/load.ts'
import type { Desired } from '../model/desired.ts'
import type { Trigger } from '../report/watch.ts'
import { followEdits } from './edits.ts'
import type { ConfigFile } from './files/config-file.ts'
import { createReconciler, type ReconcilerPorts } from './reconciler.ts'
import { createAlarm } from './time/scheduler.ts'

export interface LoopPorts extends ReconcilerPorts {
  readonly file: Pick<ConfigFile, 'look'>
  /** The files were looked at, which may be other ones by now. */
  readonly onLook: () => void
  /** This is what is wanted from now on. */
  readonly onAdopt: (desired: Desired) => void
}

/** What makes a round. `links`: something happened to interfaces, perhaps nothing that matters. */
export type Cause = Trigger | 'links'

export interface Loop {
  /** Settles when nothing is left to do. */
  readonly request: (cause: Cause) => Promise<void>
  /** An edit is coming. */
  readonly expect: () => void
  /** What is kept in force. */
  readonly wanted: () => Desired
  /** Milliseconds since the round under way began; 0 between rounds. */
  readonly busyMs: () => number
  /** Ends after the round under way. */
  readonly stop: () => Promise<void>
}

/** What asks for a look at the live state, from the one that tells most to the one that tells least. */
const LOOKS: readonly Trigger[] = ['start', 'retry', 'kernel', 'resync']

export function startLoop(first: Loaded, ports: LoopPorts): Loop {
  const { scheduler, file, pipeline, book, tell } = ports
  const pending = new Set<Cause>()
  let rounds: Promise<void> | undefined
  let began = 0
  let isStopped = false
  /** An edit is coming, and was heard of during a round. */
  let isExpected = false
  const reconciler = createReconciler(first, ports)
  const edits = followEdits({ scheduler, file, book, tell, again: () => void request('edit') })
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
      // What was heard of is looked at now. To prepare for it afterwards would keep the lock for an edit that never comes.
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

  /** Whether a config is there that was not carried out yet. */
  const examine = async (anew: boolean): Promise<boolean> => {
    if (anew) tell({ event: 'reload' })
    const found = await edits.examine(anew)
    ports.onLook()
    if (!found) return false
    ports.onAdopt(found.desired)
    return reconciler.want(found, anew)
  }

  /** Why the live state may be another one than the daemon left, the files apart; undefined: it is not. */
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
