// Saves the bans for the next boot, if the config says so: from time to time, and when the daemon stops.

import type { Desired } from '../model/desired.ts'
import { saveBans } from '../pipelines/ban-keep.ts'
import type { Host } from '../pipelines/session.ts'
import type { WatchEvent } from '../report/watch.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

/** Time between two saves, and at least this many times as long as one takes. */
const EVERY_MS = 60_000
const SHARE = 50

export interface BanKeeper {
  readonly follow: (desired: Desired) => void
  readonly close: () => Promise<void>
}

/** Keeps the bans of an instance. Reports trouble that stays once. */
export function keepBans(
  host: Host,
  scheduler: Scheduler,
  emit: (event: WatchEvent) => void,
  write = saveBans,
): BanKeeper {
  let persist: Desired['persist']
  let saving: Promise<void> | undefined
  let known: string | undefined
  const save = async (): Promise<void> => {
    const begun = scheduler.now()
    const trouble = await write(host, persist)
    if (trouble !== undefined && trouble !== known) emit({ event: 'trouble', what: trouble })
    known = trouble
    if (persist !== undefined) alarm.set(Math.max(EVERY_MS, SHARE * (scheduler.now() - begun)))
  }
  const alarm = createAlarm(scheduler, () => {
    saving = save()
  })
  return {
    follow(desired) {
      const before = persist
      persist = desired.persist
      if (persist === undefined) alarm.clear()
      else if (before === undefined) alarm.set(EVERY_MS)
    },
    async close() {
      await saving
      if (persist !== undefined) await save()
      persist = undefined
      alarm.clear()
    },
  }
}
