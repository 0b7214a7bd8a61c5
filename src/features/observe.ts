// Entries of blocklists with `action: observe`: counters of what they would drop, by list slot (bpf/include/observe.h).

import { counterCodec, LIST_SLOTS, sourceRegistersCodec } from '../abi/generated.ts'
import { arrayMap, perCpuMap } from '../abi/paths.ts'
import { observes } from '../model/scope.ts'
import type { List } from '../model/state.ts'
import type { Metric } from '../report/metric.ts'
import type { ListStatus } from '../report/result.ts'
import type { Feature, Lowering } from './feature.ts'
import type { Step } from './step.ts'

const maps = {
  stats: perCpuMap('observe_stats', counterCodec.size, LIST_SLOTS),
  sources: arrayMap('observe_sources', sourceRegistersCodec.size, LIST_SLOTS),
} as const

const counter = (
  name: Metric['name'],
  help: string,
  value: (observed: NonNullable<ListStatus['observed']>) => number,
): Metric => ({
  name,
  type: 'counter',
  help,
  labels: ['list'],
  samples: ({ stats }) =>
    stats.lists.flatMap(({ name: list, observed }) => (observed ? [[[list], value(observed)]] : [])),
})

const METRICS: readonly Metric[] = [
  counter(
    'xdp_list_observed_packets_total',
    'Packets that entries of a list with `action: observe` matched: they would have been dropped.',
    ({ packets }) => packets,
  ),
  counter('xdp_list_observed_bytes_total', 'Bytes of these packets.', ({ bytes }) => bytes),
]

export const OBSERVE = {
  name: 'observe',
  maps,
  programs: {},
  parts: { observe: ({ lists }) => [...lists.values()].some(observes) },
  reasons: ['observed'],
  needs: [],
  prepare: (lowering) => zeroCounters(lowering),
  metrics: METRICS,
} as const satisfies Feature

type Lists = ReadonlyMap<string, List>

/** Slots of lists that begin to observe, or have another slot: their counters begin at zero. */
export const beginning = (
  before: { readonly lists: Lists; readonly slots: ReadonlyMap<string, number> },
  after: { readonly lists: Lists; readonly slots: ReadonlyMap<string, number> },
): number[] =>
  [...after.lists.values()].flatMap((list) => {
    const slot = after.slots.get(list.name)
    const previous = before.lists.get(list.name)
    const goesOn = previous !== undefined && observes(previous) && before.slots.get(list.name) === slot
    return slot === undefined || goesOn || !observes(list) ? [] : [slot]
  })

/** A map that does not exist yet will hold zeros. */
function zeroCounters({ paths, live, plan }: Lowering): Step[] {
  const present = [maps.stats, maps.sources].filter((shape) => !live.instance.missing.includes(shape))
  return beginning(
    { lists: live.state.lists, slots: live.slots.lists },
    { lists: plan.state.lists, slots: plan.slots.lists },
  ).flatMap((slot): Step[] =>
    present.map((shape) => ({
      kind: 'zero-counter',
      map: paths.sharedMap(shape),
      slot,
      size: shape.valueSize,
    })),
  )
}
