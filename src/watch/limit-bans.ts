// Bans sources that exceed rate limits with `ban`, once a second. Limits without it cost nothing.

import { BANS_KEPT_SHIFT } from '../abi/generated.ts'
import { type Diagnostic, XdpError } from '../diagnostics.ts'
import { isNewBan } from '../model/ban.ts'
import type { Served } from '../model/live.ts'
import { plural } from '../model/numbers.ts'
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
/** The share of the table of bans that limits may fill. */
const LIMIT_SHARE = `${2 ** BANS_KEPT_SHIFT - 1}/${2 ** BANS_KEPT_SHIFT}`

export interface LimitBans {
  /** Bans for the limits in force from now on. */
  readonly follow: (served: Served) => void
  readonly stop: () => Promise<void>
}

const textOf = ({ prefix: { family, start, end } }: LimitBan): string => formatRange(family, start, end)

/** Why a ban was not made; undefined: it was, or another ban is in force. */
function whyNot({ outcome }: LimitBan): string | undefined {
  if (outcome.result === 'refused') return outcome.reasons.map(({ message }) => message).join('; ')
  if (outcome.result === 'full')
    return `${LIMIT_SHARE} of the table of bans are taken, and the rest is kept for other bans`
  return outcome.result === 'no-memory' ? 'the kernel has no memory for it' : undefined
}

/** The first of prefixes, and the number of the others. */
function namesOf(prefixes: readonly string[]): string {
  const others = prefixes.length - NAMED
  return `${prefixes.slice(0, NAMED).join(', ')}${others > 0 ? ` and ${plural(others, 'other')}` : ''}`
}

/** One warning for all bans that a limit did not make for one reason. */
function warningOf(limit: string, why: string, all: readonly LimitBan[]): Diagnostic {
  const hint = all.some(({ outcome }) => outcome.result === 'full')
    ? 'raise `limits.bans`, ban wider prefixes with `prefix`, or lift some: xdp unban --by rate-limit'
    : 'the limit goes on to drop its packets'
  const message = `rate limit ${limit} did not ban ${namesOf(all.map(textOf))}: ${why}`
  return { code: 'W266', severity: 'warning', message, hint }
}

/** At most NAMED warnings, of which the last one says how many bans the others are about. */
function warningsOf(all: readonly LimitBan[]): Diagnostic[] {
  const groups = new Map<string, { limit: string; why: string; bans: LimitBan[] }>()
  for (const made of all) {
    const why = whyNot(made)
    if (why === undefined) continue
    const limit = made.limit.name
    const key = `${limit} ${why}`
    const group = groups.get(key) ?? { limit, why, bans: [] }
    groups.set(key, group)
    group.bans.push(made)
  }
  const found = [...groups.values()]
  const named = found.slice(0, NAMED).map(({ limit, why, bans }) => warningOf(limit, why, bans))
  const rest = found.slice(NAMED).reduce((sum, { bans }) => sum + bans.length, 0)
  const last = named.at(-1)
  if (!last || rest === 0) return named
  return [
    ...named.slice(0, -1),
    { ...last, message: `${last.message}; ${plural(rest, 'ban')} more for similar reasons` },
  ]
}

/** One event for each limit. */
function eventsOf(all: readonly LimitBan[]): WatchEvent[] {
  const made = all.filter(({ outcome }) => isNewBan(outcome))
  const limits = [...new Set(made.map(({ limit }) => limit))]
  const banned = limits.map((limit): WatchEvent => {
    const own = made.filter((one) => one.limit === limit).map(textOf)
    const { name, action, ban } = limit
    const observe = action === 'observe'
    return { event: 'banned', limit: name, prefixes: own.slice(0, NAMED), count: own.length, forMs: ban.forMs, observe }
  })
  const warnings = warningsOf(all)
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
