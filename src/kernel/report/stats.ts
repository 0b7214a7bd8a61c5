// Everything in `xdp stats`, as cheaply as possible: one ip and one bpftool process, and of the policy only the records
// of its lists. Reports only drift that shows without reading tables: that of interfaces and pins.

import { NO_SLOT, SERVICE_SLOTS } from '../../abi/generated.ts'
import type { Generation, Instance } from '../../abi/instance.ts'
import type { MapShape, Paths } from '../../abi/paths.ts'
import { fail, XdpError } from '../../diagnostics.ts'
import { BALANCER } from '../../features/balancer.ts'
import { BANS, type BanCount } from '../../features/bans.ts'
import type { GaugeFacts } from '../../features/feature.ts'
import { memoryUse, ownMemoryUse } from '../../features/features.ts'
import { FILTER } from '../../features/filter.ts'
import type { POLICY_ROWS } from '../../features/rows.ts'
import type { Confirmation } from '../../model/confirmation.ts'
import { FIRST_INTERFACE_SLOT, INTERFACE_SLOTS, LIST_SLOTS } from '../../model/limits.ts'
import type { ObjectKey } from '../../model/live.ts'
import { decides } from '../../model/rate-sources.ts'
import { guardNamespace } from '../../plan/guard.ts'
import type { Count } from '../../report/result.ts'
import type { Fill, Memory, Stats } from '../../report/stats.ts'
import { MAX_CLASS } from '../../tables/classes/classes.ts'
import { MAX_PARTS } from '../../tables/image/image.ts'
import { ownNetns } from '../host/host.ts'
import { readLinks } from '../host/links.ts'
import { type Counters, countersPart } from '../live/counters.ts'
import { type GaugeReadings, gaugeRows, gaugesPart } from '../live/gauges.ts'
import { readObserved } from '../live/service-counters.ts'
import { findPins, instancePart, requirePins, withFiles } from '../observe/instance.ts'
import { pendingOf } from '../observe/leftovers.ts'
import {
  committedGeneration,
  driftOfPins,
  isSwitching,
  liveInterfaces,
  namespaceOf,
  recordsOf,
  type SlotRecord,
  withOwners,
} from '../observe/observe.ts'
import { settled } from '../observe/settled.ts'
import { joinParts, runParts } from '../tools/bpftool.ts'
import { possibleCpus } from '../tools/cpus.ts'
import { memoryPart } from './memory.ts'
import { readMitigations } from './mitigation-status.ts'
import { withSources } from './rate-status.ts'
import { readServices, type ServiceStats } from './stats-services.ts'
import { interfaceStatus, iso, unknownInterfaces } from './status.ts'
import { readSyn } from './syn-status.ts'

interface Pinned {
  readonly instance: Instance
  /** By generation, without those that lack a program for it; empty if only maps of another build exist. */
  readonly counters: ReadonlyMap<number, Counters>
  /** By generation. */
  readonly gauges: ReadonlyMap<number, GaugeReadings>
  /** Kernel memory in bytes, by map. */
  readonly memory: ReadonlyMap<MapShape, number>
}

async function readPinned(paths: Paths): Promise<Pinned> {
  const [pins, cpus] = await Promise.all([findPins(paths), possibleCpus()])
  const { present } = pins
  const usable = present.length > 0 ? pins.usable : []
  const generations = usable.filter(({ programs }) => READERS.every((name) => programs.has(name)))
  const [instance, counters, gauges, memory] = await withFiles(pins, (files) =>
    runParts(
      instancePart(files, paths, pins),
      joinParts<Counters[]>(
        ...generations.map(({ number }) =>
          countersPart(`${files}/stats-${number}`, paths.program(number, FILTER.programs.stats), cpus),
        ),
      ),
      joinParts<GaugeReadings[]>(
        ...usable.map(({ number, programs }) => gaugesPart({ paths, present, generation: number, programs })),
      ),
      memoryPart(paths, present),
    ),
  )
  return {
    instance,
    counters: new Map(generations.map(({ number }, i) => [number, counters[i] as Counters])),
    gauges: new Map(usable.map(({ number }, i) => [number, gauges[i] as GaugeReadings])),
    memory,
  }
}

/** Programs that read counters and records. */
const READERS = [FILTER.programs.stats, FILTER.programs.read, BALANCER.programs.counters]

const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0)

function fillOf(
  generation: Generation,
  { gauges }: Pinned,
  { lists }: Counters,
  records: ReadonlyMap<string, SlotRecord>,
  { services, slots }: ServiceStats,
  rateLimits: GaugeFacts['rateLimits'],
): Fill[] {
  const policy: Fill<keyof typeof POLICY_ROWS>[] = [
    { name: 'interfaces', used: records.size, capacity: INTERFACE_SLOTS - FIRST_INTERFACE_SLOT },
    { name: 'lists', used: lists.length, capacity: LIST_SLOTS },
    { name: 'scopes', used: sum(lists, ({ scopes }) => scopes), capacity: MAX_PARTS },
    // Class 0 means no list.
    { name: 'classes', used: Math.max(0, (generation.meta?.class_count ?? 1) - 1), capacity: MAX_CLASS },
    { name: 'services', used: services.length, capacity: SERVICE_SLOTS },
    { name: 'backends', used: sum(services, ({ backends }) => backends.length), capacity: NO_SLOT },
  ]
  return [
    ...policy,
    ...gaugeRows(gauges.get(generation.number) ?? new Map(), { generation, services, slots, rateLimits }),
  ]
}

