// The live view of rate limits, anomalies, SYNs, and of entries that only observe.

import { formatCount } from '../model/numbers.ts'
import type { Count } from '../report/result.ts'
import type { Stats } from '../report/stats.ts'
import { bits, busiest, countColumn, type Frame, NONE, perSecond, rateColumn, type Section } from './live-section.ts'
import { type Rates, ratesOf } from './rates.ts'
import { left } from './status.ts'

const byName = <T extends { readonly name: string }>(all: readonly T[] | undefined): ReadonlyMap<string, T> =>
  new Map(all?.map((one) => [one.name, one]))

const packetsPerSecond = ({ rate }: { readonly rate: Rates | undefined }): number => rate?.packets ?? 0

function rateSection({ stats, previous, seconds }: Frame): Section {
  const before = byName(previous?.rate_limits)
  const found = stats.rate_limits.map((now) => {
    const old = before.get(now.name)
    const exceeding = (one: typeof now): Count => ({ packets: one.exceeding_packets, bytes: one.exceeding_bytes })
    return { ...now, all: ratesOf(old, now, seconds), rate: ratesOf(old && exceeding(old), exceeding(now), seconds) }
  })
  return {
    columns: [
      ...[left('RATE LIMIT'), left('ACTION'), rateColumn('PACKETS/S'), rateColumn('EXCEED/S'), rateColumn('BIT/S')],
      countColumn('EXCEEDING'),
    ],
    rows: busiest(found, packetsPerSecond).map(({ name, action, all, rate, exceeding_packets }) => [
      ...[name, action, perSecond(all?.packets), perSecond(rate?.packets), bits(rate?.bytes)],
      formatCount(exceeding_packets),
    ]),
  }
}

function anomalySection({ stats, previous, seconds }: Frame): Section {
  const before = byName(previous?.anomalies)
  const found = stats.anomalies.map((now) => ({ ...now, rate: ratesOf(before.get(now.name), now, seconds) }))
  return {
    columns: [left('ANOMALY'), left('ACTION'), rateColumn('PACKETS/S'), rateColumn('BIT/S'), countColumn('PACKETS')],
    rows: busiest(found, packetsPerSecond).map(({ name, action, packets, rate }) => [
      ...[name, action, perSecond(rate?.packets), bits(rate?.bytes), formatCount(packets)],
    ]),
  }
}

/** Counts of entries that only observe, by the name of their list; bans last. */
const observedOf = ({ lists, observed_bans: bans }: Stats): (Count & { readonly name: string })[] => [
  ...lists.flatMap(({ name, observed }) => (observed ? [{ name, ...observed }] : [])),
  ...(bans && bans.packets > 0 ? [{ name: 'bans', ...bans }] : []),
]

/** Packets that observing entries would have dropped. */
function observedSection({ stats, previous, seconds }: Frame): Section {
  const before = byName(previous && observedOf(previous))
  const found = observedOf(stats).map((now) => ({
    ...now,
    rate: ratesOf(previous && (before.get(now.name) ?? NONE), now, seconds),
  }))
  return {
    columns: [left('WOULD DROP'), rateColumn('PACKETS/S'), rateColumn('BIT/S'), countColumn('PACKETS')],
    rows: busiest(found, packetsPerSecond).map(({ name, packets, rate }) => [
      ...[name, perSecond(rate?.packets), bits(rate?.bytes), formatCount(packets)],
    ]),
  }
}

/** Sections of the mitigations that the policy has. */
export const mitigationSections = (frame: Frame): Section[] =>
  [rateSection(frame), anomalySection(frame), observedSection(frame)].filter(({ rows }) => rows.length > 0)

/** `SYNs 12.3k/s   answering   answered 12.2k/s   completed 31/s   invalid 5/s`; nothing without protected ports. */
export function synLine({ stats, previous, seconds }: Frame): string[] {
  const now = stats.syn_protection
  if (now === undefined) return []
  const before = previous?.syn_protection
  const rate = (key: 'syns' | 'answered' | 'completed' | 'invalid'): string => {
    const count = (one: typeof now): Count => ({ packets: one[key], bytes: 0 })
    return `${perSecond(ratesOf(before && count(before), count(now), seconds)?.packets)}/s`
  }
  const state = now.answering ? 'answering' : 'not answering'
  const results = (['answered', 'completed', 'invalid'] as const).map((key) => `${key} ${rate(key)}`)
  return [`SYNs ${rate('syns')}   ${[state, ...results].join('   ')}`]
}
