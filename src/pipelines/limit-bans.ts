// Bans the sources that exceed a rate limit for too long: reports of the data plane become requests like those of
// `xdp ban`, with the guard of every ban. The allowlist needs none: a limit counts no packet that it lets pass.

import { countLimitBans, MANY_REPORTS, type Offender, readOffenders } from '../kernel/live/offenders.ts'
import { type BanLabels, type BanOrder, type BanOutcome, isNewBan } from '../model/ban.ts'
import { NO_ALLOWED_CUTS } from '../model/contact.ts'
import type { Served } from '../model/live.ts'
import { RATE_BAN_AUTHOR, type RateBan, type RateLimit, rateBanReason } from '../model/rate-limit.ts'
import { type Prefix, prefixOf } from '../model/text.ts'
import { type BanWriter, openWriter } from './bans.ts'
import { type Host, interruptible, sessionOf } from './session.ts'

/** A ban that a limit has asked for. */
export interface LimitBan {
  readonly limit: RateLimit & { readonly ban: RateBan }
  readonly prefix: Prefix
  readonly outcome: BanOutcome
}

type Limits = Pick<Served, 'generation' | 'slots' | 'rateLimits'>

/** The limits that ban, by slot. */
function banningLimits({ slots, rateLimits }: Limits): Map<number, LimitBan['limit']> {
  const found = new Map<number, LimitBan['limit']>()
  for (const limit of rateLimits?.values() ?? []) {
    const slot = slots.rates?.get(limit.name)
    if (limit.ban && slot !== undefined) found.set(slot, { ...limit, ban: limit.ban })
  }
  return found
}

export const hasLimitBans = (limits: Limits): boolean => banningLimits(limits).size > 0

/** Sorts limits by how much their bans do: those that drop before those that observe, and the longest first. */
export const compareBans = (left: LimitBan['limit'], right: LimitBan['limit']): number =>
  Number(left.action === 'observe') - Number(right.action === 'observe') || right.ban.forMs - left.ban.forMs

/** Bans for the limits that are in force. */
export interface LimitBanner {
  /** Bans the sources that have exceeded one of the limits for long enough. Throws XdpError. */
  readonly ban: (limits: Limits) => Promise<LimitBan[]>
}

export function limitBanner(host: Host): LimitBanner {
  const { paths } = sessionOf(host)
  let writer: BanWriter | undefined
  const orderOf = (prefix: Prefix, { ban, action }: LimitBan['limit'], labels: BanLabels): BanOrder => ({
    ...{ op: 'add', prefix, ttlMs: ban.forMs, yields: true, labels, allowed: NO_ALLOWED_CUTS, peers: [] },
    ...(action === 'observe' && { observe: true }),
  })
  const banSome = async (generation: number, limits: Map<number, LimitBan['limit']>): Promise<LimitBan[]> => {
    const after = new Map([...limits].map(([slot, { ban }]) => [slot, ban.afterMs]))
    const labels = new Map(
      [...limits].map(([slot, { name }]) => [slot, { by: RATE_BAN_AUTHOR, reason: rateBanReason(name) }]),
    )
    const limitOf = ({ slot }: Offender): LimitBan['limit'] => limits.get(slot) as LimitBan['limit']
    const reports = await readOffenders(paths, generation, after)
    if (reports.length === 0) return []
    // Several limits may report one source: the ban that stands is made first, so that it is the one that counts.
    const offenders = reports.toSorted((left, right) => compareBans(limitOf(left), limitOf(right)))
    const orders = offenders.map((offender) => {
      const { slot, source } = offender
      const limit = limitOf(offender)
      const prefix = prefixOf(source, source.family === 4 ? limit.prefix.v4 : limit.prefix.v6)
      return orderOf(prefix, limit, labels.get(slot) as BanLabels)
    })
    writer ??= await openWriter(host)
    const outcomes = await writer.write(orders)
    const added = new Map<number, number>()
    for (const [i, { slot }] of offenders.entries())
      if (isNewBan(outcomes[i] as BanOutcome)) added.set(slot, (added.get(slot) ?? 0) + 1)
    if (added.size > 0) await countLimitBans(paths, generation, added)
    const made = offenders.map((offender, i) => ({
      limit: limitOf(offender),
      prefix: (orders[i] as BanOrder).prefix,
      outcome: outcomes[i] as BanOutcome,
    }))
    return reports.length < MANY_REPORTS ? made : [...made, ...(await banSome(generation, limits))]
  }
  return { ban: (limits) => interruptible(host, () => banSome(limits.generation, banningLimits(limits))) }
}
