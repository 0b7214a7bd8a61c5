// The pipeline: load → observe → diff → order → guard → lower → execute → verify. Every command that looks at or
// changes the kernel goes through here; nothing here decides what only the planner may decide.

import { pinPaths } from '../abi/paths.ts'
import { type Diagnostic, XdpError } from '../diagnostics.ts'
import { examineHost } from '../kernel/doctor/doctor.ts'
import { handsOnAll } from '../kernel/execute/balance-maps.ts'
import { beginEarly, type Early } from '../kernel/execute/early.ts'
import { execute } from '../kernel/execute/execute.ts'
import { forgetsHealth, restHealth } from '../kernel/execute/health-rest.ts'
import { commandLines, lower, type Target } from '../kernel/execute/lower.ts'
import { type Committed, hasPrograms, unstage } from '../kernel/execute/stage.ts'
import { defaultRouteInterfaces, type Filter, type Printed, readFilter } from '../kernel/host/filters.ts'
import { type Host, requireHost } from '../kernel/host/host.ts'
import { readLastApply, removeLastApply, writeLastApply } from '../kernel/host/last-apply.ts'
import { type RawLink, readLinks } from '../kernel/host/links.ts'
import { acquireLock } from '../kernel/host/lock.ts'
import { remember } from '../kernel/host/memory.ts'
import { waitForInterfaces as waitForLinks } from '../kernel/host/wait.ts'
import { readWatcher } from '../kernel/host/watcher.ts'
import { hasExpired, reachesBans, sweepBans } from '../kernel/live/bans.ts'
import { buildProbes } from '../kernel/live/probe.ts'
import { type Observation, observe } from '../kernel/observe/observe.ts'
import { readStatus as readKernelStatus } from '../kernel/report/status.ts'
import { why as askWhy, type Query } from '../kernel/report/why.ts'
import { type BpfObject, loadObject } from '../kernel/tools/object.ts'
import type { Desired } from '../model/desired.ts'
import { type Live, type Served, servedOf } from '../model/live.ts'
import { union } from '../model/ranges.ts'
import { EMPTY_STATE, type State } from '../model/state.ts'
import type { Plan } from '../plan/change.ts'
import type { Terms } from '../plan/feeds.ts'
import { guard, guardNamespace } from '../plan/guard.ts'
import { desiredState, plan, planDestroy } from '../plan/plan.ts'
import type { ProcessIdentity } from '../report/last-apply.ts'
import type { ApplyResult, Check, Status, WhyResult } from '../report/result.ts'
import { editImage, type Toggle } from '../tables/image/edit.ts'
import { compileImage } from '../tables/image/image.ts'
import type { ImageMeta } from '../tables/image/source.ts'
import type { Image } from '../tables/layout/layout.ts'
import type { RecordedServices } from '../tables/services/decode.ts'

export type { Committed, Early, Host, Query }

/** Asked before anything is changed; false = leave everything as it is. */
export type Approve = (plan: Plan, live: Live) => Promise<boolean>

export interface Applied {
  readonly plan: Plan
  readonly result: ApplyResult
  /** The interfaces with their programs, as they were found when all was well. */
  readonly links: Links
  /** The generation that is live now; undefined: none of this ABI. */
  readonly committed: Committed | undefined
  readonly served: Served
}

export type Links = ReadonlyMap<string, RawLink>

const pathsOf = (host: Host): ReturnType<typeof pinPaths> => pinPaths(host.bpffs, host.instance)
const now = (): number => Math.floor(Date.now() / 1000)

function refuse(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length > 0) throw new XdpError(diagnostics)
}

async function planFor(
  host: Host,
  desired: Desired,
  terms: Terms,
  early?: Early,
): Promise<{ plan: Plan; live: Observation; object: BpfObject }> {
  await requireHost(host)
  host.progress?.('reading the live state')
  const { state } = desired
  const read = (): Promise<Observation> => observe(pathsOf(host), host, { state })
  const [live, object] = await Promise.all([early ? early.observe(state).catch(read) : read(), loadObject()])
  refuse(guard(desired, live))
  host.progress?.('comparing')
  return { plan: plan(desired, live, object.program, terms), live, object }
}

