// The pipeline of destroy: lock → observe → approve → detach and remove. It removes all owned objects and no others.

import type { Paths } from '../abi/paths.ts'
import type { Diagnostic } from '../diagnostics.ts'
import { execute } from '../kernel/execute/execute.ts'
import { lowerDestroy } from '../kernel/execute/lower.ts'
import { requireHost } from '../kernel/host/host.ts'
import { removeLastApply } from '../kernel/host/last-apply.ts'
import { hasEnded } from '../kernel/host/namespaces.ts'
import { removeStandings } from '../kernel/host/standings.ts'
import { listBans as readBans } from '../kernel/live/ban-list.ts'
import { bansInForce, reachesBans } from '../kernel/live/bans.ts'
import { type Observation, observe } from '../kernel/observe/observe.ts'
import { servedOf } from '../model/live.ts'
import { plural } from '../model/numbers.ts'
import { EMPTY_STATE } from '../model/state.ts'
import { compareAddresses, formatRange } from '../model/text.ts'
import { guardNamespace } from '../plan/guard.ts'
import { planDestroy } from '../plan/plan.ts'
import { type Applied, type Approve, UNCHANGED } from './apply.ts'
import { forgetSavedBans } from './ban-keep.ts'
import { forgetReverted, refusePending, settlePending } from './confirm.ts'
import { isIdle } from './prepare.ts'
import { type Host, interruptible, openSession, refuse, withLock } from './session.ts'

export const destroyInstance = (host: Host, approve: Approve): Promise<Applied | 'declined'> =>
  interruptible(host, () => destroyInSession(host, approve))

/** Most bans that are listed; of more the number is enough. */
const FEW = 1000
const SAMPLES = 5

/** The bans that end with everything else. */
async function endingBans(paths: Paths, { instance, committed }: Observation): Promise<Diagnostic[]> {
  const count = bansInForce(instance)
  if (count === 0 || !reachesBans(committed)) return []
  const bans = count > FEW ? [] : await readBans(paths, committed.number, false)
  bans.sort(({ prefix: a }, { prefix: b }) => a.family - b.family || compareAddresses(a.start, b.start))
  const titles = bans.slice(0, SAMPLES).map(({ prefix: { family, start, end }, by }) => {
    return `${formatRange(family, start, end)}${by === '' ? '' : ` by ${by}`}`
  })
  const some = titles.length === 0 ? '' : `: ${titles.join(', ')}${count > titles.length ? ' and others' : ''}`
  const message = `${plural(count, 'ban')} in force ${count === 1 ? 'ends' : 'end'} with everything else${some}`
  return [{ code: 'W252', severity: 'warning', message, hint: '`xdp bans --json` lists them' }]
}

/**
 * Refuses an instance of another network namespace, unless that has ended: then only pins are left, or its devices came here
 * with their programs.
 */
function refuseOther(live: Observation): void {
  const refused = guardNamespace(live)
  if (refused.length > 0 && (live.netns === undefined || !hasEnded(live.netns))) refuse(refused)
}

async function destroyInSession(host: Host, approve: Approve): Promise<Applied | 'declined'> {
  const session = await openSession(host, 'attachments')
  const { paths } = session
  return withLock(session, async () => {
    refusePending(await settlePending(session))
    const live = await observe(paths, host)
    refuseOther(live)
    const planned = planDestroy(live)
    const plan = { ...planned, warnings: [...planned.warnings, ...(await endingBans(paths, live))] }
    if (isIdle(plan, live)) {
      // Nothing is left either if the bpffs was unmounted while this command read it.
      await requireHost(host)
      await forgetReverted(host)
      return { plan, result: UNCHANGED, links: live.links, committed: undefined, served: servedOf(live) }
    }
    if (!(await approve(plan, live))) return 'declined'
    await execute(host, paths, lowerDestroy({ paths, plan, live }))
    await forgetSavedBans(host)
    await removeLastApply(host)
    await removeStandings(host)
    await forgetReverted(host)
    const applied = plan.changes.map(({ key }) => key)
    const served = { generation: 0, slots: plan.slots, leaving: [], services: EMPTY_STATE.services }
    return { plan, result: { ...UNCHANGED, changed: true, applied }, links: new Map(), committed: undefined, served }
  })
}
