// Lists bans. Dumps the map if it has few. For many, a dump would be a hundred megabytes of text, so one program copies
// the bans into an array, and runs of another read one page each; abi_bans.h has their input. Both are loaded for each
// listing, under the lock of the bans, so that bans do not change meanwhile; pins found before are leftovers of a
// killed process.

import { truncateSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { bad, entriesOf, ran } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool, type Part, plainRun, quiet } from '../../abi/command.ts'
import {
  BAN_RECORDS,
  type BanState,
  banCodec,
  banKeyCodec,
  banPageHeaderCodec,
  banRecordCodec,
} from '../../abi/generated.ts'
import { type MapShape, mapWords, type Paths } from '../../abi/paths.ts'
import { BAN_MAPS, banStatePart } from '../../features/bans.ts'
import type { Ban } from '../../model/ban.ts'
import { type Prefix, prefixOf } from '../../model/text.ts'
import { effectiveCapabilities, maySteerXdp } from '../host/host.ts'
import { readOutput } from '../tools/answer.ts'
import { askBatch, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { loadObject } from '../tools/object.ts'
import { removePins } from '../tools/pins.ts'
import { place } from '../tools/place.ts'
import { checkRuns, runLine } from '../tools/transfer.ts'
import { banSweep } from './ban-write.ts'
import { banOf } from './bans.ts'

/** Dumping this many bans takes as long as loading the programs. */
const FEW = 1000

const KEY = banKeyCodec.offsets
const BAN_AT = banRecordCodec.offsets.ban
const TEXTS_AT = BAN_AT + banCodec.offsets.reason
const TEXTS_END = BAN_AT + banCodec.size

/** A __u64 as a number, exact below 2^53. */
function wide(view: DataView, at: number): number {
  const [low, high] = LITTLE_ENDIAN ? [at, at + 4] : [at + 4, at]
  return view.getUint32(high, LITTLE_ENDIAN) * 2 ** 32 + view.getUint32(low, LITTLE_ENDIAN)
}

/** The prefix of a key; each 64-bit number of a key has two words of the address. */
function prefixAt(view: DataView, at: number): Prefix {
  const [first, second] = LITTLE_ENDIAN ? [4, 0] : [0, 4]
  const word = (offset: number): number => view.getUint32(at + offset, LITTLE_ENDIAN)
  const length = word(KEY.length)
  const { high, low } = KEY
  const isIpv4 = word(KEY.family) === 4
  const words = isIpv4
    ? Uint32Array.of(word(high + first))
    : Uint32Array.of(word(high + first), word(high + second), word(low + first), word(low + second))
  const family = isIpv4 ? 4 : 6
  // Most bans cover one address.
  if (length === words.length * 32) return { family, start: words, end: words, length }
  return prefixOf({ family, words }, length)
}

/**
 * A reader of struct ban_record that skips expired bans. Does not use the codec: without big integers, and by decoding
 * texts once (most bans share them with the one before), a hundred thousand bans take a third of the time.
 */
function recordReader(state: BanState, time: number): (view: DataView, at: number) => Ban | undefined {
  let texts = { bytes: Buffer.alloc(TEXTS_END - TEXTS_AT), reason: '', by: '' }
  return (view, at) => {
    const bytes = Buffer.from(view.buffer, view.byteOffset + at + TEXTS_AT, TEXTS_END - TEXTS_AT)
    if (!texts.bytes.equals(bytes)) {
      const { reason, by } = banCodec.decode(view, at + BAN_AT)
      texts = { bytes: Buffer.from(bytes), reason, by }
    }
    const expires = wide(view, at + BAN_AT + banCodec.offsets.expires)
    const since = view.getUint32(at + BAN_AT + banCodec.offsets.since, LITTLE_ENDIAN)
    const flags = view.getUint32(at + BAN_AT + banCodec.offsets.flags, LITTLE_ENDIAN)
    return banOf(prefixAt(view, at), { reason: texts.reason, by: texts.by, since, flags, expires }, state, time)
  }
}

type Read = ReturnType<typeof recordReader>

/** A walk of the map may meet a prefix twice, if it is lifted and banned again meanwhile. */
async function dumpBans(map: string, read: Read): Promise<Ban[]> {
  const command = bpftool('map', 'dump', 'pinned', map)
  const [dump = []] = await askBatch(entriesOf(banKeyCodec.size, banCodec.size), [command])
  const bans = new Map<string, Ban>()
  for (const { key, value } of dump) {
    const both = Buffer.concat([key, value])
    const ban = read(new DataView(both.buffer, both.byteOffset, both.length), 0)
    if (ban) bans.set(key.join(), ban)
  }
  return [...bans.values()]
}

/** The array for copies of `entries` bans. */
const recordsMap = (entries: number): MapShape => ({
  name: 'ban_records',
  type: 'array',
  keySize: 4,
  valueSize: banRecordCodec.size,
  entries,
  flags: 0,
})

/** Writes the request for one page: its header, and space for the records. */
function writeRequest(file: string, first: number, count: number): void {
  const header = new Uint8Array(banPageHeaderCodec.size)
  banPageHeaderCodec.encode({ first, count }, new DataView(header.buffer))
  writeFileSync(file, header)
  truncateSync(file, banPageHeaderCodec.size + count * banRecordCodec.size)
}

/** The first `count` records from files with one page each. */
function readRecords(files: readonly string[], count: number, read: Read): Ban[] {
  const bans: Ban[] = []
  for (const [page, file] of files.entries()) {
    const records = Math.min(BAN_RECORDS, count - page * BAN_RECORDS)
    if (records <= 0) break
    const answer = readOutput(file, banPageHeaderCodec.size + records * banRecordCodec.size)
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
    for (let record = 0; record < records; record++) {
      const ban = read(view, banPageHeaderCodec.size + record * banRecordCodec.size)
      if (ban) bans.push(ban)
    }
  }
  return bans
}

/** Runs of the loaded programs. `entries`: capacity of the array in records. */
function copyPart(files: string, programs: string, entries: number, read: Read): Part<Ban[]> {
  const pages = Array.from({ length: Math.ceil(entries / BAN_RECORDS) }, (_, page) => `${files}/${page}`)
  for (const [page, file] of pages.entries()) {
    const first = page * BAN_RECORDS
    writeRequest(file, first, Math.min(BAN_RECORDS, entries - first))
  }
  return {
    commands: [
      plainRun(`${programs}/ban_list`),
      ...pages.map((file) => runLine(`${programs}/ban_page`, file, `${file}.out`)),
    ],
    finish: ([copied, ...reads]) => {
      checkRuns(reads, 'listing bans')
      const answers = pages.map((file) => `${file}.out`)
      const { retval } = ran(copied)
      if (retval > entries) bad(undefined, `at most ${entries} bans`, retval)
      return readRecords(answers, retval, read)
    },
  }
}

/** The caller holds the lock. `entries` is at least the number of bans. */
async function copyBans({ listing }: Paths, map: string, entries: number, read: Read): Promise<Ban[]> {
  const { bansPath } = await loadObject()
  await place(bansPath)
  const [records, programs] = [`${listing}/records`, `${listing}/programs`]
  const maps = ['map', 'name', 'bans', 'pinned', map, 'map', 'name', 'ban_records', 'pinned', records]
  await removePins(listing)
  await mkdir(listing, { mode: 0o700 })
  try {
    return await withExchange(async (files) => {
      const load = quiet(
        bpftool('map', 'create', records, ...mapWords(recordsMap(entries))),
        bpftool('prog', 'loadall', bansPath, programs, ...maps),
      )
      return (await runParts(load, copyPart(files, programs, entries, read)))[1]
    })
  } finally {
    await removePins(listing)
  }
}

/**
 * Every ban in force, in any order. `isLocked`: whether the caller holds the lock of the bans, so that this
 * function may remove expired bans and read many bans at once.
 */
export async function listBans(paths: Paths, generation: number, isLocked: boolean): Promise<Ban[]> {
  const sweep = quiet(...(isLocked ? [banSweep(paths, generation)] : []))
  const [, state] = await runParts(sweep, banStatePart(paths, generation))
  const read = recordReader(state, Date.now())
  const mayCopy = isLocked && state.entries > FEW && maySteerXdp(await effectiveCapabilities())
  const map = paths.ownMap(generation, { name: BAN_MAPS.bans })
  return mayCopy ? copyBans(paths, map, state.entries, read) : dumpBans(map, read)
}
