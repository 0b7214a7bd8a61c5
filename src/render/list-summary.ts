// Summarises changed lists: counts, and a few prefixes with the config line of each.

import type { AddressSet, Ranges } from '../model/address.ts'
import type { Provenance } from '../model/desired.ts'
import { prefixes } from '../model/prefixes.ts'
import { originOf } from '../model/provenance.ts'
import { scopeKey } from '../model/state.ts'
import { formatAddress } from '../model/text.ts'
import type { Change } from '../plan/change.ts'
import { addressesByScope, prefixCount } from '../plan/delta.ts'

/** Most prefixes shown per direction. */
export const SAMPLES = 5

export interface Sample {
  readonly prefix: string
  /** `file:line`; undefined: not in the file. */
  readonly at: string | undefined
}

/** The changes in one scope of a list. Counts are of the fewest prefixes that cover the addresses. */
export interface ScopeSummary {
  readonly scope: string
  readonly before: number
  readonly after: number
  readonly added: number
  readonly removed: number
  readonly addedSamples: readonly Sample[]
  readonly removedSamples: readonly Sample[]
}

type ListChange = Extract<Change, { kind: 'list' }>
type Locate = (family: 4 | 6, words: Uint32Array) => string | undefined

function take(ranges: Ranges, most: number, locate: Locate): Sample[] {
  const { family } = ranges
  const samples: Sample[] = []
  if (most <= 0) return samples
  for (const { words, length } of prefixes(ranges)) {
    const address = formatAddress(family, words)
    const prefix = length === (family === 4 ? 32 : 128) ? address : `${address}/${length}`
    samples.push({ prefix, at: locate(family, words) })
    if (samples.length >= most) break
  }
  return samples
}

function sample({ v4, v6 }: AddressSet, most: number, locate: Locate): Sample[] {
  const first = take(v4, most, locate)
  return [...first, ...take(v6, most - first.length, locate)]
}

/** The scopes that differ, with at most `most` samples per direction. */
export function summarizeList(change: ListChange, provenance: Provenance | undefined, most: number): ScopeSummary[] {
  const before = addressesByScope(change.before)
  const after = addressesByScope(change.after)
  return (change.delta ?? []).map(({ scope, added, removed }) => {
    const set = change.after?.sets.findIndex((candidate) => scopeKey(candidate.scope) === scope)
    const name = change.after?.name
    const locate: Locate = (family, words) =>
      provenance && name !== undefined ? originOf(provenance, name, family, words, 0, set)?.at : undefined
    const count = (addresses: AddressSet | undefined): number => (addresses ? prefixCount(addresses) : 0)
    return {
      scope,
      before: count(before.get(scope)),
      after: count(after.get(scope)),
      added: prefixCount(added),
      removed: prefixCount(removed),
      addedSamples: sample(added, most, locate),
      removedSamples: sample(removed, most, () => undefined),
    }
  })
}