function memoryOf(committed: Generation | undefined, { memory }: Pinned): Memory {
  const shared = (use: keyof Memory): number => sum([...memory], ([map, bytes]) => (memoryUse(map) === use ? bytes : 0))
  const own = (use: keyof Memory): number =>
    sum([...(committed?.ownMaps ?? [])], ([name, map]) => (ownMemoryUse(name) === use ? map.memory : 0))
  return {
    policy: (committed?.memory ?? 0) + own('policy') + shared('policy'),
    counters: own('counters') + shared('counters'),
    bans: own('bans') + shared('bans'),
  }
}

/** Packets that observed bans would have dropped. */
const observedBans = (committed: Generation | undefined, { gauges }: Pinned): Count | undefined =>
  (gauges.get(committed?.number ?? 0)?.get(BANS.name) as BanCount | undefined)?.observed

const NO_COUNTERS: Counters = { interfaces: [], lists: [] }

/** Throws E116 if the live program belongs to a build whose counters cannot be read, E119 if pins for that are missing. */
function countersOf(committed: Generation | undefined, { counters }: Pinned): Counters {
  if (!committed) return NO_COUNTERS
  const own = committed.meta && counters.get(committed.number)
  if (own) return own
  if (committed.meta) requirePins(committed, READERS)
  const message = `the program in the kernel is from another build (ABI ${committed.abi}), whose counters this build cannot read`
  throw fail('E116', message, 'run `xdp apply` first')
}

/** The statistics without the deadline of a confirmation, of which the kernel knows nothing. */
type KernelStats = Omit<Stats, 'pending'> & { readonly pending: Confirmation | undefined }

/** `switching`: an apply is running and some interfaces already use its generation. */
async function readOnce(paths: Paths): Promise<{ stats: KernelStats; switching: boolean }> {
  const begun = performance.now()
  const [rawLinks, own, pinned] = await Promise.all([readLinks(), ownNetns(), readPinned(paths)])
  const { instance } = pinned
  const attached = new Set([...rawLinks.values()].flatMap(({ programs }) => programs.map(({ id }) => id)))
  const committed = committedGeneration(instance, attached)
  const links = withOwners(rawLinks, instance)
  const refusals = guardNamespace({ netns: namespaceOf(links, instance, committed, own), ownNetns: own })
  if (refusals.length > 0) throw new XdpError(refusals)
  const counters = countersOf(committed, pinned)
  const observing = counters.lists.filter(({ observes }) => observes).map(({ slot }) => slot)
  const isReadable = committed !== undefined && instance.missing.length === 0
  const [served, { rate_limits, anomalies }, syn_protection, observed] = await Promise.all([
    readServices(paths, committed, instance),
    readMitigations(paths, committed, instance),
    readSyn(paths, committed, instance),
    readObserved(paths, committed?.number ?? 0, isReadable ? observing : []),
  ])
  const records = recordsOf(instance)
  const drift = new Map<ObjectKey, string>(driftOfPins(instance, committed))
  const interfaces = liveInterfaces(links, records, instance, committed, undefined, drift)
  const committedAt = Number(committed?.meta?.committed_at ?? 0n)
  const generation = committed?.number ?? 0
  const stats: KernelStats = {
    time: Date.now(),
    seconds: Math.round((performance.now() - begun) * 1000) / 1_000_000,
    interfaces: [...interfaces.keys()].toSorted().flatMap((name) => {
      const [link, record] = [links.get(name), records.get(name)]
      return link ? interfaceStatus(link, record?.since ?? 0n, record && counters.interfaces[record.slot]) : []
    }),
    unknown: unknownInterfaces(counters),
    detached: committed ? [...records.keys()].filter((name) => !interfaces.has(name)).toSorted() : [],
    lists: counters.lists.filter(decides).map(({ name, kind, prefixes, packets, bytes, observes, slot }) => {
      const seen = observes ? observed.get(slot) : undefined
      return { name, kind, prefixes, packets, bytes, ...(seen && { observed: seen }) }
    }),
    anomalies,
    rate_limits: withSources(rate_limits, counters.lists),
    observed_bans: observedBans(committed, pinned),
    syn_protection,
    services: served.services,
    fill: committed ? fillOf(committed, pinned, counters, records, served, rate_limits) : [],
    memory: memoryOf(committed, pinned),
    program: committed && {
      digest: Buffer.from(committed.meta?.object_digest ?? []).toString('hex'),
      tag: committed.program.tag,
      abi: committed.abi,
    },
    generation,
    committed_at: committedAt > 0 ? iso(committedAt) : undefined,
    drifted: [...drift].map(([key, what]) => ({ key, what })),
    pending: pendingOf(instance, committed),
  }
  return { stats, switching: isSwitching({ links, generation }) }
}

/** Reads counters and gauges. Throws E201 in another namespace, E116 if the program of another build is live. */
export async function readStats(paths: Paths): Promise<KernelStats> {
  const { stats } = await settled(paths, () => readOnce(paths), { isPassing: ({ switching }) => switching })
  return stats
}
