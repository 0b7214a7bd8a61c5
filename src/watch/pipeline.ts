// The daemon's view of src/pipelines/reconcile.ts: keeps the last committed generation and a prepared apply, with which
// the next reconcile starts.

import {
  type Committed,
  type Early,
  type Host,
  readAttachments,
  readServed,
  reconcileApply,
  reconcileEarly,
  reconcilePlan,
} from '../pipelines/reconcile.ts'
import type { Pipeline } from './reconciler.ts'

export function pipelineOf(host: Host): Pipeline {
  let early: Early | undefined
  let last: Committed | undefined
  const take = (): Early | undefined => {
    const taken = early
    early = undefined
    return taken
  }
  /**
   * Some changes make no event, such as a newly found path MTU. So only an edit may use known next hops; every other
   * reconcile resolves them again.
   */
  const forgetNextHops = (): void => {
    if (host.kept?.ways) host.kept.ways = new Map()
  }
  return {
    check(desired) {
      forgetNextHops()
      return reconcilePlan(host, desired)
    },
    async apply(desired, approve) {
      if (!early) forgetNextHops()
      const applied = await reconcileApply(host, desired, approve, false, take())
      if (applied !== 'declined') last = applied.committed
      return applied
    },
    attachments: readAttachments,
    served: () => readServed(host),
    prepare({ state }) {
      early ??= reconcileEarly(host, state, last)
    },
    dismiss: async () => take()?.end(),
  }
}
