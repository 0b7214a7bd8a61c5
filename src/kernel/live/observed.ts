// Packets that lists, rate limits and anomalies would have dropped while they observed.

import { bytes, record } from '../../abi/answer.ts'
import { bpftool, keyBytes } from '../../abi/command.ts'
import { sourceRegistersCodec } from '../../abi/generated.ts'
import type { Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { OBSERVE } from '../../features/observe.ts'
import { ANOMALY_NAMES } from '../../model/anomaly.ts'
import { distinctSources } from '../../model/distinct.ts'
import type { Live, ObjectKey } from '../../model/live.ts'
import type { Beginning, Observed } from '../../model/observed.ts'
import { askBatch } from '../tools/bpftool.ts'
import { readAnomalyCounters, readObserved, readRateCounters } from './service-counters.ts'

/** About how many sources the lists in these slots have observed; empty: the build in force counts none. */
async function readSources(
  paths: Paths,
  { missing }: Pick<Instance, 'missing'>,
  slots: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const shape = OBSERVE.maps.sources
  if (slots.length === 0 || missing.includes(shape)) return new Map()
  const map = paths.sharedMap(shape)
  const entries = await askBatch(
    record({ value: bytes(sourceRegistersCodec.size) }),
    slots.map((slot) => bpftool('map', 'lookup', 'pinned', map, 'key', ...keyBytes(slot))),
  )
  return new Map(slots.map((slot, i) => [slot, distinctSources(entries[i]?.value ?? new Uint8Array())]))
}

/** The packets that these would have dropped, by the key of their object. `instance`: as it was when `live` was read. */
export async function readWouldDrop(
  paths: Paths,
  live: Pick<Live, 'slots'> & { readonly generation: number; readonly instance: Pick<Instance, 'missing'> },
  { lists, limits, anomalies }: Beginning,
): Promise<ReadonlyMap<ObjectKey, Observed>> {
  const { generation, instance, slots } = live
  const slotsOf = (names: readonly string[], known: ReadonlyMap<string, number> | undefined): [string, number][] =>
    names.flatMap((name) => {
      const slot = known?.get(name)
      return slot === undefined ? [] : [[name, slot]]
    })
  const [ofLists, ofLimits] = [slotsOf(lists, slots.lists), slotsOf(limits, slots.rates)]
  const numbers = (found: readonly [string, number][]): number[] => found.map(([, slot]) => slot)
  const ranks = anomalies.map((name) => ANOMALY_NAMES.indexOf(name))
  const [matched, sources, exceeded, anomalous] = await Promise.all([
    readObserved(paths, generation, numbers(ofLists)),
    readSources(paths, instance, numbers(ofLists)),
    readRateCounters(paths, generation, numbers(ofLimits)),
    readAnomalyCounters(paths, generation, ranks),
  ])
  const found = new Map<ObjectKey, Observed>()
  for (const [name, slot] of ofLists) {
    const count = matched.get(slot)
    if (count) found.set(`list:${name}`, { ...count, sources: sources.get(slot) })
  }
  for (const [name, slot] of ofLimits) {
    const count = exceeded.get(slot)
    if (count) found.set(`rate_limit:${name}`, { packets: count.exceeding_packets, bytes: count.exceeding_bytes })
  }
  const each = anomalies.flatMap((name, i) => {
    const count = anomalous.get(ranks[i] as number)
    // Packets dropped before it observed do not count.
    return count
      ? [{ name, packets: count.packets - count.dropped_packets, bytes: count.bytes - count.dropped_bytes }]
      : []
  })
  if (each.length > 0) {
    const sum = (unit: 'packets' | 'bytes') => each.reduce((total, one) => total + one[unit], 0)
    found.set('policy', { packets: sum('packets'), bytes: sum('bytes'), anomalies: each })
  }
  return found
}
