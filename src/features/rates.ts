// Rate limits: their counters, and the buckets of their keys, which generations hand on (bpf/include/rate.h).

import { ran } from '../abi/answer.ts'
import { type Part, plainRun } from '../abi/command.ts'
import {
  flowKeysCodec,
  LINE_SIZE,
  RATE_LIMITS,
  RATE_OFFENDERS_A_SET,
  rateCounterCodec,
  rateOffenderCodec,
} from '../abi/generated.ts'
import { arrayMap, type MapShape, MMAPABLE, perCpuMap } from '../abi/paths.ts'
import type { Slots } from '../model/live.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import type { Metric, Report, Sample } from '../report/metric.ts'
import type { RateStatus } from '../report/result.ts'
import type { Image } from '../tables/layout/layout.ts'
import { bucketLines, bucketsOfEach, offenderSetsOf, rateLinesOf, sameBuckets } from '../tables/rates/rates.ts'
import { type Feature, gauges, type Lowering, liveMap, type NewGeneration } from './feature.ts'
import { newlyOwned } from './filter.ts'
import type { Carrying, LineRange, Step } from './step.ts'

/** Names of the maps of a generation. */
export const RATE_MAPS = { buckets: 'rate_buckets', keys: 'rate_keys', offenders: 'rate_offenders' } as const

/** Maps of a generation, sized for its limits; one line of buckets without any. */
export const rateMaps = ({ sections }: Pick<Image, 'sections'>) => ({
  buckets: arrayMap(RATE_MAPS.buckets, LINE_SIZE, rateLinesOf(sections.SETTINGS), MMAPABLE),
  keys: arrayMap(RATE_MAPS.keys, flowKeysCodec.size, 1),
  offenders: arrayMap(
    RATE_MAPS.offenders,
    rateOffenderCodec.size * RATE_OFFENDERS_A_SET,
    offenderSetsOf(sections.SETTINGS),
  ),
})

const maps = { stats: perCpuMap('rate_stats', rateCounterCodec.size, RATE_LIMITS) } as const
const programs = { count: 'rate_count', reports: 'rate_reports' } as const

/** A larger map of buckets will do: with as many for each limit, its slot alone decides where they are. */
const fits = ({ name, entries }: MapShape, existing: number): boolean =>
  entries === 1 || name !== RATE_MAPS.buckets
    ? existing === entries
    : existing >= entries && sameBuckets(existing, entries)

const byLimit =
  (value: (status: RateStatus) => number) =>
  ({ stats }: Report): readonly Sample[] =>
    stats.rate_limits.map((status): Sample => [[status.name], value(status)])

const counter = (name: Metric['name'], help: string, value: (status: RateStatus) => number): Metric => ({
  name,
  type: 'counter',
  help,
  labels: ['limit'],
  samples: byLimit(value),
})

const METRICS: readonly Metric[] = [
  counter('xdp_rate_limit_packets_total', 'Packets that a rate limit counted.', ({ packets }) => packets),
  counter('xdp_rate_limit_bytes_total', 'Bytes of these packets.', ({ bytes }) => bytes),
  counter(
    'xdp_rate_limit_exceeding_packets_total',
    'Packets that exceeded the rate: dropped, or with `action: observe` only counted.',
    ({ exceeding_packets }) => exceeding_packets,
  ),
  counter('xdp_rate_limit_exceeding_bytes_total', 'Bytes of these packets.', ({ exceeding_bytes }) => exceeding_bytes),
  counter('xdp_rate_limit_bans_total', 'Bans of sources that exceeded a rate limit.', ({ bans }) => bans),
]

