// A plan in a few numbers, and its changes without their objects.

import type { Change, Op } from './change.ts'
import { countDelta } from './delta.ts'

/** Counts changes by op, and the prefixes that lists gain and lose. */
export function summaryOf(changes: readonly Change[]) {
  const count = (op: Op): number => changes.filter((change) => change.op === op).length
  const { added, removed } = countDelta(changes)
  return {
    create: count('create'),
    update: count('update'),
    delete: count('delete'),
    replace: count('replace'),
    prefixes_added: added,
    prefixes_removed: removed,
  }
}

/** Most changes of a brief. */
const MOST = 200

export const briefOf = (changes: readonly Change[]) => ({
  summary: summaryOf(changes),
  changes: changes.slice(0, MOST).map(({ op, key, impact, reason }) => ({ op, key, impact, reason })),
  omitted: Math.max(0, changes.length - MOST),
})
