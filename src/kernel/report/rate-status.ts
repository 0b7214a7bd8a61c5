// Rate limits in `xdp status` and `xdp stats`: what they have counted. Without limits it costs nothing.

import type { Paths } from '../../abi/paths.ts'
import { countPrefixes } from '../../model/prefixes.ts'
import { type RateLimit, sourcesList } from '../../model/rate-limit.ts'
import type { List } from '../../model/state.ts'
import type { RateStatus } from '../../report/result.ts'
import { readRateCounters } from '../live/service-counters.ts'

/** The number of the sources that a limit compares itself; empty: it counts those of a list, or every source. */
export const ownSources = (sources: RateLimit['sources']): Pick<RateStatus, 'sources'> =>
  typeof sources === 'object' ? { sources: countPrefixes(sources.v4) + countPrefixes(sources.v6) } : {}

/** Limits in the order in which packets meet them, with their counters. */
export async function rateStatus(
  paths: Paths,
  generation: number,
  limits: ReadonlyMap<string, RateLimit>,
  slots: ReadonlyMap<string, number>,
): Promise<RateStatus[]> {
  const ordered = [...limits.values()].sort((a, b) => a.position - b.position)
  const known = ordered.flatMap((limit) => {
    const slot = slots.get(limit.name)
    return slot === undefined ? [] : [{ limit, slot }]
  })
  const counters = await readRateCounters(
    paths,
    generation,
    known.map(({ slot }) => slot),
  )
  const none = { packets: 0, bytes: 0, exceeding_packets: 0, exceeding_bytes: 0, bans: 0 }
  return known.map(({ limit: { name, per, action, sources }, slot }) => ({
    ...{ name, per, action },
    ...ownSources(sources),
    ...(counters.get(slot) ?? none),
  }))
}

/** Limits with the number of their sources, of those that have a list of them too. */
export function withSources(
  limits: readonly RateStatus[],
  lists: readonly (Pick<List, 'name'> & { readonly prefixes: number })[],
): RateStatus[] {
  const prefixes = new Map(lists.map((list) => [list.name, list.prefixes]))
  return limits.map((limit) => {
    const sources = prefixes.get(sourcesList(limit.name))
    return sources === undefined ? limit : { ...limit, sources }
  })
}
