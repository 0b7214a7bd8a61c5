// Rates in rules of other filters → rate limits. A limit drops nothing that its rule lets pass: where the rule forgets what
// a source has used, the limit has a higher rate.

import { plural } from '../model/numbers.ts'
import { TCP } from '../model/ports.ts'
import type { RatePer } from '../model/rate-limit.ts'
import { RATE } from '../model/rate-limit.ts'
import type { RateSpec } from './rate-spec.ts'
import { hasFlag, type Traffic } from './scopes.ts'

/** A rate as its source has it. */
export interface WrittenRate {
  readonly name?: string
  readonly per?: RatePer
  readonly prefix?: RateSpec['prefix']
  readonly amount: number
  /** Seconds. */
  readonly unit: number
  readonly burst: number
  readonly over: boolean
  /** Seconds after which the source forgets a sender; undefined: never. */
  readonly forgets?: { readonly after: number; readonly evenBusy: boolean } | undefined
  readonly why?: string | undefined
}

/** Seconds by unit: nft(8), and iptables by any beginning of the word. */
export function secondsOf(unit: string): number | undefined {
  const units: readonly (readonly [string, number])[] = [
    ['second', 1],
    ['minute', 60],
    ['hour', 3600],
    ['day', 86_400],
    ['week', 604_800],
  ]
  return unit === '' ? undefined : units.find(([name]) => name.startsWith(unit))?.[1]
}

/** The limit of a rate; undefined if no config has such a rate. */
export function rateSpec(written: WrittenRate): RateSpec | undefined {
  const { name = '', per = 'all', prefix, amount, unit, burst, over, forgets, why } = written
  const average = amount / unit
  // A sender that is forgotten has its whole burst again.
  const again = forgets === undefined ? 0 : burst / forgets.after
  const rate = forgets?.evenBusy ? average + again : Math.max(average, again)
  const perSecond = Math.max(1, Math.ceil(rate - 1e-9))
  const fits = [amount, burst].every((one) => Number.isFinite(one) && one >= 1) && perSecond <= RATE.packets.most
  if (!fits || burst > perSecond * RATE.burstSeconds) return undefined
  const text = `${plural(amount, 'packet')} per ${unit === 1 ? 'second' : `${unit} s`}`
  const remark = perSecond === average ? undefined : `its limit of ${text} becomes one of ${perSecond} per second`
  return { name, per, prefix, perSecond, burst, over, opening: false, remark, why }
}

/** Whether the limit may count only SYNs, as a part of what its rule counts. */
export const countsOpening = ({ opening }: RateSpec, spares: boolean): boolean => opening || spares

/**
 * Why a limit on the traffic could drop more than the rule; undefined if it cannot. `spares`: the rule does not see packets of
 * known connections.
 */
export function rateObjection(rate: RateSpec, { protocols, fields }: Traffic, spares: boolean): string | undefined {
  if (rate.why !== undefined) return rate.why
  const opens = countsOpening(rate, spares)
  if (protocols === undefined || (protocols.includes(TCP) && protocols.length > 1))
    return 'it counts segments of TCP, which the kernel joins before'
  if (!protocols.includes(TCP)) return opens ? 'it does not count packets of known connections' : undefined
  return opens || hasFlag(fields.flags, 'syn') ? undefined : 'it counts segments of TCP, which the kernel joins before'
}

/** Why a rate before other matches of a rule does not count the packets that the rule matches. */
export const UNORDERED = 'it counts packets that it does not match'

export const RATED = 'it matches a rate'
