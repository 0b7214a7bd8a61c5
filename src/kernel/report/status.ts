// Everything in `xdp status`: the live state, with its counters.

import type { Paths } from '../../abi/paths.ts'
import { BALANCER } from '../../features/balancer.ts'
import { SHARED_MAPS } from '../../features/features.ts'
import { FILTER } from '../../features/filter.ts'
import type { Link } from '../../model/live.ts'
import { decides } from '../../model/rate-sources.ts'
import { observes } from '../../model/scope.ts'
import { listPrefixes } from '../../model/state.ts'
import { driftOf } from '../../plan/attachments.ts'
import { culpritsOn } from '../../plan/origin.ts'
import { type ReasonName, type Verdict, verdictOf } from '../../report/reason.ts'
import type { Count, InterfaceStatus, Status, UnknownInterfaces } from '../../report/result.ts'
import type { Memory } from '../host/memory.ts'
import { readBanCount } from '../live/bans.ts'
import { type Counters, readCounters } from '../live/counters.ts'
import { readObserved } from '../live/service-counters.ts'
import { type Observation, observe, refuseOtherNamespace } from '../observe/observe.ts'
import { runParts } from '../tools/bpftool.ts'
import { anomalyStatus } from './anomaly-status.ts'
import { memoryPart } from './memory.ts'
import { rateStatus, withSources } from './rate-status.ts'
import { readServiceStatus } from './service-status.ts'
import { synStatus } from './syn-status.ts'

/** Last second that a Date can represent (ECMA-262); a damaged record may hold any number. */
const LAST_SECOND = 8_640_000_000_000

export const iso = (seconds: number): string =>
  new Date(Math.min(seconds, LAST_SECOND) * 1000).toISOString().replace('.000Z', 'Z')

const occurred = (counts: ReadonlyMap<ReasonName, Count> = new Map()): UnknownInterfaces =>
  Object.fromEntries([...counts].filter(([, { packets }]) => packets > 0))

/** Slot 0 of the counters. */
export const unknownInterfaces = ({ interfaces: [unknown] }: Counters): UnknownInterfaces => occurred(unknown)

/** The status of an interface as a list: empty unless it runs a program of ours. `since`: Unix time in seconds. */
export function interfaceStatus(
  link: Link,
  since: bigint,
  counts: ReadonlyMap<ReasonName, Count> = new Map(),
): InterfaceStatus[] {
  const program = link.programs.find(({ generation }) => generation !== undefined)
  if (!program) return []
  const none: Record<Verdict, number> = { pass: 0, drop: 0, tx: 0, redirect: 0, aborted: 0 }
  const packets = { ...none }
  const bytes = { ...none }
  for (const [reason, count] of counts) {
    const verdict = verdictOf(reason)
    packets[verdict] += count.packets
    bytes[verdict] += count.bytes
  }
  return [
    {
      name: link.name,
      ifindex: link.ifindex,
      mode: program.mode,
      program_id: program.id,
      since: iso(Number(since)),
      packets,
      bytes,
      reasons: occurred(counts),
    },
  ]
}

/** Kernel memory of the maps that outlive generations, in bytes. */
async function sharedMemory(paths: Paths, { instance: { missing } }: Observation): Promise<number> {
  const present = SHARED_MAPS.filter((map) => !missing.includes(map))
  const [memory] = await runParts(memoryPart(paths, present))
  return [...memory.values()].reduce((sum, bytes) => sum + bytes, 0)
}

/** Kernel memory of the live generation in bytes: its policy, its program, and the maps of the balancer. */
function generationMemory({ committed }: Observation): number {
  const maps = [...(committed?.ownMaps.values() ?? [])].reduce((sum, { memory }) => sum + memory, 0)
  return (committed?.memory ?? 0) + maps
}

function programStatus(live: Observation): Status['program'] {
  const { program } = live.state
  return program && { digest: program.digest, tag: live.committed?.program.tag ?? '', abi: program.abi }
}

