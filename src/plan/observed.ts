// Lists whose entries observed and are to drop: what these would have dropped since they began to observe.

import { scopeKey } from '../model/state.ts'
import type { Change, Observed, Plan } from './change.ts'

/** Whether entries of a list that only observe are to drop. */
export function beginsToDrop(change: Change): boolean {
  if (change.kind !== 'list' || change.op !== 'update') return false
  const after = new Set(change.after.sets.map(({ scope }) => scopeKey(scope)))
  return change.before.sets.some(({ scope: { action, ...dropping } }) => action && after.has(scopeKey(dropping)))
}

/** Names of such lists. */
export const listsThatBegin = ({ changes }: Pick<Plan, 'changes'>): readonly string[] =>
  changes.flatMap((change) =>
    change.kind === 'list' && change.after && beginsToDrop(change) ? [change.after.name] : [],
  )

/** The plan with what the lists have observed, by name. */
export const withObserved = (plan: Plan, counts: ReadonlyMap<string, Observed>): Plan => ({
  ...plan,
  changes: plan.changes.map((change) => {
    const observed = change.kind === 'list' && beginsToDrop(change) ? counts.get(change.after?.name ?? '') : undefined
    return observed ? { ...change, observed } : change
  }),
})
