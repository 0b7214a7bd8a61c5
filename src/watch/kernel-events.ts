// Kernel events for as long as the daemon runs: restarts the process that listens when it dies.

import { type KernelEvent, type Monitor, type MonitorObject, monitorKernel } from '../kernel/host/monitor.ts'
import { createBackoff } from './time/backoff.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

const FIRST = 1000
const MOST = 60_000

/**
 * The listener does not say when it is listening. After this many milliseconds it is, and the daemon looks for changes
 * that it missed.
 */
const BEGINNING = 1000

export interface KernelEvents {
  readonly stop: () => void
}

export interface KernelEventsPorts {
  readonly scheduler: Scheduler
  /** Events of these kinds happened, or may have. */
  readonly onEvents: (kinds: ReadonlySet<KernelEvent>) => void
  readonly onTrouble: (what: string) => void
  readonly monitor?: typeof monitorKernel
}

export function listenToKernel(kinds: readonly MonitorObject[], ports: KernelEventsPorts): KernelEvents {
  const { scheduler, onEvents, onTrouble, monitor = monitorKernel } = ports
  const backoff = createBackoff(FIRST, MOST)
  let running: Monitor | undefined
  let stopped = false
  const missed = createAlarm(scheduler, () => onEvents(new Set([...kinds, 'device' as const])))
  const again = createAlarm(scheduler, start)

  function start(): void {
    const startedAt = scheduler.now()
    running = monitor(kinds, onEvents)
    missed.set(BEGINNING)
    void running.ended.then((why) => {
      if (stopped) return
      missed.clear()
      if (scheduler.now() - startedAt > MOST) backoff.reset()
      const wait = backoff.next()
      onTrouble(`kernel events stopped: ${why}; listening again in ${wait / 1000} s`)
      again.set(wait)
    })
  }
  start()
  return {
    stop() {
      stopped = true
      for (const alarm of [missed, again]) alarm.clear()
      running?.stop()
    },
  }
}
