// The pipeline of destroy: lock → observe → approve → detach and remove. It removes all owned objects and no others.

import { execute } from '../kernel/execute/execute.ts'
import { lowerDestroy } from '../kernel/execute/lower.ts'
import { requireHost } from '../kernel/host/host.ts'
import { removeLastApply } from '../kernel/host/last-apply.ts'
import { removeStandings } from '../kernel/host/standings.ts'
import { observe } from '../kernel/observe/observe.ts'
import { servedOf } from '../model/live.ts'
import { EMPTY_STATE } from '../model/state.ts'
import { guardNamespace } from '../plan/guard.ts'
import { planDestroy } from '../plan/plan.ts'
import { type Applied, type Approve, UNCHANGED } from './apply.ts'
import { forgetReverted, refusePending, settlePending } from './confirm.ts'
import { isIdle } from './prepare.ts'
import { type Host, interruptible, openSession, refuse, withLock } from './session.ts'

export const destroyInstance = (host: Host, approve: Approve): Promise<Applied | 'declined'> =>
  interruptible(host, () => destroyInSession(host, approve))

async function destroyInSession(host: Host, approve: Approve): Promise<Applied | 'declined'> {
  const session = await openSession(host, 'attachments')
  const { paths } = session
  return withLock(session, async () => {
    refusePending(await settlePending(session))
    const live = await observe(paths, host)
    refuse(guardNamespace(live))
    const plan = planDestroy(live)
    if (isIdle(plan, live)) {
      // Nothing is left either if the bpffs was unmounted while this command read it.
      await requireHost(host)
      await forgetReverted(host)
      return { plan, result: UNCHANGED, links: live.links, committed: undefined, served: servedOf(live) }
    }
    if (!(await approve(plan, live))) return 'declined'
    await execute(host, paths, lowerDestroy({ paths, plan, live }))
    await removeLastApply(host)
    await removeStandings(host)
    await forgetReverted(host)
    const applied = plan.changes.map(({ key }) => key)
    const served = { generation: 0, slots: plan.slots, leaving: [], services: EMPTY_STATE.services }
    return { plan, result: { ...UNCHANGED, changed: true, applied }, links: new Map(), committed: undefined, served }
  })
}
