// Reads bans in the kernel; ban-write.ts writes them, and ban-list.ts lists them. Expiry uses the boot time of the
// kernel, which neither NTP nor a suspended machine changes; times of day are computed from the remaining time.

import { uptime } from 'node:os'
import { valueView } from '../../abi/answer.ts'
import { bpftool, hexBytes, keyBytes, type Part } from '../../abi/command.ts'
import {
  BAN_FLAG,
  type Ban as BanRecord,
  type BanState,
  banCodec,
  banKeyCodec,
  LINE_SIZE,
  type Meta,
  metaCodec,
} from '../../abi/generated.ts'
import type { Generation, Instance } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { BAN_MAPS, BANS, type BanCount, type BanFacts, banStatePart } from '../../features/bans.ts'
import type { Observed } from '../../features/feature.ts'
import type { Address } from '../../model/address.ts'
import type { Ban, BanLabels } from '../../model/ban.ts'
import { type Prefix, prefixOf } from '../../model/text.ts'
import { META_LINE } from '../../tables/layout/layout.ts'
import { askBatch, runParts } from '../tools/bpftool.ts'
import { CommandError } from '../tools/spawn.ts'
import { banGenerations, banKey } from './ban-write.ts'

const MS = 1_000_000n

const PROGRAMS = Object.values(BANS.programs)
const MAPS = BANS.ownMaps.names

/** Whether the bans of a generation can be read and swept. */
export const reachesBans = (committed: Generation | undefined): committed is Generation & { meta: Meta } =>
  committed?.meta !== undefined &&
  MAPS.every((name) => committed.ownMaps.has(name)) &&
  !PROGRAMS.some((name) => committed.unpinned.has(name))

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

/** Bans in the table; 0 if some of them may have expired, because only the kernel then knows how many are in force. */
export const bansInForce = (instance: Pick<Instance, 'features'>): number =>
  hasExpired(instance) ? 0 : ((instance.features.get(BANS.name) as BanFacts | undefined)?.entries ?? 0)

/** Whether any ban may have expired. Bans expire by the boot time of the kernel, which Node calls uptime. */
export function hasExpired({ features }: Pick<Instance, 'features'>): boolean {
  const { nextExpiry = 0n } = (features.get(BANS.name) as BanFacts | undefined) ?? {}
  return nextExpiry !== 0n && Number(nextExpiry / MS) <= uptime() * 1000
}

/** A ban as the map stores it. */
interface Stored extends BanLabels {
  /** Unix time in seconds. */
  readonly since: number
  /** enum ban_flag. */
  readonly flags: number
  /** Boot time in ns; 0 = never. A number is exact to a microsecond for three hundred years. */
  readonly expires: number
}

/** undefined if expired. `state` has the boot time and `time` the Unix time in milliseconds of one moment. */
export function banOf(
  prefix: Prefix,
  { reason, by, since, flags, expires }: Stored,
  { now }: Pick<BanState, 'now'>,
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
    observe: (flags & BAN_FLAG.OBSERVE) !== 0,
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
  const lookup = bpftool(
    'map',
    'lookup',
    'pinned',
    paths.ownMap(generation, { name: BAN_MAPS.bans }),
    'key',
    'hex',
    ...hexBytes(bytes),
  )
  const found: Part<BanRecord> = {
    commands: [lookup],
    finish: ([entry]) => banCodec.decode(valueView(banCodec.size)(entry)),
  }
  try {
    const [state, ban] = await runParts(banStatePart(paths, generation), found)
    return banOf(prefix, { ...ban, expires: Number(ban.expires) }, state, Date.now())
  } catch {
    // bpftool fails if the key does not exist.
    return undefined
  }
}

/** Bans in force; undefined: nothing is applied, or by a build without bans. */
export async function readBanCount(paths: Paths, { committed }: Observed): Promise<BanCount | undefined> {
  if (!committed?.meta) return undefined
  const programs = new Set(PROGRAMS.filter((name) => !committed.unpinned.has(name)))
  const part = BANS.gauges.part({ paths, present: [], generation: committed.number, programs })
  return part && (await runParts(part as Part<BanCount>))[0]
}
