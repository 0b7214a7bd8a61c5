// The pipeline of apply: lock → observe → guard → diff → approve → lower → execute (which verifies) → keep the image.

import { resolve } from 'node:path'
import { type Diagnostic, fail, XdpError } from '../diagnostics.ts'
import { isNewGeneration, type Target } from '../features/feature.ts'
import { beginEarly, type Early } from '../kernel/execute/early.ts'
import { execute } from '../kernel/execute/execute.ts'
import { handsOnAll, lower } from '../kernel/execute/lower.ts'
import { type Committed, hasPrograms, unstage } from '../kernel/execute/stage.ts'
import { requireLoading } from '../kernel/host/host.ts'
import type { RawLink } from '../kernel/host/links.ts'
import { isWatched } from '../kernel/host/lock.ts'
import { keepImage } from '../kernel/host/memory.ts'
import { newConfirmationId } from '../kernel/host/pending.ts'
import { banLockFile, sweepBans } from '../kernel/live/ban-write.ts'
import { hasExpired, reachesBans } from '../kernel/live/bans.ts'
import { restHealth } from '../kernel/live/health.ts'
import type { Observation } from '../kernel/observe/observe.ts'
import { shielded } from '../kernel/tools/interrupt.ts'
import type { ConfirmRequest, ConfirmTerms } from '../model/confirmation.ts'
import type { Desired } from '../model/desired.ts'
import { type Live, type Served, servedOf } from '../model/live.ts'
import type { State } from '../model/state.ts'
import type { Plan } from '../plan/change.ts'
import { guardCuts } from '../plan/cuts.ts'
import { type Accepted, NONE_ACCEPTED } from '../plan/feeds.ts'
import type { PendingConfirmation } from '../report/confirmation.ts'
import type { ApplyResult } from '../report/result.ts'
import type { RecordedServices } from '../tables/services/decode.ts'
import { restoreBans } from './ban-keep.ts'
import { computing } from './computing.ts'
import { forgetReverted, readConfirmation, refusePending, settlePending, startClock } from './confirm.ts'
import { remember } from './history.ts'
import { isIdle, type Made, makePlan } from './prepare.ts'
import type { Held } from './saved-plan.ts'
import { type Host, interruptible, now, openSession, refuse, type Session, sessionOf, withLock } from './session.ts'
import { loweringOf, targetOf } from './target.ts'

export type { Committed, Early }

/** Called before anything is changed; false = leave everything as it is. */
export type Approve = (plan: Plan, live: Live) => Promise<boolean>

/** The confirmation that an apply waits for. */
type Wait = Pick<ConfirmTerms, 'id' | 'milliseconds' | 'config' | 'on'>

export type Links = ReadonlyMap<string, RawLink>

export interface Applied {
  readonly plan: Plan
  readonly result: ApplyResult
  /** The interfaces with their programs, as verified; after a no-op, as observed. */
  readonly links: Links
  /** The live generation; undefined if none has this ABI. */
  readonly committed: Committed | undefined
  readonly served: Served
  /** Warnings that appeared once the policy was in force; `plan` has them too. */
  readonly late?: readonly Diagnostic[]
}

export const UNCHANGED: ApplyResult = {
  changed: false,
  applied: [],
  verified: true,
  probes: { run: 0, passed: 0 },
  rolled_back: false,
}

/** Begins an apply before its config is known; see Early. `last`: the generation of the last `Applied`. */
export const beginApply = (host: Host, expected: State, last: Committed | undefined): Early =>
  interruptible(host, () => beginEarly(host, sessionOf(host).paths, expected, last))

async function withEarly<T>(early: Early, body: () => Promise<T>): Promise<T> {
  try {
    await early.lock
    return await body()
  } finally {
    await early.end()
  }
}

/** Removes expired bans, unless another process changes bans. Ignores a failure: they have ended anyway. */
async function sweep({ host, paths }: Session, { committed, instance }: Observation): Promise<void> {
  if (!reachesBans(committed) || !hasExpired(instance)) return
  const lock = { file: await banLockFile(host.bpffs, host.instance), timeoutMs: 0 }
  await sweepBans({ paths, lock, netns: 0n }, [committed.number]).catch((error: unknown) => {
    if (!(error instanceof XdpError)) throw error
  })
}

/** Whether all backends must count as up: there are services, and no daemon checks them. */
const forgetsHealth = async (host: Host, { services }: State, live: Live): Promise<boolean> =>
  (services.size > 0 || live.state.services.size > 0) && !(await isWatched(host))

/** The target, in the staged generation if that fits. Removes a stage that does not fit. */
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