export const RATES = {
  name: 'rates',
  maps,
  ownMaps: {
    names: Object.values(RATE_MAPS),
    shapes: (image) => Object.values(rateMaps(image)),
    fits,
    secret: [RATE_MAPS.keys],
  },
  programs,
  parts: {
    rates: ({ rateLimits }) => (rateLimits?.size ?? 0) > 0,
    rate_sources: ({ rateLimits }) => [...(rateLimits?.values() ?? [])].some(({ sources }) => sources === 'list'),
    rate_bans: ({ rateLimits }) => [...(rateLimits?.values() ?? [])].some(({ ban }) => ban),
  },
  reasons: ['rate-limit'],
  needs: [],
  prepare: (lowering: Lowering) => [
    ...zeroCounters(lowering, lowering.live.slots, lowering.plan.slots),
    ...zeroObserving(lowering),
  ],
  reverting: (lowering: Lowering) => zeroCounters(lowering, lowering.plan.slots, lowering.live.slots),
  gauges: gauges({
    rows: {
      rate_buckets:
        'buckets of rate limits that are in use at the moment; only with limits. Two keys with one bucket in common are ' +
        'harmless; a table that is full for longer than a flood is too small: see `limits.rate_buckets`',
    },
    part: ({ paths, generation, programs: pinned }): Part<number> | undefined =>
      pinned.has(programs.count)
        ? { commands: [plainRun(paths.program(generation, programs.count))], finish: ([output]) => ran(output).retval }
        : undefined,
    // The map has room for more limits than there are, and one with `per: all` needs no table.
    fill: (used, { generation: { ownMaps }, rateLimits }) => {
      const buckets = bucketsOfEach(ownMaps.get(RATE_MAPS.buckets)?.entries ?? 1)
      const capacity = rateLimits.filter(({ per }) => per !== 'all').length * buckets
      return capacity === 0 ? [] : [{ name: 'rate_buckets', used: Math.min(used, capacity), capacity }]
    },
  }),
  metrics: METRICS,
} as const satisfies Feature

/** Whether both limits count by equal keys, so that buckets of one mean the same to the other. */
const countsAlike = (before: RateLimit | undefined, { per, prefix }: RateLimit): boolean =>
  before?.per === per && before.prefix.v4 === prefix.v4 && before.prefix.v6 === prefix.v6

/**
 * The buckets to carry over into a larger map, in which limits that stay have theirs at the same places; in a map that is handed
 * on, those to empty: a new limit is not to begin with what the one before it in its slot has used.
 */
export function carriedRates({ paths, plan, live, target }: NewGeneration): Carrying[] {
  const { buckets: shape } = rateMaps(target.image)
  const before = liveMap(paths, live, shape.name)
  if (before === undefined || before.entries === 1 || shape.entries === 1) return []
  if (!sameBuckets(before.entries, shape.entries)) return []
  const isHandedOn = fits(shape, before.entries)
  const chosen = [...(plan.state.rateLimits?.values() ?? [])].flatMap((limit): LineRange[] => {
    const slot = plan.slots.rates?.get(limit.name)
    if (slot === undefined) return []
    const isKept =
      live.slots.rates?.get(limit.name) === slot && countsAlike(live.state.rateLimits?.get(limit.name), limit)
    const count = bucketLines(limit.buckets)
    return isKept === isHandedOn ? [] : [{ first: slot * count, count }]
  })
  if (chosen.length === 0) return []
  const to = paths.ownMap(target.generation, shape)
  return [{ map: isHandedOn ? 'freedBuckets' : 'rateBuckets', from: isHandedOn ? to : before.pin, to, ranges: chosen }]
}

type CounterSlots = Pick<Slots, 'rates'>

/** Zeroes the counters of slots with a new owner; a map that does not exist yet will hold zeros. */
function zeroCounters({ paths, live }: Lowering, before: CounterSlots, after: CounterSlots): Step[] {
  if (live.instance.missing.includes(maps.stats)) return []
  return newlyOwned(before.rates ?? new Map(), after.rates ?? new Map()).map(zeroed(paths))
}

const zeroed =
  (paths: Lowering['paths']) =>
  (slot: number): Step => ({
    kind: 'zero-counter',
    map: paths.sharedMap(maps.stats),
    slot,
    size: rateCounterCodec.size,
  })

/** Counters of limits that begin to observe start at zero: they say what the limit would drop. */
function zeroObserving({ paths, live, plan }: Lowering): Step[] {
  if (live.instance.missing.includes(maps.stats)) return []
  const slots = [...(plan.state.rateLimits?.values() ?? [])].flatMap(({ name, action }) => {
    const before = live.state.rateLimits?.get(name)?.action
    const slot = plan.slots.rates?.get(name)
    return action === 'observe' && before === 'drop' && slot === live.slots.rates?.get(name) ? (slot ?? []) : []
  })
  return slots.map(zeroed(paths))
}
