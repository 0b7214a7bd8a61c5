// From config and kernel to a plan, and from the plan to its lowering: the first half of plan and apply.

import type { Lowering, Target } from '../features/feature.ts'
import { partsFor } from '../features/features.ts'
import type { Early } from '../kernel/execute/early.ts'
import { isWatched } from '../kernel/host/lock.ts'
import { readOwnOnInterfaces } from '../kernel/host/protect.ts'
import { readTimeServers } from '../kernel/host/time-servers.ts'
import { modelJudge } from '../kernel/live/answers.ts'
import { bansInForce } from '../kernel/live/bans.ts'
import { findCutPartners, findCuts } from '../kernel/live/cuts.ts'
import { readWouldDrop } from '../kernel/live/observed.ts'
import { buildProbes } from '../kernel/live/probe.ts'
import { kernelRelease } from '../kernel/observe/needs.ts'
import { type Observation, observe } from '../kernel/observe/observe.ts'
import { type BpfObject, loadObject } from '../kernel/tools/object.ts'
import type { ConfirmTerms } from '../model/confirmation.ts'
import type { Desired } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import { union } from '../model/ranges.ts'
import type { Plan } from '../plan/change.ts'
import { withCuts } from '../plan/cuts.ts'
import type { Terms } from '../plan/feeds.ts'
import { guard, guardNamespace } from '../plan/guard.ts'
import { guardBans } from '../plan/guard-bans.ts'
import { beginningToDrop, withObserved } from '../plan/observed.ts'
import { partnersOf } from '../plan/partners.ts'
import { plan } from '../plan/plan.ts'
import { guardRadius } from '../plan/radius.ts'
import { warnOwnAddresses } from '../plan/warn-own-addresses.ts'
import { hasLimitBans, warnLimitBans } from '../plan/warn-rates.ts'
import { witnessesOf } from '../plan/witnesses.ts'
import { editImage, type Toggle } from '../tables/image/edit.ts'
import { compileImage } from '../tables/image/image.ts'
import type { ImageMeta } from '../tables/image/source.ts'
import { committedImage, type Image } from '../tables/layout/layout.ts'
import { rewriteOf } from '../tables/services/edit-hops.ts'
import { computing } from './computing.ts'
import { warnKernel } from './kernel.ts'
import { isAskable, presentJudge } from './present.ts'
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
  const contacts = contactsOf(made, desired, live, object, terms)
  const judged = await judgedPlan(session, desired, made, live, object, contacts)
  const isUnwatched = hasLimitBans(state) && !(await isWatched(host))
  const isOld = made.changes.length > 0 ? warnKernel(made.state, kernelRelease(), live.committed !== undefined) : []
  const warnings = [...isOld, ...judged.warnings, ...(isUnwatched ? warnLimitBans(desired) : [])]
  return { plan: { ...judged, warnings }, live, object, terms, contacts }
}

/** The terms on which the contacts of this host are judged; undefined: nothing changes. */
function contactsOf(
  made: Plan,
  { protect, provenance }: Desired,
  live: Observation,
  { program }: BpfObject,
  { allowedCuts }: Terms,
): Target['contacts'] {
  if (made.changes.length === 0) return undefined
  const { state, slots, links } = live
  return {
    witnesses: witnessesOf(protect, { before: state, after: made.state }),
    allowed: allowedCuts,
    provenance,
    links,
    before: { state, slots },
    after: { state: made.state, slots: made.slots },
    isAsked: isAskable(live, program),
  }
}

/** The plan with the contacts that it would cut. The model judges, because the programs do not exist yet. */
async function judgedPlan(
  session: Session,
  desired: Desired,
  made: Plan,
  live: Observation,
  { program }: BpfObject,
  contacts: Target['contacts'],
): Promise<Plan> {
  if (!contacts) return made
  const { links, before, after, witnesses } = contacts
  const judge = presentJudge(session, live, program)
  const judged = { before: { ...before, judge }, after: { ...after, judge: modelJudge(after.state) } }
  const [own, timeServers] = await Promise.all([readOwnOnInterfaces(), readTimeServers()])
  const cuts = await findCuts({ links, witnesses, ...judged })
  const partners = partnersOf({ health: desired.health, state: made.state }, live, timeServers)
  const cut = [...cuts.cut, ...(await findCutPartners(partners, { links, before, after }))]
  const warnings = [...made.warnings, ...warnOwnAddresses(own, made, desired.provenance)]
  return withCuts({ ...(await observedPlan(session, made, live)), warnings }, { ...cuts, cut })
}

/** The plan with what would have been dropped that is to be dropped now. */
async function observedPlan({ paths }: Session, made: Plan, live: Observation): Promise<Plan> {
  const beginning = beginningToDrop(made)
  if (live.instance.missing.length > 0 || !live.committed?.meta) return made
  return withObserved(made, await readWouldDrop(paths, live, beginning))
}

/** Whether there are records of interfaces that vanished or were detached, and that the plan does not attach. */
const hasStaleRecords = ({ slots }: Plan, live: Live): boolean =>
  [...live.slots.interfaces.keys()].some((name) => !slots.interfaces.has(name))

/** Whether there is nothing to change and nothing to clean up. */
export const isIdle = (made: Plan, live: Live): boolean =>
  made.changes.length === 0 && live.leftovers.length === 0 && !hasStaleRecords(made, live)

/** Whether roles of interfaces change, which the tables hold by slot. */
const rolesChange = ({ slots, state }: Plan, { roles }: Pick<Observation, 'roles'>): boolean =>
  [...slots.interfaces].some(([name, slot]) => {
    const wanted = state.interfaces.get(name)?.roles
    return wanted !== undefined && wanted.join() !== roles?.[slot]?.join()
  })