/** Roles of interfaces stand in the tables, by slot. */
const rolesChange = (made: Plan, { interfaces }: State, { roles }: Observation): boolean =>
  [...made.slots.interfaces].some(([name, slot]) => {
    const wanted = interfaces.get(name)?.roles
    return wanted !== undefined && wanted.join() !== roles?.[slot]?.join()
  })

/** Whether the plan needs a new policy generation; changes of interfaces alone do not, unless their roles are others. */
const needsGeneration = (made: Plan, state: State, live: Observation): boolean =>
  made.changes.some(({ kind }) => kind !== 'interface') || (made.changes.length > 0 && rolesChange(made, state, live))

/** Addresses that the plan brings into lists and takes out of them. */
const togglesOf = (made: Plan): Toggle[] =>
  made.changes.flatMap((change) => {
    if (change.kind !== 'list') return []
    const list = (change.after ?? change.before).name
    return (change.delta ?? []).map(({ scope, added, removed }) => {
      return { list, scope, addresses: { v4: union(added.v4, removed.v4), v6: union(added.v6, removed.v6) } }
    })
  })

/** The image that the plan leads to: the live one edited where that is possible. */
function imageFor(made: Plan, state: State, live: Observation, meta: ImageMeta): Image {
  const { slots, leaving, deadlines } = made
  const source = { state, slots, leaving, deadlines, meta, before: live.takeover?.services }
  const previous = live.takeover?.image()
  const edited = previous && editImage({ ...source, previous, toggles: togglesOf(made) })
  return edited ?? compileImage({ ...source, previous: live.takeover?.known })
}

/** The services as an image of the plan records them. */
const recordedOf = ({ slots, leaving, deadlines }: Plan, { services }: State): RecordedServices => {
  const { services: ofServices, backends, pools } = slots
  return { services, slots: { services: ofServices, backends, pools }, leaving, deadlines }
}

function targetOf(made: Plan, state: State, live: Observation, object: BpfObject, keepsHealth = true): Target {
  const fresh = needsGeneration(made, state, live)
  const generation = fresh ? live.lastGeneration + 1 : live.generation
  const meta = { generation, netns: live.ownNetns, objectDigest: object.digest }
  return {
    generation,
    image: fresh ? imageFor(made, state, live, meta) : undefined,
    // Where the whole image is at hand its lines can be compared, else sections as a whole.
    previous: live.takeover?.image() ?? live.takeover?.known,
    state,
    object,
    now: now(),
    keepsHealth,
  }
}

/**
 * What apply would do, and the commands it would run (computed when asked for). `acceptShrink`: feeds are taken as they
 * are, stale or shrunken. Throws XdpError where a guard refuses
 * or the kernel cannot be read.
 */
export async function reconcilePlan(
  host: Host,
  desired: Desired,
  acceptShrink = false,
): Promise<{ plan: Plan; live: Live; inSync: boolean; readonly commands: readonly string[] }> {
  const terms = { now: now(), acceptShrink }
  const { plan: made, live, object } = await planFor(host, desired, terms)
  return {
    plan: made,
    live,
    inSync: idle(made, live),
    get commands() {
      if (made.changes.length === 0) return []
      const target = targetOf(made, desiredState(desired, live, object.program, terms), live, object)
      return commandLines(lower(made, live, pathsOf(host), target), pathsOf(host))
    },
  }
}

/** Records of interfaces that are gone, or were detached by hand, and that the plan does not want back. */
const hasStaleRecords = (made: Plan, live: Live): boolean =>
  [...live.slots.interfaces.keys()].some((name) => !made.slots.interfaces.has(name))

/** Nothing to change and nothing to tidy up. */
const idle = (made: Plan, live: Live): boolean =>
  made.changes.length === 0 && live.leftovers.length === 0 && !hasStaleRecords(made, live)

