// Next hops of backends: wakes the loop when the kernel's routes and neighbours give another next hop than the tables
// have. The kernel sends an event for every state of every neighbour entry, also for those that our own queries change,
// so an event only makes a cheap comparison.

import type { Served } from '../model/live.ts'
import type { Service } from '../model/service.ts'
import { unresolvedOf } from '../plan/next-hops.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

type Services = ReadonlyMap<string, Service>

export interface Hops {
  /** Follows the next hops of these live services from now on. */
  readonly follow: (served: Served) => void
  /** Something happened to interfaces, neighbours or routes. */
  readonly touch: () => void
  readonly stop: () => void
}

export interface HopsPorts {
  readonly scheduler: Scheduler
  /** Whether the kernel's next hops differ from the tables; sends nothing to the network. */
  readonly haveChanged: (services: Services) => Promise<boolean>
  /** Has the kernel resolve the backends without a next hop (ARP, neighbour discovery); each answer makes an event. */
  readonly request: (services: Services) => Promise<void>
  readonly onChange: () => void
}

/** Events come in bursts: milliseconds from the first event to the comparison. */
const BURST = 50
/** Comparisons take at most one part in this many of the time, however many events arrive. */
const SHARE = 4
/** Milliseconds between attempts to resolve backends that did not answer. */
const REQUEST_EVERY = 2000

export function followHops({ scheduler, haveChanged, request, onChange }: HopsPorts): Hops {
  let services: Services = new Map()
  let isSet = false
  let isLooking = false
  let isMissed = false
  let earliest = Number.NEGATIVE_INFINITY
  let isStopped = false

  const look = async (): Promise<void> => {
    isSet = false
    isLooking = true
    const began = scheduler.now()
    // After a failed reading the next resync compares everything.
    const changed = await haveChanged(services).catch(() => false)
    isLooking = false
    if (isStopped) return
    const now = scheduler.now()
    earliest = now + SHARE * (now - began)
    if (changed) onChange()
    if (isMissed) touch()
  }
  const looking = createAlarm(scheduler, () => void look())
  const requesting = createAlarm(scheduler, () => {
    requesting.set(REQUEST_EVERY)
    void request(services).catch(() => undefined)
  })

  const touch = (): void => {
    isMissed = isLooking
    if (isSet || isLooking || isStopped || services.size === 0) return
    isSet = true
    looking.set(Math.max(BURST, earliest - scheduler.now()))
  }

  return {
    follow(served) {
      services = served.services
      if (unresolvedOf(services).length === 0) requesting.clear()
      else requesting.set(REQUEST_EVERY)
    },
    touch,
    stop() {
      isStopped = true
      for (const alarm of [looking, requesting]) alarm.clear()
    },
  }
}
