// The order of changes in a plan. It is for the reader: all changes come into force together, with the switch of
// generations.

import type { Change } from './change.ts'

/**
 * Position in the order, in which an object follows those that it depends on: the program, the allowlists, the default
 * verdict and the blocklists (both need their exceptions), the services, the interfaces. Deletes come last, in the
 * opposite order.
 */
function rank(change: Change): number {
  const going = change.op === 'delete'
  switch (change.kind) {
    case 'program':
      return going ? 11 : 0
    case 'list':
      if ((change.after ?? change.before).kind === 'allowlist') return going ? 9 : 1
      return going ? 8 : 3
    case 'policy':
      return going ? 10 : 2
    case 'service':
      return going ? 7 : 4
    case 'interface':
      return going ? 6 : 5
    default:
      return change satisfies never
  }
}

/** Sorts changes by rank, then by key. */
export function order(changes: readonly Change[]): Change[] {
  return changes.toSorted((left, right) => rank(left) - rank(right) || (left.key < right.key ? -1 : 1))
}