const UNCHANGED: ApplyResult = {
  changed: false,
  applied: [],
  verified: true,
  probes: { run: 0, passed: 0 },
  rolled_back: false,
}

/** Begins a reconcile before it is known what for; see Early. `last`: the generation of the last `Applied`. */
export const reconcileEarly = (host: Host, expected: State, last: Committed | undefined): Early =>
  beginEarly(host, pathsOf(host), expected, last)

async function withLock<T>(host: Host, body: () => Promise<T>): Promise<T> {
  await requireHost(host)
  const lock = await acquireLock(host)
  try {
    return await body()
  } finally {
    await lock.release()
  }
}

async function withEarly<T>(early: Early, body: () => Promise<T>): Promise<T> {
  try {
    await early.lock
    return await body()
  } finally {
    await early.end()
  }
}

/** Names of services that the plan changes. */
const changedServices = ({ changes }: Plan): ReadonlySet<string> =>
  new Set(changes.flatMap((change) => (change.kind === 'service' ? [(change.after ?? change.before).name] : [])))

/** Bans that are over go whenever somebody holds the lock. They are over whether they go or not. */
async function sweep(host: Host, { committed, instance }: Observation): Promise<void> {
  if (!reachesBans(instance, committed) || !hasExpired(instance)) return
  await sweepBans(pathsOf(host), committed.number).catch((error: unknown) => {
    if (!(error instanceof XdpError)) throw error
  })
}

/** The target, in the generation that was staged where that fits. What does not fit is removed. */
async function stagedTarget(host: Host, target: Target, live: Observation, early: Early | undefined): Promise<Target> {
  const stage = target.image && (await early?.takeStage())
  if (!stage) return target
  const isNext = stage.generation === target.generation && stage.generation - 1 === live.committed?.number
  const fits = target.image && stage.lines === target.image.lines && handsOnAll(pathsOf(host), live, target.image)
  const isSame = fits && hasPrograms(stage, target.image, target.state) && live.instance.missing.length === 0
  if (isNext && isSame) return { ...target, isStaged: true }
  await unstage(pathsOf(host), stage.generation)
  return target
}

/**
 * Makes the live state what the file says, verified by reading back and by packets. A no-op writes nothing. `early`: what
 * was begun for it, which is ended.
 */
export async function reconcileApply(
  host: Host,
  desired: Desired,
  approve: Approve,
  acceptShrink = false,
  early?: Early,
): Promise<Applied | 'declined'> {
  const carryOut = async (): Promise<Applied | 'declined'> => {
    const terms = { now: now(), acceptShrink }
    const { plan: made, live, object } = await planFor(host, desired, terms, early)
    const { links } = live
    const committed = live.committed?.meta && live.committed
    await sweep(host, live)
    const unwatched = await forgetsHealth(host, desired.state, live)
    if (idle(made, live)) {
      if (unwatched) await restHealth(pathsOf(host), live)
      return { plan: made, result: UNCHANGED, links, committed, served: servedOf(live) }
    }
    if (!(await approve(made, live))) return 'declined'
    host.progress?.('compiling the tables')
    const state = desiredState(desired, live, object.program, terms)
    const target = await stagedTarget(host, targetOf(made, state, live, object, !unwatched), live, early)
    const steps = lower(made, live, pathsOf(host), target)
    const probes = buildProbes(state, changedServices(made))
    const outcome = await execute({ host, paths: pathsOf(host), steps, probes, now: target.now })
    const { image, generation } = target
    if (image) remember(host, pathsOf(host), { image, lists: state.lists, services: recordedOf(made, state) })
    else if (unwatched) await restHealth(pathsOf(host), live)
    const applied = made.changes.map(({ key }) => key)
    return {
      plan: made,
      result: { ...UNCHANGED, changed: true, applied, probes: outcome.probes },
      links: outcome.links,
      committed: image ? { number: generation, lines: image.lines } : committed,
      served: { generation, slots: made.slots, leaving: made.leaving, services: state.services },
    }
  }
  return early ? withEarly(early, carryOut) : withLock(host, carryOut)
}

