// Lists, rate limits and anomalies that observed and are to drop: what they would have dropped since they began to observe.

import { type AnomalyName, parseAnomaly } from '../model/anomaly.ts'
import type { ObjectKey } from '../model/live.ts'
import type { Beginning, Observed } from '../model/observed.ts'
import type { Policy } from '../model/policy.ts'
import { type List, scopeKey } from '../model/state.ts'
import type { Change, Plan } from './change.ts'

const NOTHING: Beginning = { lists: [], limits: [], anomalies: [] }

function listsOf(before: List, { name, sets }: List): readonly string[] {
  const after = new Set(sets.map(({ scope }) => scopeKey(scope)))
  const begins = before.sets.some(({ scope: { action, ...dropping } }) => action && after.has(scopeKey(dropping)))
  return begins ? [name] : []
}

function anomaliesOf(before: Policy, after: Policy): readonly AnomalyName[] {
  const dropped = new Set(
    after.anomalies
      .map(parseAnomaly)
      .filter(({ action }) => action === 'drop')
      .map(({ name }) => name),
  )
  return before.anomalies
    .map(parseAnomaly)
    .flatMap(({ name, action }) => (action === 'observe' && dropped.has(name) ? [name] : []))
}

function beginningOf(change: Change): Partial<Beginning> {
  if (change.op !== 'update') return {}
  if (change.kind === 'list') return { lists: listsOf(change.before, change.after) }
  if (change.kind === 'policy') return { anomalies: anomaliesOf(change.before, change.after) }
  const { kind, before, after } = change
  return kind === 'rate_limit' && before.action === 'observe' && after.action === 'drop' ? { limits: [after.name] } : {}
}

/** Lists, limits and anomalies that only observed, and drop with the plan. */
export const beginningToDrop = ({ changes }: Pick<Plan, 'changes'>): Beginning =>
  changes.map(beginningOf).reduce<Beginning>(
    (all, { lists = [], limits = [], anomalies = [] }) => ({
      lists: [...all.lists, ...lists],
      limits: [...all.limits, ...limits],
      anomalies: [...all.anomalies, ...anomalies],
    }),
    NOTHING,
  )

/** The number of sources is an estimate, and there are no more of them than packets. */
const withoutExcess = (observed: Observed): Observed =>
  observed.sources === undefined ? observed : { ...observed, sources: Math.min(observed.sources, observed.packets) }

/** The plan with what these objects have observed. */
export const withObserved = (plan: Plan, counts: ReadonlyMap<ObjectKey, Observed>): Plan => ({
  ...plan,
  changes: plan.changes.map((change) => {
    const observed = counts.get(change.key)
    return observed ? { ...change, observed: withoutExcess(observed) } : change
  }),
})
