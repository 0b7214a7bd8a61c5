// The pipelines as a daemon uses them: it keeps what the next reconcile can begin with.

import { applyDesired, beginApply, type Committed, type Early } from '../pipelines/apply.ts'
import { planDesired } from '../pipelines/plan.ts'
import type { Host } from '../pipelines/session.ts'
import { readAttachments, readServed } from '../pipelines/status.ts'
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
      return planDesired(host, desired)
    },
    async apply(desired, approve) {
      if (!early) askForWays()
      const applied = await applyDesired(host, desired, approve, false, take())
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