/** Waits for interfaces that are to appear. Returns the names of those that did not. Takes no lock meanwhile. */
export async function waitForInterfaces(host: Host, names: readonly string[], timeoutMs: number): Promise<string[]> {
  await requireHost(host)
  return waitForLinks(host, names, timeoutMs)
}

const NO_TARGET = { image: undefined, state: EMPTY_STATE, object: undefined, keepsHealth: false } as const

/** Removes everything that is ours and nothing else. */
export async function reconcileDestroy(host: Host, approve: Approve): Promise<Applied | 'declined'> {
  return withLock(host, async () => {
    const paths = pathsOf(host)
    const live = await observe(paths, host)
    refuse(guardNamespace(live))
    const made = planDestroy(live)
    if (idle(made, live))
      return { plan: made, result: UNCHANGED, links: live.links, committed: undefined, served: servedOf(live) }
    if (!(await approve(made, live))) return 'declined'
    const { generation } = live
    const target: Target = { ...NO_TARGET, generation, now: now() }
    const steps = lower(made, live, paths, target)
    await execute({
      host,
      paths,
      steps: { ...steps, program: undefined, remove: [paths.instance] },
      probes: [],
      now: target.now,
    })
    await removeLastApply(host)
    const applied = made.changes.map(({ key }) => key)
    const result = { ...UNCHANGED, changed: true, applied }
    const served = { generation: 0, slots: made.slots, leaving: [], services: EMPTY_STATE.services }
    return { plan: made, result, links: new Map(), committed: undefined, served }
  })
}

/** The same policy on no interface: what a daemon leaves that is to detach when it stops. */
export function reconcileDetach(host: Host, desired: Desired): Promise<Applied | 'declined'> {
  const state = { ...desired.state, interfaces: new Map() }
  return reconcileApply(host, { ...desired, state, options: new Map() }, async () => true)
}

/** The services that are live, whatever is wanted. */
export const readServed = async (host: Host): Promise<Served> => servedOf(await observe(pathsOf(host), host))

/** What runs on the interfaces now, from netlink alone: the cheapest look there is. */
export const readAttachments = (): Promise<Links> => readLinks()

/** What is live, with counters, how things stand with the daemon, and how the last apply ended. */
export async function readStatus(host: Host): Promise<Status> {
  await requireHost(host)
  const [status, watcher, lastApply] = await Promise.all([
    readKernelStatus(pathsOf(host), host),
    readWatcher(host),
    readLastApply(host),
  ])
  return { ...status, watcher, last_apply: lastApply }
}

/** The verdict that a packet gets live and in the file. Without a file (`desired` undefined) only the live one. */
export async function why(host: Host, desired: Desired | undefined, query: Query): Promise<WhyResult> {
  await requireHost(host)
  return askWhy(pathsOf(host), host, desired, query)
}

/** Leaves a record of an apply, as far as the host lets it: `render` is given who leaves it. Never throws. */
export const keepLastApply = (host: Host, render: (self: ProcessIdentity) => string): Promise<void> =>
  writeLastApply(host, render)

/** What doctor finds on this host. */
export async function examine(host: Host, desired: Desired | undefined): Promise<readonly Check[]> {
  const optional = [...(desired?.options ?? [])].filter(([, { missing }]) => missing === 'skip').map(([name]) => name)
  return examineHost(host, pathsOf(host), desired?.state ?? EMPTY_STATE, new Set(optional))
}

/** What another filter of this host is set to, as its own tool prints it. Needs neither bpffs nor an instance of ours. */
export const printFilter = (filter: Filter): Promise<readonly Printed[]> => readFilter(filter)

/** Interfaces of the default routes. */
export const routedInterfaces = (): Promise<readonly string[]> => defaultRouteInterfaces()
