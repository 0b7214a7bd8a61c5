// What is live, with its counters: everything `xdp status` reports.

import { availableParallelism } from 'node:os'
import { type Paths, SHARED_MAPS, type SharedMap } from '../abi/paths.ts'
import type { Link } from '../model/live.ts'
import { countPrefixes } from '../model/ranges.ts'
import type { Count, InterfaceStatus, ReasonName, Status, Verdict } from '../model/result.ts'
import type { List } from '../model/state.ts'
import { countBans } from './bans.ts'
import { readCounters, verdictOf } from './counters.ts'
import { type Observation, observe, refuseOtherNamespace } from './observe.ts'

/** The last second that a Date can tell (ECMA-262): damaged records may hold any number. */
const LAST_SECOND = 8_640_000_000_000

const iso = (seconds: number): string =>
  new Date(Math.min(seconds, LAST_SECOND) * 1000).toISOString().replace('.000Z', 'Z')

/** Prefixes of the smallest cover, over all scopes and both families. */
const prefixesOf = ({ sets }: List): number =>
  sets.reduce((sum, { addresses }) => sum + countPrefixes(addresses.v4) + countPrefixes(addresses.v6), 0)

function interfaceStatus(link: Link, since: number, counts: ReadonlyMap<ReasonName, Count>): InterfaceStatus[] {
  const program = link.programs.find(({ generation }) => generation !== undefined)
  if (!program) return []
  const none: Record<Verdict, number> = { pass: 0, drop: 0, tx: 0, redirect: 0, aborted: 0 }
  const packets = { ...none }
  const bytes = { ...none }
  const reasons: Partial<Record<ReasonName, Count>> = {}
  for (const [reason, count] of counts) {
    const verdict = verdictOf(reason)
    packets[verdict] += count.packets
    bytes[verdict] += count.bytes
    if (count.packets > 0) reasons[reason] = count
  }
  return [
    {
      name: link.name,
      ifindex: link.ifindex,
      mode: program.mode,
      program_id: program.id,
      since: iso(since),
      packets,
      bytes,
      reasons,
    },
  ]
}

/** Kernel memory of the shared maps but bans, whose size varies; per-CPU maps exist once for every CPU. */
const sharedMemory = (missing: readonly SharedMap[]): number =>
  Object.entries(SHARED_MAPS).reduce((sum, [map, { type, valueSize, entries }]) => {
    const copies = type === 'percpu_array' ? availableParallelism() : 1
    return missing.includes(map as SharedMap) || type === 'hash' ? sum : sum + valueSize * entries * copies
  }, 0)

function programStatus(live: Observation): Status['program'] {
  const { program } = live.state
  return program && { digest: program.digest, tag: live.committed?.program.tag ?? '', abi: program.abi }
}

async function bansOf(
  paths: Paths,
  { committed, instance }: Observation,
): Promise<Awaited<ReturnType<typeof countBans>> | undefined> {
  const isThere = committed?.knowsBans && !instance.missing.includes('bans')
  return committed && isThere ? countBans(paths, committed.number) : undefined
}

/** Reads the live state and its counters. */
export async function readStatus(paths: Paths): Promise<Omit<Status, 'last_apply'>> {
  const live = await observe(paths)
  refuseOtherNamespace(live)
  const records = live.instance.attachments ?? []
  const attached = [...live.state.interfaces.keys()].toSorted().flatMap((name) => {
    const slot = live.slots.interfaces.get(name)
    const link = live.links.get(name)
    return link ? [{ slot, link }] : []
  })
  const bans = await bansOf(paths, live)
  const lists = [...live.state.lists.values()].flatMap((list) => {
    const slot = live.slots.lists.get(list.name)
    return slot === undefined ? [] : [{ slot, list }]
  })
  // Counters that were unpinned by hand cannot be read: drift, which status shows.
  const readable = live.instance.missing.length === 0
  const counters = await readCounters(
    paths,
    readable ? attached.flatMap(({ slot }) => slot ?? []) : [],
    readable ? lists.map(({ slot }) => slot) : [],
  )
  return {
    interfaces: attached.flatMap(({ slot, link }) =>
      // Without a slot nothing was recorded and nothing counts: drift, which status shows beside it.
      interfaceStatus(link, Number(records[slot ?? 0]?.since ?? 0n), counters.interfaces.get(slot ?? 0) ?? new Map()),
    ),
    lists: lists.map(({ slot, list }) => ({
      name: list.name,
      kind: list.kind,
      prefixes: prefixesOf(list),
      ...(counters.lists.get(slot) ?? { packets: 0, bytes: 0 }),
    })),
    policy: live.state.policy,
    program: programStatus(live),
    generation: live.generation,
    committed_at: live.committedAt > 0 ? iso(live.committedAt) : undefined,
    bans: bans && { live: bans.live, capacity: bans.capacity },
    memory: (live.committed?.memory ?? 0) + sharedMemory(live.instance.missing) + (bans?.memory ?? 0),
    drift: live.drift.size > 0,
    drifted: [...live.drift].map(([key, what]) => ({ key, what })),
    leftovers: live.leftovers,
  }
}
