// Bans in the kernel. Runs of ban_write write them, 256 per run, all runs in one bpftool process; ban-list.ts lists
// them. Writing needs the lock of the instance. Expiry uses the boot time of the kernel, which neither NTP nor a
// suspended machine changes; times of day are computed from the remaining time.

import { writeFile } from 'node:fs/promises'
import { uptime } from 'node:os'
import { ran, valueView } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool, type Command, hexBytes, keyBytes, type Part, plainRun } from '../../abi/command.ts'
import {
  BAN_OP,
  BAN_REQUESTS,
  BAN_RESULT,
  type BanKey,
  type Ban as BanRecord,
  type BanState,
  banCodec,
  banHeaderCodec,
  banKeyCodec,
  banRequestCodec,
  LINE_SIZE,
  type Meta,
  metaCodec,
} from '../../abi/generated.ts'
import type { Generation, Instance } from '../../abi/instance.ts'
import { generationOf, type Paths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import { BANS, type BanCount, type BanFacts, banStatePart } from '../../features/bans.ts'
import type { Observed } from '../../features/feature.ts'
import type { Address } from '../../model/address.ts'
import type { Ban, BanLabels, BanOutcome, BanRequest } from '../../model/ban.ts'
import { type Prefix, prefixOf } from '../../model/text.ts'
import { META_LINE } from '../../tables/layout/layout.ts'
import { list } from '../observe/instance.ts'
import { readOutput, understand } from '../tools/answer.ts'
import { askBatch, runBatch, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { CommandError } from '../tools/spawn.ts'
import { runLine } from '../tools/transfer.ts'

/** XDP_PASS: the run handled all its requests. */
const DONE = 2
/** Attempts for a request without memory: the program runs in a context that cannot wait for memory. */
const ATTEMPTS = 5
const MS = 1_000_000n

/** Most requests of one bpftool process, which holds the lock while an apply may wait for it. */
export const MOST_REQUESTS = 64 * BAN_REQUESTS

const OUTCOMES: Readonly<Record<number, BanOutcome['result']>> = {
  [BAN_RESULT.ADDED]: 'added',
  [BAN_RESULT.REFRESHED]: 'refreshed',
  [BAN_RESULT.REMOVED]: 'removed',
  [BAN_RESULT.ABSENT]: 'absent',
  [BAN_RESULT.FULL]: 'full',
  [BAN_RESULT.NO_MEMORY]: 'no-memory',
}

const PROGRAMS = Object.values(BANS.programs)
const MAPS = Object.values(BANS.maps)

/** Whether the bans of a generation can be read and swept. */
export const reachesBans = (
  { missing }: Instance,
  committed: Generation | undefined,
): committed is Generation & { meta: Meta } =>
  committed?.meta !== undefined &&
  !MAPS.some((map) => missing.includes(map)) &&
  !PROGRAMS.some((name) => committed.unpinned.has(name))

/** Generations whose programs can write bans, ascending; all share the maps. Throws like banGeneration. */
async function banGenerations(paths: Paths): Promise<number[]> {
  const [names, shared] = await Promise.all([list(paths.instance), list(paths.shared)])
  const numbers = names.map(generationOf).filter((number) => number !== undefined)
  const hasMaps = MAPS.every(({ name }) => shared.includes(name))
  const able: number[] = []
  for (const number of hasMaps ? numbers.sort((a, b) => a - b) : []) {
    const pins = await list(paths.programs(number))
    if (PROGRAMS.every((name) => pins.includes(name))) able.push(number)
  }
  if (able.length > 0) return able
  const message =
    numbers.length > 0
      ? 'cannot access the bans of the applied policy: another build of xdp applied it, or its pins are gone'
      : 'no policy is applied yet, so bans would have no effect'
  throw fail('E116', message, 'run `xdp apply` first')
}

/**
 * The oldest generation whose programs can write bans, because a newer one may belong to a running apply that may still
 * roll back. Throws E116 if no policy is applied, or an older build applied it.
 */
export async function banGeneration(paths: Paths): Promise<number> {
  const [oldest] = await banGenerations(paths)
  return oldest as number
}

/** Attempts to read, because an apply may remove generations meanwhile. */
const LOOKS = 3

/** Inode of the network namespace of the instance; undefined during its first apply. Takes no lock. */
export async function banNetns(paths: Paths): Promise<bigint | undefined> {
  for (let look = 1; ; look++) {
    const generations = await banGenerations(paths)
    try {
      const outputs = await askBatch(
        valueView(LINE_SIZE),
        generations.map((number) =>
          bpftool('map', 'lookup', 'pinned', paths.policy(number), 'key', ...keyBytes(META_LINE)),
        ),
      )
      return outputs.map((line) => metaCodec.decode(line).netns).find((netns) => netns !== 0n)
    } catch (error) {
      if (look === LOOKS || !(error instanceof CommandError)) throw error
    }
  }
}

/** The key of a prefix; its bits start at the top of `high`. */
export function banKey({ family, start, length }: Prefix): BanKey {
  const word = (index: number): bigint => BigInt(start[index] ?? 0)
  return { high: (word(0) << 32n) | word(1), low: (word(2) << 32n) | word(3), family, length }
}

/** The input of one run of ban_write. */
export function encodeRequests(requests: readonly BanRequest[], { reason, by }: BanLabels, now: number): Uint8Array {
  const { size, offsets } = banRequestCodec
  const bytes = new Uint8Array(banHeaderCodec.size + requests.length * size)
  const view = new DataView(bytes.buffer)
  banHeaderCodec.encode({ since: BigInt(now), count: requests.length }, view)
  // All requests share the labels, so encode them once.
  const common = new Uint8Array(size)
  const key = { high: 0n, low: 0n, family: 0, length: 0 }
  banRequestCodec.encode({ key, ttl: 0n, op: 0, result: BAN_RESULT.NONE, reason, by }, new DataView(common.buffer))
  for (const [index, { op, prefix, ttlMs }] of requests.entries()) {
    const at = banHeaderCodec.size + index * size
    bytes.set(common, at)
    banKeyCodec.encode(banKey(prefix), view, at + offsets.key)
    view.setBigUint64(at + offsets.ttl, BigInt(ttlMs) * MS, LITTLE_ENDIAN)
    view.setUint32(at + offsets.op, op === 'add' ? BAN_OP.ADD : BAN_OP.REMOVE, LITTLE_ENDIAN)
  }
  return bytes
}

function decodeResults(answer: Uint8Array, count: number): BanOutcome['result'][] {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
  return Array.from({ length: count }, (_, index) => {
    const at = banHeaderCodec.size + index * banRequestCodec.size + banRequestCodec.offsets.result
    const result = view.getUint32(at, LITTLE_ENDIAN)
    const outcome = OUTCOMES[result]
    if (outcome === undefined) throw fail('E108', `the data plane refused a ban (result ${result})`)
    return outcome
  })
}

async function writeOnce(
  paths: Paths,
  generation: number,
  requests: readonly BanRequest[],
  labels: BanLabels,
  now: number,
): Promise<BanOutcome['result'][]> {
  return withExchange(async (directory) => {
    const chunks = Array.from({ length: Math.ceil(requests.length / BAN_REQUESTS) }, (_, i) =>
      requests.slice(i * BAN_REQUESTS, (i + 1) * BAN_REQUESTS),
    )
    const files = chunks.map((_, i) => `${directory}/${i}`)
    await Promise.all(chunks.map((chunk, i) => writeFile(files[i] as string, encodeRequests(chunk, labels, now))))
    const [, ...runs] = await askBatch(ran, [
      banSweep(paths, generation),
      ...files.map((file) => runLine(paths.program(generation, BANS.programs.write), file, `${file}.out`)),
    ])
    if (runs.some(({ retval }) => retval !== DONE)) throw fail('E108', 'the data plane refused to write bans')
    return understand('bpftool', 'bpftool prog run', () =>
      files.flatMap((file, i) => {
        const count = chunks[i]?.length ?? 0
        return decodeResults(readOutput(`${file}.out`, banHeaderCodec.size + count * banRequestCodec.size), count)
      }),
    )
  })
}

/**
 * Removes expired bans, then executes at most MOST_REQUESTS requests in order. Returns one outcome each. `now`: Unix
 * time in seconds. The caller holds the lock.
 */
export async function writeBans(
  paths: Paths,
  generation: number,
  requests: readonly BanRequest[],
  labels: BanLabels,
  now: number,
): Promise<BanOutcome['result'][]> {
  const results = await writeOnce(paths, generation, requests, labels, now)
  for (let attempt = 1; attempt < ATTEMPTS && results.includes('no-memory'); attempt++) {
    const again = results.flatMap((result, i) => (result === 'no-memory' ? [i] : []))
    const wanted = again.map((i) => requests[i] as BanRequest)
    for (const [at, result] of (await writeOnce(paths, generation, wanted, labels, now)).entries()) {
      results[again[at] as number] = result
    }
  }
  return results
}

/** Whether any ban may have expired. Bans expire by the boot time of the kernel, which Node calls uptime. */
export function hasExpired({ features }: Pick<Instance, 'features'>): boolean {
  const { nextExpiry = 0n } = (features.get(BANS.name) as BanFacts | undefined) ?? {}
  return nextExpiry !== 0n && Number(nextExpiry / MS) <= uptime() * 1000
}

/** Removes expired bans. The caller holds the lock. */
export const banSweep = (paths: Paths, generation: number): Command =>
  plainRun(paths.program(generation, BANS.programs.sweep))

export async function sweepBans(paths: Paths, generation: number): Promise<void> {
  await runBatch([banSweep(paths, generation)])
}

/** A ban as the map stores it. */
interface Stored extends BanLabels {
  /** Unix time in seconds. */
  readonly since: number
  /** Boot time in ns; 0 = never. A number is exact to a microsecond for three hundred years. */
  readonly expires: number
}

/** undefined if expired. `state` has the boot time and `time` the Unix time in milliseconds of one moment. */
export function banOf(
  prefix: Prefix,
  { reason, by, since, expires }: Stored,
  { now }: BanState,
  time: number,
): Ban | undefined {
  const left = expires - Number(now)
  if (expires !== 0 && left <= 0) return undefined
  const ttlLeft = expires === 0 ? undefined : Math.trunc(left / 1_000_000)
  return {
    prefix,
    reason,
    by,
    since: since * 1000,
    expires: ttlLeft === undefined ? undefined : time + ttlLeft,
    ttlLeft,
  }
}

/** The ban of exactly the prefix of `length` bits that contains an address; undefined if it expired or was lifted. */
export async function readBan(
  paths: Paths,
  generation: number,
  address: Address,
  length: number,
): Promise<Ban | undefined> {
  const prefix = prefixOf(address, length)
  const bytes = new Uint8Array(banKeyCodec.size)
  banKeyCodec.encode(banKey(prefix), new DataView(bytes.buffer))
  const lookup = bpftool('map', 'lookup', 'pinned', paths.sharedMap(BANS.maps.bans), 'key', 'hex', ...hexBytes(bytes))
  const found: Part<BanRecord> = {
    commands: [lookup],
    finish: ([entry]) => banCodec.decode(valueView(banCodec.size)(entry)),
  }
  try {
    const [state, ban] = await runParts(banStatePart(paths, generation), found)
    return banOf(prefix, { ...ban, since: Number(ban.since), expires: Number(ban.expires) }, state, Date.now())
  } catch {
    // bpftool fails if the key does not exist.
    return undefined
  }
}

/** Bans in force; undefined: nothing is applied, or by a build without bans. */
export async function readBanCount(
  paths: Paths,
  { instance: { missing }, committed }: Observed,
): Promise<BanCount | undefined> {
  if (!committed?.meta) return undefined
  const programs = new Set(PROGRAMS.filter((name) => !committed.unpinned.has(name)))
  const present = MAPS.filter((map) => !missing.includes(map))
  const part = BANS.gauges.part({ paths, present, generation: committed.number, programs })
  return part && (await runParts(part as Part<BanCount>))[0]
}
