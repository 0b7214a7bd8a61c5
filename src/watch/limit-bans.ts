// Bans sources that exceed rate limits with `ban`, once a second. Limits without it cost nothing.

import { type Diagnostic, XdpError } from '../diagnostics.ts'
import type { Served } from '../model/live.ts'
import { formatRange } from '../model/text.ts'
import { hasLimitBans, type LimitBan, type LimitBanner, limitBanner } from '../pipelines/limit-bans.ts'
import type { Host } from '../pipelines/session.ts'
import type { WatchEvent } from '../report/watch.ts'
import { createAlarm, type Scheduler } from './time/scheduler.ts'

/** Milliseconds between two looks, and at least this many times as long as one takes. */
const EVERY = 1000
const SHARE = 20
/** An apply of another process may disturb a look: failures in a row that are reported. */
const FAILURES = 5
/** Prefixes that an event names. */
const NAMED = 3

export interface LimitBans {
  /** Bans for the limits in force from now on. */
  readonly follow: (served: Served) => void
  readonly stop: () => Promise<void>
}

const textOf = ({ prefix: { family, start, end } }: LimitBan): string => formatRange(family, start, end)

/** Why a ban was not made; undefined: it was, or another ban is in force. */
function whyNot({ outcome }: LimitBan): string | undefined {
  if (outcome.result === 'refused') return outcome.reasons.map(({ message }) => message).join('; ')
  if (outcome.result === 'full') return 'the table of bans is full'
  return outcome.result === 'no-memory' ? 'the kernel has no memory for it' : undefined
}

function warningOf(made: LimitBan): Diagnostic[] {
  const why = whyNot(made)
  if (why === undefined) return []
  const message = `rate limit ${made.limit.name} did not ban ${textOf(made)}: ${why}`
  const hint =
    made.outcome.result === 'full'
      ? 'raise `limits.bans`, or lift some: xdp bans'
      : 'the limit goes on to drop its packets'
  return [{ code: 'W266', severity: 'warning', message, hint }]
}

/** One event for each limit. */
function eventsOf(all: readonly LimitBan[]): WatchEvent[] {
  const made = all.filter(({ outcome }) => outcome.result === 'added')
  const limits = [...new Set(made.map(({ limit }) => limit))]
  const banned = limits.map((limit): WatchEvent => {
    const own = made.filter((one) => one.limit === limit).map(textOf)
    const { name, action, ban } = limit
    const observe = action === 'observe'
    return { event: 'banned', limit: name, prefixes: own.slice(0, NAMED), count: own.length, forMs: ban.forMs, observe }
  })
  const warnings = all.flatMap(warningOf).slice(0, NAMED)
  return warnings.length > 0 ? [...banned, { event: 'warning', warnings }] : banned
}

export function banOffenders(
  host: Host,
  scheduler: Scheduler,
  emit: (event: WatchEvent) => void,
  banner: LimitBanner = limitBanner(host),
): LimitBans {
  let limits: Served | undefined
  let running: Promise<void> | undefined
  let failures = 0
  const look = async (served: Served): Promise<void> => {
    const began = scheduler.now()
    try {
      for (const event of eventsOf(await banner.ban(served))) emit(event)
      failures = 0
    } catch (error) {
      failures++
      const what = error instanceof XdpError ? error.diagnostics[0]?.message : String(error)
      if (failures === FAILURES) emit({ event: 'trouble', what: `rate limits cannot ban: ${what}` })
    }
    if (limits) alarm.set(Math.max(EVERY, SHARE * (scheduler.now() - began)))
  }
  const alarm = createAlarm(scheduler, () => {
    if (limits) running = look(limits)
  })
  return {
    follow(served) {
      const isNew = limits === undefined
      limits = hasLimitBans(served) ? served : undefined
      if (!limits) alarm.clear()
      else if (isNew) alarm.set(EVERY)
    },
    async stop() {
      limits = undefined
      alarm.clear()
      await running
    },
  }
}
