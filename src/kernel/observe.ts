// Observation: netlink and pins → Live. Reads only. The live state is what the committed generation's tables really
// hold and what is really attached; the records of the last apply serve only to tell drift from an edited file.

import { setTimeout } from 'node:timers/promises'
import { ABI_VERSION, type Attachment as AttachmentRecord } from '../abi/generated.ts'
import { type Paths, SHARED_MAPS } from '../abi/paths.ts'
import { XdpError } from '../diagnostics.ts'
import type { AttachedProgram, Link, Live, ObjectKey } from '../model/live.ts'
import { type Attachment, EMPTY_STATE, type State } from '../model/state.ts'
import { guardNamespace } from '../plan/guard.ts'
import type { Previous } from '../tables/difference.ts'
import { listDigest } from '../tables/digest.ts'
import type { DecodedImage } from '../tables/image.ts'
import type { Recall } from '../tables/recognize.ts'
import { bpftool, runBatch } from './bpftool.ts'
import { effectiveCapabilities, mayOpenForeign, ownNetns } from './host.ts'
import { type Generation, type Instance, readInstance } from './instance.ts'
import { type RawLink, readLinks } from './links.ts'
import { indexedSlot, MODE_NUMBERS } from './records.ts'
import { readTables } from './tables.ts'

/** Live, with what execution needs of the raw observation. */
export interface Observation extends Live {
  readonly instance: Instance
  /** The generation the live state was read from. */
  readonly committed: Generation | undefined
  /** What the next generation can take over of its tables. */
  readonly previous: Previous | undefined
}

/** Attempts at a consistent reading while another process applies, and the time between its switch and its commit. */
const ATTEMPTS = 3
const SETTLING_MS = 200

/**
 * Reads the live state. `expected`: what it most likely is; recognising it is cheaper than decoding it. Throws what
 * bpftool and ip throw. What changes meanwhile is read again: a reader takes no lock, and an apply of somebody else is
 * neither an error nor drift.
 */
export async function observe(paths: Paths, expected?: State): Promise<Observation> {
  for (let attempt = 1; ; attempt++) {
    try {
      const live = await observeOnce(paths, expected)
      if (attempt === ATTEMPTS || !isSwitching(live)) return live
      await setTimeout(SETTLING_MS)
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof XdpError)) throw error
    }
  }
}

/** Whether an interface runs a generation that is not committed yet: of an apply under way, or of one that was killed. */
const isSwitching = ({ links, generation }: Observation): boolean =>
  [...links.values()].some(({ programs }) => programs.some((program) => (program.generation ?? 0) > generation))

/** Throws E201 in another namespace than the instance's, where none of its interfaces could be seen. */
export function refuseOtherNamespace(live: Live): void {
  const diagnostics = guardNamespace(live)
  if (diagnostics.length > 0) throw new XdpError(diagnostics)
}

/** The newest generation whose switch was verified; before an ABI change, the newest that is attached. */
function committedGeneration(instance: Instance, attached: ReadonlySet<number>): Generation | undefined {
  const { generations } = instance
  return (
    generations.findLast(({ meta }) => meta !== undefined && meta.committed_at > 0n) ??
    generations.findLast(({ abi, program }) => abi !== ABI_VERSION && attached.has(program.id))
  )
}

async function observeOnce(paths: Paths, expected: State | undefined): Promise<Observation> {
  const [rawLinks, instance, netns] = await Promise.all([readLinks(), readInstance(paths), ownNetns()])
  const attached = new Set([...rawLinks.values()].flatMap(({ programs }) => programs.map(({ id }) => id)))
  const committed = committedGeneration(instance, attached)
  const drift = new Map<ObjectKey, string>()
  const [tables, links] = await Promise.all([
    committed?.meta && readTables(paths, committed, recallFrom(expected)),
    withOwners(rawLinks, instance),
  ])
  const image = tables?.image
  const records = recordsOf(instance)
  for (const name of image?.drifted ?? []) {
    drift.set(name === 'policy' ? 'policy' : `list:${name}`, 'changed in the kernel since the last apply')
  }
  if (tables?.damage && !image?.drifted.length) drift.set('program', tables.damage)
  const unpinned = missingMaps(instance, committed)
  if (unpinned.length > 0) drift.set('program', `what it counts in was unpinned: ${unpinned.join(', ')}`)
  const interfaces = liveInterfaces(links, records, instance, committed, drift)
  return {
    state: liveState(committed, image, interfaces),
    links,
    drift,
    generation: committed?.number ?? 0,
    lastGeneration: Math.max(0, ...instance.incomplete, ...instance.generations.map(({ number }) => number)),
    slots: {
      interfaces: new Map([...records].map(([name, { slot }]) => [name, slot])),
      lists: image?.slots ?? new Map(),
    },
    netns: namespaceOf(links, instance, committed, netns),
    ownNetns: netns,
    committedAt: Number(committed?.meta?.committed_at ?? 0n),
    leftovers: leftovers(paths, instance, committed),
    instance,
    committed,
    previous: tables?.previous,
  }
}