/** Carries out a plan, with the lock held. */
async function carryOut(
  session: Session,
  made: Made,
  early: Early | undefined,
  keepsHealth: boolean,
  wait: Wait | undefined,
): Promise<Applied> {
  const { host, paths } = session
  const { plan, live } = made
  host.progress?.('compiling the tables')
  const compiled = await computing(host, () => targetOf(made, keepsHealth, wait))
  const target = await stagedTarget(session, made, compiled, early)
  const { probes, links } = await execute(host, paths, lower(loweringOf(session, made, target)))
  const { image, generation } = target
  if (image) keepImage(host, paths, { image, lists: plan.state.lists, services: recordedOf(plan) })
  else if (!keepsHealth) await shielded(() => restHealth(paths, live))
  const pending = wait && (await startWaiting(host, wait))
  return {
    plan,
    result: { ...UNCHANGED, changed: true, applied: plan.changes.map(({ key }) => key), probes, pending },
    links,
    committed: image ? { number: generation, lines: image.lines } : committedOf(live),
    served: servedOf({ ...live, generation, slots: plan.slots, leaving: plan.leaving, state: plan.state }),
  }
}

/**
 * The time to confirm counts from here, not from the start of the guardian before the switch. If /run cannot be
 * written by now, that one holds.
 */
async function startWaiting(host: Host, { id, milliseconds }: Wait): Promise<PendingConfirmation | undefined> {
  await startClock(host, id, milliseconds).catch(() => undefined)
  return readConfirmation(host, id)
}

/** The confirmation that an apply of this plan waits for. Throws E232 where the previous program could not return. */
function waitOf(request: ConfirmRequest | undefined, { config }: Desired, { plan, live }: Made): Wait | undefined {
  const { committed } = live
  if (!request || plan.changes.length === 0 || (!committed && !request.evenFirst)) return undefined
  if (committed && !committed.meta) {
    const what = `the program in the kernel has tables of another build (ABI ${committed.abi}), which an apply replaces for good`
    throw fail('E232', `no confirmation is possible: ${what}`, 'xdp apply --confirm off')
  }
  return {
    id: newConfirmationId(),
    milliseconds: request.milliseconds,
    on: request.on,
    config: { path: resolve(config.path), sha256: config.sha256 },
  }
}

const committedOf = ({ committed }: Observation): Committed | undefined => committed?.meta && committed

/**
 * Brings the live state to the config, and verifies it by reading back and by packets. A no-op writes nothing.
 *
 * @param accepted which untrusted feeds to take
 * @param early a prepared apply, which this call ends
 * @param request the confirmation to wait for
 * @param held the saved plan that the plan must equal
 * @throws XdpError E230 if an earlier apply waits for its confirmation and there is anything to change
 */
export function applyDesired(
  host: Host,
  desired: Desired,
  approve: Approve,
  accepted: Accepted = NONE_ACCEPTED,
  early?: Early,
  request?: ConfirmRequest,
  held?: Held,
): Promise<Applied | 'declined'> {
  return interruptible(host, () => applyInSession(host, desired, approve, accepted, early, request, held))
}

/** Restores bans that are still to be restored; a failure is a warning. */
async function withSavedBans(host: Host, { persist }: Desired, applied: Applied): Promise<Applied> {
  const late = await restoreBans(host, persist)
  if (late.length === 0) return applied
  return { ...applied, plan: { ...applied.plan, warnings: [...applied.plan.warnings, ...late] }, late }
}

async function applyInSession(
  host: Host,
  desired: Desired,
  approve: Approve,
  accepted: Accepted,
  early: Early | undefined,
  request: ConfirmRequest | undefined,
  held: Held | undefined,
): Promise<Applied | 'declined'> {
  const session = await openSession(host)
  await requireLoading()
  const body = async (): Promise<Applied | 'declined'> => {
    const pending = await settlePending(session)
    const made = await makePlan(session, desired, { now: now(), ...accepted }, early, held)
    const { plan, live } = made
    await sweep(session, live)
    const keepsHealth = !(await forgetsHealth(host, desired.state, live))
    if (isIdle(plan, live)) {
      if (!keepsHealth) await restHealth(session.paths, live)
      const served = servedOf(live)
      await forgetReverted(host)
      const unchanged = { plan, result: { ...UNCHANGED, pending }, links: live.links, committed: committedOf(live) }
      return withSavedBans(host, desired, { ...unchanged, served })
    }
    refusePending(pending)
    if (plan.cuts) refuse(guardCuts(plan.cuts, accepted.allowedCuts, desired.provenance))
    const wait = waitOf(request, desired, made)
    const remembered = await remember(session, desired, plan, wait?.id)
    if (!(await approve(plan, live))) return 'declined'
    const applied = await remembered.during(
      () => carryOut(session, made, early, keepsHealth, wait),
      ({ served }) => served.generation,
    )
    await forgetReverted(host)
    return withSavedBans(host, desired, applied)
  }
  return early ? withEarly(early, body) : withLock(session, body)
}

/** Applies the policy without interfaces, as a daemon does that stops with `on_stop: detach`. */
export function detachInterfaces(host: Host, desired: Desired): Promise<Applied | 'declined'> {
  const state = { ...desired.state, interfaces: new Map() }
  return applyDesired(host, { ...desired, state, options: new Map(), sources: undefined }, async () => true)
}
