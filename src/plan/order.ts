// The order of changes, as traffic would want it if they came in force one by one.

import type { Change } from './change.ts'

/**
 * Position in the order. While something comes into being, what lets packets through comes first: the program that
 * judges, then the allowlists, then a default verdict that may turn to `drop`, then the blocklists, the services behind
 * them, and only then the interfaces, so that no packet ever meets a program without its tables, a drop whose exception
 * is not yet there, or half a policy. What goes away goes in the opposite order: interfaces are detached before the tables behind them
 * are freed, services before what protects them, blocklists go before the allowlists that make exceptions from them, the program goes last. Deletes come
 * after everything else, because what takes an object's place must stand before the object falls.
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

/** The changes in the order in which they are carried out; within one rank by key. */
export function order(changes: readonly Change[]): Change[] {
  return changes.toSorted((left, right) => rank(left) - rank(right) || (left.key < right.key ? -1 : 1))
}
