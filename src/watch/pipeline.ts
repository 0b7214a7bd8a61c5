// The pipeline of src/reconcile.ts for a daemon, which keeps what the next reconcile can begin with.

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
  /** Of some changes nobody tells, as of what a path's MTU is found to be: only an edit goes by ways that are known. */
  const askForWays = (): void => {
    if (host.kept?.ways) host.kept.ways = new Map()
  }
  return {
    check(desired) {
      askForWays()
      return reconcilePlan(host, desired)
    },
    async apply(desired, approve) {
      if (!early) askForWays()
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
