// Saved plans: the basis of a plan, and whether a saved one still holds on this host.

import { createHash, type Hash } from 'node:crypto'
import { resolve } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import { ownNetns } from '../kernel/host/host.ts'
import { hostIdentity } from '../kernel/host/identity.ts'
import { objectFacts } from '../kernel/observe/objects.ts'
import type { Observation } from '../kernel/observe/observe.ts'
import { loadObject } from '../kernel/tools/object.ts'
import type { Desired } from '../model/desired.ts'
import type { PlanBasis, PlanBuild, PlanFact, PlanHost, PlannedChange } from '../model/saved-plan.ts'
import type { Program } from '../model/state.ts'
import type { Change, Plan } from '../plan/change.ts'
import { factsOf } from '../plan/facts.ts'
import { guardPlanBuild, guardPlanHost, movedChanges, movedFacts, refuseMoved } from '../plan/stale.ts'
import { type Host, interruptible, openSession, type Session } from './session.ts'

/** Adds a value of the model to a hash, whatever the insertion order of its objects. */
function add(hash: Hash, value: unknown): void {
  if (ArrayBuffer.isView(value)) {
    hash.update(`bytes ${value.byteLength}\n`).update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
  } else if (Array.isArray(value) || value instanceof Map || value instanceof Set) {
    const all = [...value]
    hash.update(`list ${all.length}\n`)
    for (const one of all) add(hash, one)
  } else if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined)
    hash.update(`object ${fields.length}\n`)
    for (const [name, field] of fields.sort(([left], [right]) => (left < right ? -1 : 1))) {
      hash.update(`${name}\n`)
      add(hash, field)
    }
  } else hash.update(`${typeof value} ${String(value)}\n`)
}

/** A change without the live connections that it cuts, which come and go. Of a list the difference says everything. */
function contentOf(change: Change): unknown {
  const { impact, cuts, before, after, ...content } = change
  return change.kind === 'list'
    ? { ...content, list: (change.after ?? change.before).kind }
    : { ...content, before, after }
}

function plannedChange(change: Change): PlannedChange {
  const hash = createHash('sha256')
  add(hash, contentOf(change))
  return { key: change.key, op: change.op, sha256: hash.digest('hex') }
}

const changesOf = ({ changes }: Pick<Plan, 'changes'>): PlannedChange[] => changes.map(plannedChange)

/** This host, as plans name it. */
export async function planHost({ bpffs, instance }: Host): Promise<PlanHost> {
  const [identity, netns] = await Promise.all([hostIdentity(), ownNetns()])
  return { ...identity, netns: `${netns}`, bpffs: resolve(bpffs), instance }
}

/** This build, as plans name it. */
export const planBuild = ({ digest, abi }: Program): PlanBuild => ({ version: manifest.version, abi, digest })

const liveFacts = async ({ paths }: Session, desired: Desired, live: Observation): Promise<readonly PlanFact[]> =>
  factsOf(desired, live, await objectFacts(paths, live))

/** The basis of a plan that has just been made. */
export async function basisOf(
  session: Session,
  desired: Desired,
  { plan, live, object }: { readonly plan: Plan; readonly live: Observation; readonly object: { program: Program } },
): Promise<PlanBasis> {
  const [host, facts] = await Promise.all([planHost(session.host), liveFacts(session, desired, live)])
  return { host, build: planBuild(object.program), live: facts, changes: changesOf(plan) }
}

/**
 * Throws E242 for a plan that was made elsewhere, E243 for one of another build. Throws E104 and E105 as every command that
 * touches the kernel.
 */
export async function refuseElsewherePlan(host: Host, saved: PlanBasis): Promise<void> {
  await interruptible(host, async () => {
    await openSession(host)
    const [own, { program }] = await Promise.all([planHost(host), loadObject()])
    refuseMoved(guardPlanHost(saved.host, own))
    refuseMoved(guardPlanBuild(saved.build, planBuild(program)))
  })
}

/** A saved plan that an apply is held to. */
export interface Held {
  /** Throws E244 if the live state has moved. */
  readonly checkLive: (session: Session, desired: Desired, live: Observation) => Promise<void>
  /** Throws E244 if the plan has come out otherwise. */
  readonly checkPlan: (plan: Plan) => void
}

export const heldTo = (saved: PlanBasis): Held => ({
  checkLive: async (session, desired, live) =>
    refuseMoved(movedFacts(saved.live, await liveFacts(session, desired, live))),
  checkPlan: (plan) => refuseMoved(movedChanges(saved.changes, changesOf(plan))),
})