const NO_COUNTERS: Counters = { interfaces: [], lists: [] }

/** The status without the daemon, the last apply and the deadline, of which the kernel knows nothing. */
type KernelStatus = Omit<Status, 'watcher' | 'last_apply' | 'pending' | 'reverted' | 'rollback'> &
  Pick<Observation, 'pending'>

/** Reads the live state and its counters. */
export async function readStatus(paths: Paths, memory: Memory): Promise<KernelStatus> {
  const live = await observe(paths, memory)
  refuseOtherNamespace(live)
  const records = live.instance.attachments ?? []
  const attached = [...live.state.interfaces.keys()].toSorted().flatMap((name) => {
    const slot = live.slots.interfaces.get(name)
    const link = live.links.get(name)
    return link ? [{ slot, link }] : []
  })
  const [bans, shared] = await Promise.all([readBanCount(paths, live), sharedMemory(paths, live)])
  const lists = [...live.state.lists.values()].flatMap((list) => {
    const slot = live.slots.lists.get(list.name)
    return slot === undefined ? [] : [{ slot, list }]
  })
  const deciding = lists.filter(({ list }) => decides(list))
  const sources = lists.flatMap(({ list }) =>
    decides(list) ? [] : [{ name: list.name, prefixes: listPrefixes(list) }],
  )
  const { stats } = FILTER.programs
  const counts = live.committed?.meta && !live.committed.unpinned.has(stats)
  const counters = counts ? await readCounters(paths, live.generation) : NO_COUNTERS
  const counted = new Map(counters.lists.map(({ slot, packets, bytes }) => [slot, { packets, bytes }]))
  // Counters and health whose pins were removed by hand cannot be read. That is drift, which status reports beside it.
  const isReadable =
    live.instance.missing.length === 0 && live.committed?.unpinned.has(BALANCER.programs.counters) === false
  const services = isReadable ? await readServiceStatus(paths, { ...live, services: live.state.services }) : []
  const { rateLimits = new Map() } = live.state
  const rate_limits = isReadable
    ? await rateStatus(paths, live.generation, rateLimits, live.slots.rates ?? new Map())
    : []
  const anomalies = isReadable ? await anomalyStatus(paths, live.generation, live.state.policy?.anomalies ?? []) : []
  const syn_protection = isReadable ? await synStatus(paths, live.state.policy?.syn_protection ?? '') : undefined
  const observing = lists.filter(({ list }) => observes(list)).map(({ slot }) => slot)
  const observed = await readObserved(paths, live.generation, isReadable ? observing : [])
  const drift = driftOf(live)
  return {
    interfaces: attached.flatMap(({ slot, link }) =>
      // An interface without a slot has no record and no counters. That is drift, which status reports beside it.
      interfaceStatus(
        link,
        records[slot ?? 0]?.since ?? 0n,
        slot === undefined ? undefined : counters.interfaces[slot],
      ).map((status) => ({ ...status, chain: live.state.interfaces.get(link.name)?.chain })),
    ),
    unknown: unknownInterfaces(counters),
    lists: deciding.map(({ slot, list }) => ({
      name: list.name,
      kind: list.kind,
      prefixes: listPrefixes(list),
      ...(counted.get(slot) ?? { packets: 0, bytes: 0 }),
      ...(observed.has(slot) && { observed: observed.get(slot) as Count }),
    })),
    anomalies,
    rate_limits: withSources(rate_limits, sources),
    syn_protection,
    services,
    policy: live.state.policy,
    program: programStatus(live),
    generation: live.generation,
    committed_at: live.committedAt > 0 ? iso(live.committedAt) : undefined,
    bans: bans && { live: bans.live, capacity: bans.capacity },
    memory: generationMemory(live) + shared,
    drift: drift.size > 0,
    drifted: [...drift].map(([key, what]) => ({ key, what, ...culpritsOn(key, live) })),
    leftovers: live.leftovers,
    pending: live.pending,
  }
}
