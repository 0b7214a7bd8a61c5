// Random states whose rate limits have lists of sources.

import { EMPTY_SET } from '../../src/model/ranges.ts'
import { type RateLimit, sourcesList } from '../../src/model/rate-limit.ts'
import type { List, State } from '../../src/model/state.ts'
import { ANY } from './lists.ts'
import { type Random, randomAddresses } from './random.ts'

/** The list of a limit's sources; no set if it has none. */
export function listOfSources(limit: string, addresses = EMPTY_SET): List {
  const isEmpty = addresses.v4.length + addresses.v6.length === 0
  return { kind: 'sources', name: sourcesList(limit), sets: isEmpty ? [] : [{ scope: ANY, addresses }] }
}

/** The state with some of its limits counting the sources of a list. */
export function withSourceLists(random: Random, state: State): State {
  const [lists, rateLimits] = [new Map(state.lists), new Map<string, RateLimit>()]
  for (const [name, limit] of state.rateLimits ?? []) {
    const hasList = random.chance(0.6)
    rateLimits.set(name, hasList ? { ...limit, sources: 'list' } : limit)
    if (!hasList) continue
    const list = listOfSources(name, randomAddresses(random, random.pick([0, 1, 3, 90])))
    lists.set(list.name, list)
  }
  return { ...state, lists, ...(rateLimits.size > 0 && { rateLimits }) }
}
