// The pipeline of apply: lock → observe → guard → diff → approve → lower → execute (which verifies) → remember.

import type { Paths } from '../abi/paths.ts'
import { XdpError } from '../diagnostics.ts'
import type { Target } from '../features/feature.ts'
import { beginEarly, type Early } from '../kernel/execute/early.ts'
import { execute } from '../kernel/execute/execute.ts'
import { handsOnAll, lower } from '../kernel/execute/lower.ts'
import { type Committed, hasPrograms, unstage } from '../kernel/execute/stage.ts'
import type { RawLink } from '../kernel/host/links.ts'
import { isWatched } from '../kernel/host/lock.ts'
import { remember } from '../kernel/host/memory.ts'
import { hasExpired, reachesBans, sweepBans } from '../kernel/live/bans.ts'
import { restHealth } from '../kernel/live/health.ts'
import type { Observation } from '../kernel/observe/observe.ts'
import type { Desired } from '../model/desired.ts'
import { type Live, type Served, servedOf } from '../model/live.ts'
import type { State } from '../model/state.ts'
import type { Plan } from '../plan/change.ts'
import type { ApplyResult } from '../report/result.ts'
import type { RecordedServices } from '../tables/services/decode.ts'
import { isIdle, isNewGeneration, loweringOf, type Made, makePlan, targetOf } from './prepare.ts'
import { type Host, now, openSession, type Session, sessionOf, withLock } from './session.ts'

export type { Committed, Early }

/** Called before anything is changed; false = leave everything as it is. */
export type Approve = (plan: Plan, live: Live) => Promise<boolean>

export type Links = ReadonlyMap<string, RawLink>

export interface Applied {
  readonly plan: Plan
  readonly result: ApplyResult
  /** The interfaces with their programs, as they were found when all was well. */
  readonly links: Links
  /** The generation that is live now; undefined: none of this ABI. */
  readonly committed: Committed | undefined
  readonly served: Served
}

export const UNCHANGED: ApplyResult = {
  changed: false,
  applied: [],
  verified: true,
  probes: { run: 0, passed: 0 },
  rolled_back: false,
}

/** Begins an apply before its file is known; see Early. `last`: the generation of the last `Applied`. */
export const beginApply = (host: Host, expected: State, last: Committed | undefined): Early =>
  beginEarly(host, sessionOf(host).paths, expected, last)

async function withEarly<T>(early: Early, body: () => Promise<T>): Promise<T> {
  try {
    await early.lock
    return await body()
  } finally {
    await early.end()
  }
}

/** Removes bans that are over, while the lock is held. They end whether they are removed or not. */
async function sweep(paths: Paths, { committed, instance }: Observation): Promise<void> {
  if (!reachesBans(instance, committed) || !hasExpired(instance)) return
  await sweepBans(paths, committed.number).catch((error: unknown) => {
    if (!(error instanceof XdpError)) throw error
  })
}

/** Whether all backends count as up from now on: there are services, and no daemon that checks them. */
const forgetsHealth = async (host: Host, { services }: State, live: Live): Promise<boolean> =>
  (services.size > 0 || live.state.services.size > 0) && !(await isWatched(host))

/** The target, in the generation that was staged where that fits. A stage that does not fit is removed. */
async function stagedTarget(session: Session, made: Made, target: Target, early: Early | undefined): Promise<Target> {
  const lowering = loweringOf(session, made, target)
  if (!isNewGeneration(lowering)) return target
  const stage = await early?.takeStage()
  if (!stage) return target
  const { committed, instance } = made.live
  const isNext = stage.generation === target.generation && stage.generation - 1 === committed?.number
  const fits = stage.lines === lowering.target.image.lines && handsOnAll(lowering)
  const isSame = fits && hasPrograms(stage, lowering.target.image, target.parts) && instance.missing.length === 0
  if (isNext && isSame) return { ...target, isStaged: true }
  await unstage(session.paths, stage.generation)
  return target
}

/** The services as an image of the plan records them. */
const recordedOf = ({ state, slots, leaving, deadlines }: Plan): RecordedServices => {
  const { services, backends, pools } = slots
  return { services: state.services, slots: { services, backends, pools }, leaving, deadlines }
}

/** Carries out what was made, with the lock held. */
async function carryOut(
  session: Session,
  made: Made,
  early: Early | undefined,
  keepsHealth: boolean,
): Promise<Applied> {
  const { host, paths } = session
  const { plan, live } = made
  host.progress?.('compiling the tables')
  const target = await stagedTarget(session, made, targetOf(made, keepsHealth), early)
  const { probes, links } = await execute(host, paths, lower(loweringOf(session, made, target)))
  const { image, generation } = target
  if (image) remember(host, paths, { image, lists: plan.state.lists, services: recordedOf(plan) })
  else if (!keepsHealth) await restHealth(paths, live)
  return {
    plan,
    result: { ...UNCHANGED, changed: true, applied: plan.changes.map(({ key }) => key), probes },
    links,
    committed: image ? { number: generation, lines: image.lines } : committedOf(live),
    served: { generation, slots: plan.slots, leaving: plan.leaving, services: plan.state.services },
  }
}

const committedOf = ({ committed }: Observation): Committed | undefined => committed?.meta && committed

/**
 * Makes the live state what the file asks for, verified by reading back and by packets. A no-op writes nothing.
 *
 * @param acceptShrink takes feeds as they are, stale or shrunken
 * @param early an apply that was begun, which is ended
 */
export async function applyDesired(
  host: Host,
  desired: Desired,
  approve: Approve,
  acceptShrink = false,
  early?: Early,
): Promise<Applied | 'declined'> {
  const session = await openSession(host)
  const body = async (): Promise<Applied | 'declined'> => {
    const made = await makePlan(session, desired, { now: now(), acceptShrink }, early)
    const { plan, live } = made
    await sweep(session.paths, live)
    const keepsHealth = !(await forgetsHealth(host, desired.state, live))
    if (isIdle(plan, live)) {
      if (!keepsHealth) await restHealth(session.paths, live)
      const served = servedOf(live)
      return { plan, result: UNCHANGED, links: live.links, committed: committedOf(live), served }
    }
    if (!(await approve(plan, live))) return 'declined'
    return carryOut(session, made, early, keepsHealth)
  }
  return early ? withEarly(early, body) : withLock(session, body)
}

/** The same policy on no interface: what a daemon leaves that is to detach when it stops. */
export function detachInterfaces(host: Host, desired: Desired): Promise<Applied | 'declined'> {
  const state = { ...desired.state, interfaces: new Map() }
  return applyDesired(host, { ...desired, state, options: new Map() }, async () => true)
}
