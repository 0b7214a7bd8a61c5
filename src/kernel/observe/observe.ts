// Observation: netlink and pins → Live. Reads only. The live state is the actual content of the committed generation's
// tables, and the actual attachments; the records of the last apply only separate drift from edits of the config.

import {
  ABI_VERSION,
  type Attachment as AttachmentRecord,
  type InterfaceEntry,
  type InterfaceStack,
} from '../../abi/generated.ts'
import type { Generation, Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import type { Observed } from '../../features/feature.ts'
import { OWN_MAPS } from '../../features/features.ts'
import type { AttachedProgram, Link, Live, ObjectKey } from '../../model/live.ts'
import { taggedInterfaces } from '../../model/scope.ts'
import { stackFor } from '../../model/stack.ts'
import { type Attachment, EMPTY_STATE, EVERY_ROLE, type Role, type State } from '../../model/state.ts'
import { guardNamespace } from '../../plan/guard.ts'
import type { DecodedImage } from '../../tables/image/image.ts'
import { ownNetns } from '../host/host.ts'
import { type RawLink, readLinks } from '../host/links.ts'
import { portsDrift } from '../host/local-ports.ts'
import type { Memory } from '../host/memory.ts'
import { readOwners } from '../host/owners.ts'
import { readDriversOf, type Surroundings, surroundingsOf, withLiveHops } from '../host/surroundings.ts'
import { bufferDrift } from '../host/tcp-settings.ts'
import { appliedRecords } from './applied.ts'
import { noteChainDrift, readChains, withChains } from './chains.ts'
import { type ForeignFacts, foreignFacts } from './foreign.ts'
import { readInstance } from './instance.ts'
import { leftovers, pendingOf } from './leftovers.ts'
import {
  entriesOf,
  FREE_ENTRY,
  FREE_STACK,
  indexedEntry,
  isMember,
  isSameEntry,
  isSameStack,
  MODE_NUMBERS,
  stackRecord,
} from './records.ts'
import { settled } from './settled.ts'
import { readTables, type Takeover } from './tables.ts'

/** The live state, with the pins and tables it was read from. */
export interface Observation extends Observed {
  /** By interface slot, from the live tables; undefined without tables. */
  readonly roles: readonly (readonly Role[])[] | undefined
  /** Slots that the live tables have for the interfaces that scopes name; undefined = missing from the host. */
  readonly scopedInterfaces: DecodedImage['scopedInterfaces']
  /** Live tables that the next generation can take over. */
  readonly takeover: Takeover | undefined
}

/** The state that is most likely live: recognising it is cheaper than reading and decoding it. */
export interface Expectation {
  /** The live state; the next hops of its backends are resolved. */
  readonly state?: State
  /** A generation that the caller is building, which is ignored. */
  readonly staged?: number | undefined
}

/**
 * Reads the live state. `memory`: may hold the live image. Throws errors of bpftool and ip. Takes no lock: a reading
 * that meets another process's apply is retried, because that is neither an error nor drift.
 */
export const observe = (paths: Paths, memory: Memory, expected: Expectation = {}): Promise<Observation> =>
  settled(paths, () => observeOnce(paths, memory, expected), { isPassing: isSwitching, staged: expected.staged })

/** Adds the facts about the network that the services of another state need. */
export async function withSurroundings(live: Observation, state: State, memory: Memory): Promise<Observation> {
  const { services } = state
  if (services.size === 0 && live.state.services.size === 0) return live
  const around = await surroundingsOf(services, live.links, memory, taggedInterfaces(state))
  return { ...live, ...(await withLiveHops(around, live.state.services, live.leaving, live.links, memory)) }
}

/** Whether an interface runs a generation that is not committed: an apply is running, or was killed. */
export const isSwitching = ({ links, generation }: Pick<Live, 'links' | 'generation'>): boolean =>
  [...links.values()].some(({ programs }) => programs.some((program) => (program.generation ?? 0) > generation))

/** Throws E201 if the instance belongs to another namespace, whose interfaces cannot be seen here. */
export function refuseOtherNamespace(live: Live): void {
  const diagnostics = guardNamespace(live)
  if (diagnostics.length > 0) throw new XdpError(diagnostics)
}

/** The newest generation whose switch was verified, else the newest attached one of another ABI. */
export function committedGeneration(instance: Instance, attached: ReadonlySet<number>): Generation | undefined {
  const { generations } = instance
  return (
    generations.findLast(({ meta }) => meta !== undefined && meta.committed_at > 0n) ??
    generations.findLast(({ abi, program }) => abi !== ABI_VERSION && attached.has(program.id))
  )
}

async function observeOnce(paths: Paths, memory: Memory, { state, staged }: Expectation): Promise<Observation> {
  const [rawLinks, instance, netns] = await Promise.all([readLinks(), readInstance(paths, staged), ownNetns()])
  const running = new Set([...rawLinks.values()].flatMap(({ programs }) => programs.map(({ id }) => id)))
  const committed = committedGeneration(instance, running)
  const drift = new Map<ObjectKey, string>()
  const [tables, foreign, around] = await Promise.all([
    committed?.meta && readTables(paths, committed, memory, state),
    foreignFacts(rawLinks, instance, paths, state),
    surroundingsOf(state?.services ?? new Map(), rawLinks, memory, state ? taggedInterfaces(state) : []),
  ])
  const drivers = await readDriversOf(rawLinks, state?.interfaces.keys() ?? [], around)
  const links = withOwners(rawLinks, instance, foreign)
  const image = tables?.content
  const surroundings = await withLiveHops(around, image?.services ?? new Map(), image?.leaving ?? [], links, memory)
  const records = recordsOf(instance)
  for (const key of image?.drifted ?? []) drift.set(key, 'changed in the kernel since the last apply')
  if (tables?.damage && !image?.drifted.length) drift.set('program', tables.damage)
  for (const [key, what] of driftOfPins(instance, committed)) drift.set(key, what)
  const moved = image && hostDrift(image, around)
  if (moved && !drift.has('policy')) drift.set('policy', moved)
  const slots = new Map([...records].map(([name, { slot }]) => [name, slot]))
  const chains = await readChains(paths, instance, committed, links, slots)
  const attached = liveInterfaces(links, records, instance, committed, image, drift)
  const interfaces = withChains(attached, chains)
  noteChainDrift(chains, links, drift)
  const owners = await readOwners(foreignOn(drift, links))
  return {
    state: liveState(committed, image, interfaces),
    links,
    drift,
    applied: appliedRecords(records, image, state, drift),
    owners,
    chains,
    drivers,
    generation: committed?.number ?? 0,
    lastGeneration: Math.max(0, ...instance.incomplete, ...instance.generations.map(({ number }) => number)),
    slots: {
      interfaces: slots,
      ...(image?.slots ?? { lists: new Map(), services: new Map(), backends: new Map(), pools: new Map() }),
    },
    netns: namespaceOf(links, instance, committed, netns),
    ownNetns: netns,
    committedAt: Number(committed?.meta?.committed_at ?? 0n),
    leftovers: leftovers(paths, instance, committed),
    pending: pendingOf(instance, committed),
    leaving: image?.leaving ?? [],
    deadlines: image?.deadlines ?? new Map(),
    ...surroundings,
    instance,
    committed,
    roles: image?.roles,
    scopedInterfaces: image?.scopedInterfaces ?? new Map(),
    takeover: tables?.takeover,
  }
}

/** The clause if settings of the kernel that the tables rely on have changed. */
const hostDrift = ({ localPorts, receiveMax }: DecodedImage, around: Surroundings): string | undefined =>
  (localPorts && portsDrift(localPorts, around.localPorts)) ??
  (receiveMax === undefined ? undefined : bufferDrift(receiveMax, around.tcp))

/** Ids of the foreign programs on interfaces that drifted. */
function foreignOn(drift: ReadonlyMap<ObjectKey, string>, links: ReadonlyMap<string, Link>): number[] {
  const programs = [...links.values()].flatMap(({ name, programs }) => (drift.has(`interface:${name}`) ? programs : []))
  return [...new Set(programs.filter(({ generation }) => generation === undefined).map(({ id }) => id))]
}

/** Drift by missing pins: of maps that the live programs use, and of programs of the live generation. */
export function driftOfPins({ missing }: Instance, committed: Generation | undefined): [ObjectKey, string][] {
  if (!committed?.meta) return []
  const lost = committed.lost.flatMap(({ object, name }) => (object === 'map' ? [name] : []))
  const own = OWN_MAPS.filter((name) => !committed.ownMaps.has(name))
  const maps = [...missing.map(({ name }) => name), ...lost, ...own]
  const programs = [...committed.unpinned]
  const what = [
    ...(maps.length > 0 ? [`maps were unpinned: ${maps.join(', ')}`] : []),
    ...(programs.length > 0 ? [`programs were unpinned: ${programs.join(', ')}`] : []),
  ]
  return what.length > 0 ? [['program', what.join('; ')]] : []
}

/**
 * The namespace of the instance. An interface here that runs our program overrides the record: it may be damaged, and
 * must not prevent the apply that repairs it.
 */
export function namespaceOf(
  links: ReadonlyMap<string, Link>,
  instance: Instance,
  committed: Generation | undefined,
  own: bigint,
): bigint | undefined {
  const here = [...links.values()].some(({ programs }) => programs.some(({ generation }) => generation !== undefined))
  if (here) return own
  const recorded = (committed ?? instance.generations.at(-1))?.netns ?? 0n
  return recorded === 0n ? undefined : recorded
}

function liveState(
  committed: Generation | undefined,
  image: DecodedImage | undefined,
  interfaces: ReadonlyMap<string, Attachment>,
): State {
  if (!committed) return EMPTY_STATE
  const digest = Buffer.from(committed.meta?.object_digest ?? []).toString('hex')
  return {
    program: { digest, abi: committed.abi },
    policy: image?.policy,
    interfaces,
    lists: image?.lists ?? new Map(),
    services: image?.services ?? new Map(),
    ...(image?.rateLimits.size && { rateLimits: image.rateLimits }),
    localPorts: image?.localPorts,
    receiveMax: image?.receiveMax,
  }
}

export interface SlotRecord extends AttachmentRecord {
  readonly slot: number
}

export function recordsOf(instance: Instance): Map<string, SlotRecord> {
  const records = (instance.attachments ?? []).map((record, slot) => ({ ...record, slot }))
  return new Map(
    records.filter(({ ifindex, slot }) => ifindex !== 0 && slot !== 0).map((record) => [record.name, record]),
  )
}

/**
 * Every interface that runs our program, of any generation. A difference from the record of the last apply is drift, so
 * that the planner attaches it again.
 */
export function liveInterfaces(
  links: ReadonlyMap<string, Link>,
  records: ReadonlyMap<string, SlotRecord>,
  instance: Instance,
  committed: Generation | undefined,
  image: DecodedImage | undefined,
  drift: Map<ObjectKey, string>,
): Map<string, Attachment> {
  const interfaces = new Map<string, Attachment>()
  const slots = new Map([...records].map(([name, { slot }]) => [name, slot]))
  for (const link of links.values()) {
    const ours = link.programs.find(({ generation }) => generation !== undefined)
    if (!ours) continue
    const record = records.get(link.name)
    const roles = image?.roles[record?.slot ?? 0] ?? EVERY_ROLE
    interfaces.set(link.name, { interface: link.name, modes: [ours.mode], roles })
    const what = committed?.meta && indexDrift(link, record, slots, links, instance.index ?? [])
    if (what !== undefined) drift.set(`interface:${link.name}`, what)
  }
  // Without a committed generation there is nothing to drift from.
  for (const record of committed ? records.values() : []) {
    const what = interfaceDrift(record, links.get(record.name), committed)
    if (what !== undefined) drift.set(`interface:${record.name}`, what)
  }
  for (const [name, slot] of image?.scopedInterfaces ?? []) {
    const record = records.get(name)
    if (record && record.slot !== slot && interfaces.has(name) && !drift.has(`interface:${name}`))
      drift.set(`interface:${name}`, 'lists that are limited to it do not find it')
  }
  if (committed) noteStackDrift(interfaces, links, records, instance, image, drift)
  return interfaces
}

/** Adds interfaces whose record of stacked devices differs from the devices. */
function noteStackDrift(
  interfaces: State['interfaces'],
  links: ReadonlyMap<string, Link>,
  records: ReadonlyMap<string, SlotRecord>,
  { stacks }: Instance,
  image: DecodedImage | undefined,
  drift: Map<ObjectKey, string>,
): void {
  // Without the tables, it is not known which interfaces have such a record.
  if (image === undefined) return
  const { services, lists, policy } = image
  for (const [name, { slot }] of records) {
    const wanted = stackRecord(stackFor({ interfaces, services, lists, policy }, name, links))
    const what = stackDrift(stacks?.[slot] ?? FREE_STACK, wanted)
    if (what !== undefined && !drift.has(`interface:${name}`)) drift.set(`interface:${name}`, what)
  }
}

/** A difference between the index and the devices on which packets of an attached interface arrive. */
function indexDrift(
  link: Link,
  record: SlotRecord | undefined,
  slots: ReadonlyMap<string, number>,
  links: ReadonlyMap<string, Link>,
  index: readonly InterfaceEntry[],
): string | undefined {
  const gone = 'its packets are not counted: its record is gone'
  if (record?.ifindex !== link.ifindex) return gone
  const wanted = entriesOf(slots, links).filter(({ slot }) => slot === record.slot)
  const wrong = wanted.find((entry) => !isSameEntry(indexedEntry(index, entry.ifindex) ?? FREE_ENTRY, entry))
  const named = (ifindex: number): string =>
    [...links.values()].find((other) => other.ifindex === ifindex)?.name ?? `device ${ifindex}`
  if (wrong && isMember(wrong)) return `packets of its member ${named(wrong.ifindex)} are not counted for it`
  if (wrong) return indexedEntry(index, wrong.ifindex)?.slot === wrong.slot ? 'its record was changed' : gone
  const left = index.find(
    (entry) =>
      isMember(entry) && entry.slot === record.slot && !wanted.some(({ ifindex }) => ifindex === entry.ifindex),
  )
  return left && `${named(left.ifindex)} is no longer its member but still counts for it`
}

/** The difference between the record of the devices stacked on an interface and the devices, as a clause. */
function stackDrift(recorded: InterfaceStack, wanted: InterfaceStack): string | undefined {
  if (isSameStack(recorded, wanted)) return undefined
  return recorded.mac.every((mac, i) => mac === wanted.mac[i])
    ? 'other devices are stacked on it than at the last apply'
    : 'it, or a device stacked on it, has another MAC address than at the last apply'
}

function interfaceDrift(
  record: SlotRecord,
  link: Link | undefined,
  committed: Generation | undefined,
): string | undefined {
  if (!link) return 'the interface is gone'
  const ours = link.programs.find(({ generation }) => generation !== undefined)
  if (link.ifindex !== record.ifindex && !ours) return 'the interface was removed and made again since the last apply'
  if (!ours)
    return link.programs.length > 0 ? 'another program was attached in place of ours' : 'detached since the last apply'
  if (ours.generation !== committed?.number) return `runs generation ${ours.generation}, left by an interrupted apply`
  if (MODE_NUMBERS[ours.mode] !== record.mode) return `attached in ${ours.mode} mode, not as the last apply did`
  return undefined
}

/** Adds to each program its generation if it is ours, and its load time if that is known. */
export function withOwners(
  rawLinks: ReadonlyMap<string, RawLink>,
  instance: Instance,
  foreign: ReadonlyMap<number, ForeignFacts> = new Map(),
): Map<string, Link> {
  const generations = new Map(instance.generations.map(({ program, number }) => [program.id, number]))
  const own = (link: RawLink): Link => ({
    ...link,
    programs: link.programs.map(
      (program): AttachedProgram => ({
        ...program,
        ...(foreign.get(program.id) ?? { loadedAt: 0 }),
        generation: generations.get(program.id),
      }),
    ),
  })
  return new Map([...rawLinks].map(([name, link]) => [name, own(link)]))
}
