// The anomalies that a packet meets on its way through a policy.

import type { Anomaly } from '../model/anomaly.ts'
import type { State } from '../model/state.ts'
import { metAnomalies } from './anomalies.ts'
import { type Circumstances, type Facts, type Ingress, judge } from './judge.ts'

/**
 * The anomalies of a packet that are looked for, in their order: the last one drops it, or none does. Those of a packet that
 * lists or bans decide are not.
 */
export function anomaliesMet(
  state: Pick<State, 'policy' | 'lists'>,
  facts: Facts,
  circumstances: Circumstances,
  ingress: Ingress,
): readonly Anomaly[] {
  const { lists, policy } = state
  if (facts.kind !== 'ip' || !policy || !ingress.roles.includes('filter')) return []
  const { reason } = judge({ lists, policy }, facts, { ...circumstances, own: false }, ingress)
  return ['allowlist', 'blocklist', 'ban'].includes(reason) ? [] : metAnomalies(policy, facts, ingress)
}