/** Lists of the expected state, by what the live ones are recorded as. */
const recallFrom =
  (expected: State | undefined): Recall =>
  ({ name, digest }) => {
    const list = expected?.lists.get(name)
    return list && listDigest(list) === digest ? list : undefined
  }

/** Shared maps that the live programs use and nobody can reach any more. An older build has fewer: that is no drift. */
function missingMaps({ missing }: Instance, committed: Generation | undefined): string[] {
  if (!committed?.meta) return []
  return missing
    .filter((map) => committed.knowsBans || (map !== 'bans' && map !== 'banState'))
    .map((map) => SHARED_MAPS[map].name)
}

/**
 * The namespace of the instance. An interface of ours in this namespace proves more than the record, which something
 * may have damaged and which must not keep an apply from repairing it.
 */
function namespaceOf(
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
  }
}

interface SlotRecord extends AttachmentRecord {
  readonly slot: number
}

function recordsOf(instance: Instance): Map<string, SlotRecord> {
  const records = (instance.attachments ?? []).map((record, slot) => ({ ...record, slot }))
  return new Map(
    records.filter(({ ifindex, slot }) => ifindex !== 0 && slot !== 0).map((record) => [record.name, record]),
  )
}

/**
 * Every interface that runs a program of ours, of whatever generation. Where that is not what the last apply recorded
 * it is also drift, which makes the planner attach it anew.
 */
function liveInterfaces(
  links: ReadonlyMap<string, Link>,
  records: ReadonlyMap<string, SlotRecord>,
  instance: Instance,
  committed: Generation | undefined,
  drift: Map<ObjectKey, string>,
): Map<string, Attachment> {
  const interfaces = new Map<string, Attachment>()
  for (const link of links.values()) {
    const ours = link.programs.find(({ generation }) => generation !== undefined)
    if (!ours) continue
    interfaces.set(link.name, { interface: link.name, modes: [ours.mode] })
    const record = records.get(link.name)
    const counted = record?.ifindex === link.ifindex && indexedSlot(instance.index ?? [], link.ifindex) === record.slot
    if (committed?.meta && !counted)
      drift.set(`interface:${link.name}`, 'its packets are not counted: the record of it is gone')
  }
  // Without a committed generation nothing was promised that could have drifted.
  for (const record of committed ? records.values() : []) {
    const what = interfaceDrift(record, links.get(record.name), committed)
    if (what !== undefined) drift.set(`interface:${record.name}`, what)
  }
  return interfaces
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

/** Adds to each program whose it is; foreign ones also get their load time, which netlink does not say. */
async function withOwners(rawLinks: ReadonlyMap<string, RawLink>, instance: Instance): Promise<Map<string, Link>> {
  const generations = new Map(instance.generations.map(({ program, number }) => [program.id, number]))
  const foreign = [
    ...new Set(
      [...rawLinks.values()]
        .flatMap(({ programs }) => programs.map(({ id }) => id))
        .filter((id) => !generations.has(id)),
    ),
  ]
  // Without the right to look at them, when they were loaded is not known.
  const open = mayOpenForeign(await effectiveCapabilities()) ? foreign : []
  const shown = (await runBatch(open.map((id) => bpftool('prog', 'show', 'id', `${id}`)))) as {
    id: number
    loaded_at?: number
  }[]
  const loadedAt = new Map(shown.map(({ id, loaded_at }) => [id, loaded_at ?? 0]))
  const own = (link: RawLink): Link => ({
    ...link,
    programs: link.programs.map(
      (program): AttachedProgram => ({
        ...program,
        loadedAt: loadedAt.get(program.id) ?? 0,
        generation: generations.get(program.id),
      }),
    ),
  })
  return new Map([...rawLinks].map(([name, link]) => [name, own(link)]))
}

/**
 * What an interrupted apply or destroy left. Pins of another ABI are none as long as what is live is of that ABI; shared
 * maps are, where no generation is left to use them.
 */
function leftovers(paths: Paths, instance: Instance, committed: Generation | undefined): string[] {
  const generations = [...instance.incomplete, ...instance.generations.map(({ number }) => number)]
  return [
    ...generations.filter((number) => number !== committed?.number).map((number) => paths.generation(number)),
    ...(committed && !committed.meta ? [] : instance.others.map((name) => `${paths.instance}/${name}`)),
    ...(generations.length === 0 && instance.missing.length < Object.keys(SHARED_MAPS).length ? [paths.shared] : []),
  ]
}
