// The order of changes in a plan. It is for the reader: all changes come into force together, with the switch of
// generations.

import type { ListKind } from '../model/state.ts'
import type { Change } from './change.ts'

const LISTS: Readonly<Record<ListKind, { readonly coming: number; readonly going: number }>> = {
  allowlist: { coming: 1, going: 11 },
  blocklist: { coming: 3, going: 10 },
  // A limit follows its sources.
  sources: { coming: 3.5, going: 9.5 },
}

/**
 * Position in the order, in which an object follows those that it depends on: the program, the allowlists, the default
 * verdict and the blocklists (both need their exceptions), the rate limits, the services, the interfaces. Deletes come
 * last, in the opposite order.
 */
function rank(change: Change): number {
  const going = change.op === 'delete'
  switch (change.kind) {
    case 'program':
      return going ? 13 : 0
    case 'list':
      return LISTS[(change.after ?? change.before).kind][going ? 'going' : 'coming']
    case 'policy':
      return going ? 12 : 2
    case 'rate_limit':
      return going ? 9 : 4
    case 'service':
      return going ? 8 : 5
    case 'interface':
      return going ? 7 : 6
    default:
      return change satisfies never
  }
}

/** Rate limits judge in the order of the file; others have no order. */
const positionOf = (change: Change): number =>
  change.kind === 'rate_limit' ? (change.after ?? change.before).position : 0

/** Sorts changes by rank, then by position, then by key. */
export function order(changes: readonly Change[]): Change[] {
  return changes.toSorted(
    (left, right) =>
      rank(left) - rank(right) || positionOf(left) - positionOf(right) || (left.key < right.key ? -1 : 1),
  )
}
