// Summarises changed lists: counts, and a few entries with the config line of each.

import type { AddressSet } from '../model/address.ts'
import type { Provenance } from '../model/desired.ts'
import { spanOf } from '../model/provenance.ts'
import { EMPTY_SET } from '../model/ranges.ts'
import { type List, scopeKey } from '../model/state.ts'
import type { Change } from '../plan/change.ts'
import { addressesByScope, prefixCount } from '../plan/delta.ts'
import { exactDelta, type Find, type Samples, typedDelta } from './typed.ts'

/** Most prefixes shown per direction. */
export const SAMPLES = 5

/** The changes in one scope of a list. Counts are of the fewest prefixes that cover the addresses. */
export interface ScopeSummary {
  readonly scope: string
  readonly before: number
  readonly after: number
  readonly added: number
  readonly removed: number
  readonly addedSamples: Samples
  readonly removedSamples: Samples
}

type ListChange = Extract<Change, { kind: 'list' }>

/** Finds entries of a list under a scope in the files of a config; undefined: it has none of that list. */
function finderIn(provenance: Provenance | undefined, list: List | undefined, scope: string): Find | undefined {
  if (provenance === undefined || list === undefined) return undefined
  const set = list.sets.findIndex((candidate) => scopeKey(candidate.scope) === scope)
  return set < 0 ? undefined : (family, words) => spanOf(provenance, list.name, family, words, set)
}

/**
 * The scopes that differ: as they were typed, with at most `most` samples per direction; without a limit exactly.
 *
 * @param earlier the places of entries before the change, if they are known
 */
export function summarizeList(
  change: ListChange,
  provenance: Provenance | undefined,
  most: number,
  earlier?: Provenance | undefined,
): ScopeSummary[] {
  const before = addressesByScope(change.before)
  const after = addressesByScope(change.after)
  return (change.delta ?? []).map(({ scope, added, removed }) => {
    const [had, has] = [before.get(scope) ?? EMPTY_SET, after.get(scope) ?? EMPTY_SET]
    const [find, found] = [finderIn(provenance, change.after, scope), finderIn(earlier, change.before, scope)]
    const isTyped = Number.isFinite(most) && most > 0 && (find !== undefined || found !== undefined)
    const nothing: Find = () => undefined
    const samples = isTyped
      ? typedDelta({ before: had, after: has, added, removed }, { after: find ?? nothing, before: found }, most)
      : { added: exactDelta(added, find, most), removed: exactDelta(removed, found, most) }
    const count = (addresses: AddressSet): number => prefixCount(addresses)
    return {
      scope,
      before: count(had),
      after: count(has),
      added: count(added),
      removed: count(removed),
      addedSamples: samples.added,
      removedSamples: samples.removed,
    }
  })
}
