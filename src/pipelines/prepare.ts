// From config and kernel to a plan: the first half of plan and apply.

import type { Target } from '../features/feature.ts'
import type { Early } from '../kernel/execute/early.ts'
import { isWatched } from '../kernel/host/lock.ts'
import { bansInForce } from '../kernel/live/bans.ts'
import { kernelRelease } from '../kernel/observe/needs.ts'
import { type Observation, observe } from '../kernel/observe/observe.ts'
import { type BpfObject, loadObject } from '../kernel/tools/object.ts'
import type { Desired } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import type { Plan } from '../plan/change.ts'
import type { Terms } from '../plan/feeds.ts'
import { guard, guardNamespace } from '../plan/guard.ts'
import { guardBans } from '../plan/guard-bans.ts'
import { plan } from '../plan/plan.ts'
import { guardRadius } from '../plan/radius.ts'
import { hasLimitBans, warnLimitBans } from '../plan/warn-rates.ts'
import { computing } from './computing.ts'
import { warnKernel } from './kernel.ts'
import type { Held } from './saved-plan.ts'
import { refuse, type Session } from './session.ts'

/** A plan with its inputs. */
export interface Made {
  /** With the cuts by the model. */
  readonly plan: Plan
  readonly live: Observation
  readonly object: BpfObject
  readonly terms: Terms
  /** Undefined: nothing changes. */
  readonly contacts: Target['contacts']
}

/** The plan as a report of drift. Guards and live connections do not matter: nothing is applied. Throws E201. */
export async function makeReport(
  { host, paths }: Session,
  desired: Desired,
  terms: Terms,
): Promise<Pick<Made, 'plan' | 'live'>> {
  host.progress?.('reading the live state')
  const [live, { program }] = await Promise.all([observe(paths, host, { state: desired.state }), loadObject()])
  refuse(guardNamespace(live))
  return { live, plan: await computing(host, () => plan(desired, live, program, terms)) }
}

/**
 * Observes, guards and plans. Throws XdpError if a guard refuses or the kernel cannot be read.
 *
 * @param early an observation that has already begun
 * @param held the saved plan that this one must equal
 */
export async function makePlan(
  session: Session,
  desired: Desired,
  terms: Terms,
  early?: Pick<Early, 'observe'>,
  held?: Held,
): Promise<Made> {
  const { host, paths } = session
  host.progress?.('reading the live state')
  const { state } = desired
  const read = (): Promise<Observation> => observe(paths, host, { state })
  const [live, object] = await Promise.all([early ? early.observe(state).catch(read) : read(), loadObject()])
  // A guard would report the consequence of a change, and this the change.
  await held?.checkLive(session, desired, live)
  refuse(guard(desired, live))
  host.progress?.('comparing')
  const made = await computing(host, () => plan(desired, live, object.program, terms))
  refuse(guardBans(made.state, bansInForce(live.instance)))
  refuse(guardRadius(desired, made, live.state, terms))
  held?.checkPlan(made)
  // Most plans change nothing, and do without the code that judges changes.
  const judging = made.changes.length > 0 ? await import('./judged.ts') : undefined
  const contacts = judging?.contactsOf(made, desired, live, object, terms)
  const judged = contacts && judging ? await judging.judgedPlan(session, desired, made, live, object, contacts) : made
  const isUnwatched = hasLimitBans(state) && !(await isWatched(host))
  const isOld = made.changes.length > 0 ? warnKernel(made.state, kernelRelease(), live.committed !== undefined) : []
  const warnings = [...isOld, ...judged.warnings, ...(isUnwatched ? warnLimitBans(desired) : [])]
  return { plan: { ...judged, warnings }, live, object, terms, contacts }
}

/** Whether there are records of interfaces that vanished or were detached, and that the plan does not attach. */
export const hasStaleRecords = ({ slots }: Plan, live: Live): boolean =>
  [...live.slots.interfaces.keys()].some((name) => !slots.interfaces.has(name))

/** Whether there is nothing to change and nothing to clean up. */
export const isIdle = (made: Plan, live: Live): boolean =>
  made.changes.length === 0 && live.leftovers.length === 0 && !hasStaleRecords(made, live)
