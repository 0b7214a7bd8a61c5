// The daemon as a systemd service: notifies systemd with the protocol of sd_notify(3).

import { monotonicMicroseconds, type ServiceManager } from '../kernel/host/notify.ts'
import type { WatchState } from '../report/watch.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

/** A reconcile that runs for this many milliseconds has hung: ten million prefixes take a tenth of it. */
const STUCK = 300_000

export interface Service {
  /** Sends the changed state. */
  readonly update: (state: WatchState) => void
  /** Called before and after a reload of the config. */
  readonly reloading: () => void
  readonly reloaded: () => void
  readonly stopping: () => Promise<void>
}

interface ServicePorts {
  readonly scheduler: Scheduler
  readonly manager: ServiceManager
  /** The state in one line, for STATUS=. */
  readonly describe: (state: WatchState) => string
  readonly busyMs: () => number
}

export function serve({ scheduler, manager, describe, busyMs }: ServicePorts): Service {
  let isReady = false
  let status: string | undefined
  const feed = createAlarm(scheduler, () => {
    // Feeding the watchdog unconditionally would hide a hung reconcile.
    if (busyMs() < STUCK) void manager.notify('WATCHDOG=1')
    arm()
  })
  const arm = (): void => {
    if (manager.watchdogMs !== undefined) feed.set(manager.watchdogMs / 2)
  }
  arm()
  return {
    update(state) {
      const now = describe(state)
      const first = state.ready && !isReady
      isReady = state.ready
      if (first) void manager.notify('READY=1', `STATUS=${now}`)
      else if (now !== status) void manager.notify(`STATUS=${now}`)
      status = now
    },
    reloading() {
      void manager.notify('RELOADING=1', `MONOTONIC_USEC=${monotonicMicroseconds()}`)
    },
    reloaded() {
      void manager.notify('READY=1')
    },
    stopping() {
      feed.clear()
      return manager.notify('STOPPING=1')
    },
  }
}
