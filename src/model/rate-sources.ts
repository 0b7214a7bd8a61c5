// The sources of rate limits, wherever a state has them.

import type { AddressSet } from './address.ts'
import { EMPTY_SET } from './ranges.ts'
import { type RateLimit, sourcesList } from './rate-limit.ts'
import type { List, State } from './state.ts'

/** The sources that a limit counts; undefined: every source. */
export function sourcesOf({ name, sources }: RateLimit, lists: State['lists']): AddressSet | undefined {
  if (sources !== 'list') return sources
  const [set] = lists.get(sourcesList(name))?.sets ?? []
  return set?.addresses ?? EMPTY_SET
}

/** Whether a list decides about packets, and is not one of sources. */
export const decides = ({ kind }: Pick<List, 'kind'>): boolean => kind !== 'sources'
