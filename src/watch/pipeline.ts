// The daemon's view of src/pipelines: keeps the last committed generation and a prepared apply, with which the next
// reconcile starts.

import { type Approve, applyDesired, beginApply, type Committed, type Early } from '../pipelines/apply.ts'
import { refuseReverted } from '../pipelines/confirm.ts'
import { refuseOverruled, refuseUnconfirmed } from '../pipelines/history.ts'
import { planDesired } from '../pipelines/plan.ts'
import type { Host } from '../pipelines/session.ts'
import { readAttachments, readServed } from '../pipelines/status.ts'
import type { Accepted } from '../plan/feeds.ts'
import type { Pipeline } from './reconciler.ts'

/** `accepted`: also what the daemon may cut. */
export function pipelineOf(host: Host, accepted: Accepted): Pipeline {
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
    if (host.kept?.nextHops) host.kept.nextHops = new Map()
  }
  return {
    check(desired) {
      forgetNextHops()
      return planDesired(host, desired, accepted)
    },
    async apply(desired, approve) {
      await refuseReverted(host, desired)
      await refuseUnconfirmed(host, desired)
      if (!early) forgetNextHops()
      // The end of a confirmation or a rollback may have come in between: it had the lock.
      const approveHere: Approve = async (plan, live) => {
        await refuseReverted(host, desired)
        await refuseOverruled(host, desired)
        return approve(plan, live)
      }
      const applied = await applyDesired(host, desired, approveHere, accepted, take())
      if (applied !== 'declined') last = applied.committed
      return applied
    },
    attachments: readAttachments,
    served: () => readServed(host),
    prepare({ state }) {
      early ??= beginApply(host, state, last)
    },
    dismiss: async () => take()?.end(),
  }
}
