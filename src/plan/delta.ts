// The difference of two lists by address, and the sums of it that reports show.

import type { AddressSet } from '../model/address.ts'
import { difference } from '../model/patch.ts'
import { countPrefixes } from '../model/prefixes.ts'
import { EMPTY_SET, equals, subtract, union } from '../model/ranges.ts'
import { type List, scopeKey } from '../model/state.ts'
import type { Change, ListDelta } from './change.ts'

const same = (left: AddressSet, right: AddressSet): boolean => equals(left.v4, right.v4) && equals(left.v6, right.v6)

/** Number of prefixes in the smallest set that covers the addresses. */
export const prefixCount = ({ v4, v6 }: AddressSet): number => countPrefixes(v4) + countPrefixes(v6)

/** The addresses of a list under all scopes together. */
export const everyAddress = ({ sets }: List): AddressSet =>
  sets.reduce((all, { addresses: { v4, v6 } }) => ({ v4: union(all.v4, v4), v6: union(all.v6, v6) }), EMPTY_SET)

/** Addresses that only the first list has. Ignores scopes: moving a prefix to a different scope is no loss. */
export function missing(from: List, to: List): AddressSet {
  const [before, after] = [everyAddress(from), everyAddress(to)]
  return { v4: subtract(before.v4, after.v4), v6: subtract(before.v6, after.v6) }
}

/** The addresses of a list by `scopeKey`, sorted by it; empty for undefined. */
export function addressesByScope(list: List | undefined): ReadonlyMap<string, AddressSet> {
  return new Map((list?.sets ?? []).map(({ scope, addresses }) => [scopeKey(scope), addresses]))
}

/** The addresses to add and remove per scope that differs, sorted by scope. */
export function listDelta(before: List | undefined, after: List | undefined): ListDelta {
  const left = addressesByScope(before)
  const right = addressesByScope(after)
  const scopes = [...new Set([...left.keys(), ...right.keys()])].sort()
  return scopes.flatMap((scope) => {
    const had = left.get(scope) ?? EMPTY_SET
    const wants = right.get(scope) ?? EMPTY_SET
    if (same(had, wants)) return []
    const [v4, v6] = [difference(had.v4, wants.v4), difference(had.v6, wants.v6)]
    return [{ scope, added: { v4: v4.added, v6: v6.added }, removed: { v4: v4.removed, v6: v6.removed } }]
  })
}

/** Sums over all scopes of all list changes. */
export function countDelta(changes: readonly Change[]): { readonly added: number; readonly removed: number } {
  let added = 0
  let removed = 0
  for (const { delta } of changes) {
    for (const part of delta ?? []) {
      added += prefixCount(part.added)
      removed += prefixCount(part.removed)
    }
  }
  return { added, removed }
}
