// The pipeline of plan: observe → guard → diff, and → lower if the commands are requested.

import type { Desired } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import type { PlanBasis } from '../model/saved-plan.ts'
import type { Plan } from '../plan/change.ts'
import { type Accepted, NONE_ACCEPTED } from '../plan/feeds.ts'
import { isIdle, type Made, makePlan, makeReport } from './prepare.ts'
import { type Host, interruptible, now, openSession, type Session } from './session.ts'

export interface Planned {
  readonly plan: Plan
  readonly live: Live
  readonly inSync: boolean
  /** Computes the commands that apply would run. */
  readonly commands: () => Promise<readonly string[]>
  /** The basis of a saved plan; only if the caller asked for it. */
  readonly basis: PlanBasis | undefined
}

/**
 * Makes the plan that apply would carry out.
 *
 * @param accepted which untrusted feeds to take
 * @param isSaved whether to read its basis, for a saved plan
 * @throws XdpError if a guard refuses or the kernel cannot be read
 */
export function planDesired(host: Host, desired: Desired, accepted = NONE_ACCEPTED, isSaved = false): Promise<Planned> {
  return interruptible(host, () => planInSession(host, desired, accepted, isSaved))
}

/** The plan without guards, whose changes of drifted objects show what an apply would revert. */
export function reportDrift(host: Host, desired: Desired, accepted: Accepted): Promise<Pick<Planned, 'plan' | 'live'>> {
  return interruptible(host, async () =>
    makeReport(await openSession(host, 'pins'), desired, { now: now(), ...accepted }),
  )
}

async function planInSession(host: Host, desired: Desired, accepted: Accepted, isSaved: boolean): Promise<Planned> {
  const session = await openSession(host, 'pins')
  const made = await makePlan(session, desired, { now: now(), ...accepted })
  const basis = isSaved ? await (await import('./saved-plan.ts')).basisOf(session, desired, made) : undefined
  return {
    plan: made.plan,
    live: made.live,
    basis,
    inSync: isIdle(made.plan, made.live),
    commands: () => commandsOf(session, made),
  }
}

/** The commands of an apply. Loads its code, which other plans need not. */
async function commandsOf(session: Session, made: Made): Promise<readonly string[]> {
  if (made.plan.changes.length === 0) return []
  const [{ printSteps }, { lower }, { loweringOf, targetOf }] = await Promise.all([
    import('../kernel/execute/execute.ts'),
    import('../kernel/execute/lower.ts'),
    import('./target.ts'),
  ])
  return printSteps(lower(loweringOf(session, made, targetOf(made, true))))
}