/** Whether interfaces that scopes name have other slots than in the tables, or are there for the first time. */
const scopesMove = ({ slots }: Plan, { scopedInterfaces }: Pick<Observation, 'scopedInterfaces'>): boolean =>
  [...scopedInterfaces].some(([name, slot]) => slots.interfaces.get(name) !== slot)

/** Whether other programs are to run behind ours than the live generation hands packets to. */
const chainsMove = ({ state }: Plan, { chains }: Pick<Observation, 'chains'>): boolean =>
  [...new Set([...state.interfaces.keys(), ...chains.keys()])].some((name) => {
    const [wanted, present] = [state.interfaces.get(name)?.chain, chains.get(name)]
    return wanted?.id !== present?.held || wanted?.pin !== present?.program.pin
  })

/**
 * Whether the plan needs a new generation. Changes of interfaces alone do not, unless their roles differ, programs behind
 * ours, or slots that scopes refer to.
 */
export const needsGeneration = (
  made: Plan,
  live: Pick<Observation, 'roles' | 'scopedInterfaces' | 'chains'>,
): boolean =>
  made.changes.some(({ kind }) => kind !== 'interface') ||
  (made.changes.length > 0 && (rolesChange(made, live) || scopesMove(made, live) || chainsMove(made, live)))

/** Addresses that the plan adds to lists and removes from them. */
const togglesOf = ({ changes }: Plan): Toggle[] =>
  changes.flatMap((change) => {
    if (change.kind !== 'list') return []
    const list = (change.after ?? change.before).name
    return (change.delta ?? []).map(({ scope, added, removed }) => {
      return { list, scope, addresses: { v4: union(added.v4, removed.v4), v6: union(added.v6, removed.v6) } }
    })
  })

/** The image of the plan: the live one edited if possible, else compiled. */
function imageFor(made: Plan, { takeover }: Observation, meta: ImageMeta): Image {
  const { state, slots, leaving, deadlines } = made
  const source = { state, slots, leaving, deadlines, meta, before: takeover?.services }
  const previous = takeover?.image()
  const edited = previous && editImage({ ...source, previous, toggles: togglesOf(made) })
  return edited ?? compileImage({ ...source, previous: takeover?.known })
}

/** Names of services that the plan changes. */
const changedServices = ({ changes }: Plan): ReadonlySet<string> =>
  new Set(changes.flatMap((change) => (change.kind === 'service' ? [(change.after ?? change.before).name] : [])))

/** Whether the plan only follows next hops of services whose tables and programs are as they were written. */
const followsHops = (made: Plan, live: Observation): boolean =>
  live.drift.size === 0 &&
  live.leftovers.length === 0 &&
  live.instance.missing.length === 0 &&
  !hasStaleRecords(made, live) &&
  made.changes.length > 0 &&
  made.changes.every(({ kind, op, reason }) => kind === 'service' && op === 'update' && reason === 'drift')

/** The image of the live generation with the next hops of the plan; undefined if that takes another generation. */
function rewritten(made: Made): Pick<Target, 'image' | 'rewrite'> | undefined {
  const { plan: wanted, live, object } = made
  const { header, meta } = live.committed ?? {}
  const known = live.takeover?.known
  if (!followsHops(wanted, live) || !known || !header || !meta) return undefined
  const { generation } = live
  const image = imageFor(wanted, live, { generation, netns: live.ownNetns, objectDigest: object.digest })
  const rewrite = rewriteOf(image, { ...known, header })
  return rewrite && { image: committedImage(image, meta.committed_at), rewrite }
}

/** The content of the target, and its generation. A confirmation needs a generation to return from. */
function contentOf(made: Made, isConfirmed: boolean): Pick<Target, 'generation' | 'image' | 'rewrite'> {
  const { plan: wanted, live, object } = made
  const { generation } = live
  if (!isConfirmed && !needsGeneration(wanted, live)) return { generation, image: undefined, rewrite: undefined }
  const inPlace = isConfirmed ? undefined : rewritten(made)
  if (inPlace) return { generation, ...inPlace }
  const next = live.lastGeneration + 1
  const meta = { generation: next, netns: live.ownNetns, objectDigest: object.digest }
  return { generation: next, image: imageFor(wanted, live, meta), rewrite: undefined }
}

/**
 * The target of the plan.
 *
 * @param keepsHealth a daemon knows the health of backends
 * @param request the confirmation that the apply waits for
 */
export function targetOf(
  made: Made,
  keepsHealth: boolean,
  request?: Pick<ConfirmTerms, 'id' | 'milliseconds' | 'config' | 'on'>,
): Target {
  const { plan: wanted, live, object, terms } = made
  const content = contentOf(made, request !== undefined)
  return {
    ...content,
    confirmation: request && { ...request, generation: content.generation, previous: live.committed?.number ?? 0 },
    // A whole image can be compared line by line, digests only section by section.
    previous: live.takeover?.image() ?? live.takeover?.known,
    objects: object.objects,
    parts: partsFor(wanted.state),
    carryObject: object.carryPath,
    kindsObject: object.kindsPath,
    isStaged: false,
    now: terms.now,
    keepsHealth,
    contacts: made.contacts,
    probes: buildProbes(wanted.state, live.links, wanted.slots.interfaces, changedServices(wanted)),
  }
}

export const loweringOf = ({ paths }: Session, { plan: made, live }: Made, target: Target): Lowering => ({
  paths,
  plan: made,
  live,
  target,
})
