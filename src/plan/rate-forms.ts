// The form of a limit's sources: in the limit, or in a list. It is a matter of their number and of where the file has them
// from, and says nothing about packets.

import { EMPTY_SET, equals } from '../model/ranges.ts'
import { type RateLimit, sourcesList } from '../model/rate-limit.ts'
import { sourcesOf } from '../model/rate-sources.ts'
import type { State } from '../model/state.ts'

type Part = Pick<State, 'lists' | 'rateLimits'>

function isSame(name: string, before: Part, after: Part): boolean {
  const [left, right] = [before.rateLimits?.get(name), after.rateLimits?.get(name)]
  if (!left?.sources || !right?.sources || (left.sources === 'list') === (right.sources === 'list')) return false
  const [had, has] = [sourcesOf(left, before.lists) ?? EMPTY_SET, sourcesOf(right, after.lists) ?? EMPTY_SET]
  return equals(had.v4, has.v4) && equals(had.v6, has.v6)
}

/**
 * The lists and limits of a state, with the sources of equal ones in the form that another state has.
 *
 * @param drifted limits that are to be written anyway
 */
export function inFormOf(before: Part, after: Part, drifted: (name: string) => boolean): Part {
  const names = [...(after.rateLimits?.keys() ?? [])].filter((name) => !drifted(name) && isSame(name, before, after))
  if (names.length === 0) return after
  const [lists, rateLimits] = [new Map(after.lists), new Map(after.rateLimits)]
  for (const name of names) {
    const list = before.lists.get(sourcesList(name))
    if (list) lists.set(list.name, list)
    else lists.delete(sourcesList(name))
    rateLimits.set(name, { ...(rateLimits.get(name) as RateLimit), sources: before.rateLimits?.get(name)?.sources })
  }
  return { lists, rateLimits }
}
