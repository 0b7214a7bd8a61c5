// Ways to backends: where the kernel finds another one than the tables have, the loop is told. Events of neighbours
// come for every state of every entry, and our own questions make some, so that each means no more than a cheap look.

import type { Served } from '../model/live.ts'
import type { Service } from '../model/service.ts'
import { unresolvedOf } from '../plan/next-hops.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

type Services = ReadonlyMap<string, Service>

export interface Hops {
  /** These services are live. */
  readonly follow: (served: Served) => void
  /** Something happened to interfaces, neighbours or routes. */
  readonly touch: () => void
  readonly stop: () => void
}

export interface HopsPorts {
  readonly scheduler: Scheduler
  /** Whether the kernel knows other ways now, without asking anybody. */
  readonly haveMoved: (services: Services) => Promise<boolean>
  /** Has the kernel ask for the backends without a way; whoever answers makes an event. */
  readonly ask: (services: Services) => Promise<void>
  readonly onMoved: () => void
}

/** From the first event to the look that it asks for: events come in bursts. In milliseconds. */
const BURST = 100
/** Of the time, looks take one part in this many at most, however many events there are. */
const SHARE = 10
/** How often it is asked for those that nobody answered for, in milliseconds. */
const ASK_EVERY = 5000

export function followHops({ scheduler, haveMoved, ask, onMoved }: HopsPorts): Hops {
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
    // What cannot be read now is read in full at the next resync.
    const moved = await haveMoved(services).catch(() => false)
    isLooking = false
    if (isStopped) return
    const now = scheduler.now()
    earliest = now + SHARE * (now - began)
    if (moved) onMoved()
    if (isMissed) touch()
  }
  const looking = createAlarm(scheduler, () => void look())
  const asking = createAlarm(scheduler, () => {
    asking.set(ASK_EVERY)
    void ask(services).catch(() => undefined)
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
      if (unresolvedOf(services).length === 0) asking.clear()
      else asking.set(ASK_EVERY)
    },
    touch,
    stop() {
      isStopped = true
      for (const alarm of [looking, asking]) alarm.clear()
    },
  }
}
