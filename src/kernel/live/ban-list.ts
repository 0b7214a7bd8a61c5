// Listing bans. A few are dumped. Of many a dump would be a hundred megabytes of text, so a program copies them into an
// array, of which runs of another then read a page each; abi_bans.h says what they are given. Both are loaded for that
// time alone, under the lock of the instance: nobody changes bans meanwhile, and what is there of it was left by a process
// that was killed.

import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool, type HexEntry, type Part, plainRun, quiet, viewOf } from '../../abi/command.ts'
import {
  BAN_RECORDS,
  type BanState,
  banCodec,
  banKeyCodec,
  banPageHeaderCodec,
  banRecordCodec,
} from '../../abi/generated.ts'
import { type MapShape, mapWords, type Paths } from '../../abi/paths.ts'
import { BANS, banStatePart } from '../../features/bans.ts'
import type { Ban } from '../../model/ban.ts'
import { type Prefix, prefixOf } from '../../model/text.ts'
import { runBatch, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { loadObject } from '../tools/object.ts'
import { removePins } from '../tools/pins.ts'
import { checkRuns, runLine } from '../tools/transfer.ts'
import { banOf, banSweep } from './bans.ts'

/** As many are dumped in the time that it takes to load the programs. */
const FEW = 1000

const KEY = banKeyCodec.offsets
const BAN_AT = banRecordCodec.offsets.ban
const TEXTS_AT = BAN_AT + banCodec.offsets.reason
const TEXTS_END = BAN_AT + banCodec.size

/** A __u64, exact below 2^53. */
function wide(view: DataView, at: number): number {
  const [low, high] = LITTLE_ENDIAN ? [at, at + 4] : [at + 4, at]
  return view.getUint32(high, LITTLE_ENDIAN) * 2 ** 32 + view.getUint32(low, LITTLE_ENDIAN)
}

/** The prefix of a key, each number of which has two words of the address. */
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
  // Most bans are of one address.
  if (length === words.length * 32) return { family, start: words, end: words, length }
  return prefixOf({ family, words }, length)
}

/**
 * Reads every struct ban_record, but those that are over. Not by its codec: a hundred thousand are read in a third of the
 * time without big integers, and with texts, which most bans share with the one before, decoded once.
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
    const since = wide(view, at + BAN_AT + banCodec.offsets.since)
    return banOf(prefixAt(view, at), { reason: texts.reason, by: texts.by, since, expires }, state, time)
  }
}

type Read = ReturnType<typeof recordReader>

/** A prefix that is lifted and banned again while the map is walked may be met twice. */
async function dumpBans(paths: Paths, read: Read): Promise<Ban[]> {
  const [dump] = await runBatch([bpftool('map', 'dump', 'pinned', paths.sharedMap(BANS.maps.bans))])
  const bans = new Map<string, Ban>()
  for (const { key, value } of (dump ?? []) as HexEntry[]) {
    const ban = read(viewOf([...key, ...value]), 0)
    if (ban) bans.set(key.join(), ban)
  }
  return [...bans.values()]
}

/** An array for the copies of so many bans. */
const recordsMap = (entries: number): MapShape => ({
  name: 'ban_records',
  type: 'array',
  keySize: 4,
  valueSize: banRecordCodec.size,
  entries,
  flags: 0,
})

/** Writes the request for a page: its header, and room for the records. */
function writeRequest(file: string, first: number, count: number): void {
  const header = new Uint8Array(banPageHeaderCodec.size)
  banPageHeaderCodec.encode({ first, count }, new DataView(header.buffer))
  writeFileSync(file, header)
  truncateSync(file, banPageHeaderCodec.size + count * banRecordCodec.size)
}

/** The first `count` records that were read, page by page, into files. */
function readRecords(files: readonly string[], count: number, read: Read): Ban[] {
  const bans: Ban[] = []
  for (const [page, file] of files.entries()) {
    const answer = readFileSync(file)
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
    for (let record = 0; record < Math.min(BAN_RECORDS, count - page * BAN_RECORDS); record++) {
      const ban = read(view, banPageHeaderCodec.size + record * banRecordCodec.size)
      if (ban) bans.push(ban)
    }
  }
  return bans
}

/** Runs of the loaded programs. `entries`: how many records there is room for. */
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
      return readRecords(answers, (copied as { retval: number }).retval, read)
    },
  }
}

/** The caller holds the lock, and there are no more than `entries`. */
async function copyBans({ listing, sharedMap }: Paths, entries: number, read: Read): Promise<Ban[]> {
  const { bansPath } = await loadObject()
  const [records, programs] = [`${listing}/records`, `${listing}/programs`]
  const maps = [
    'map',
    'name',
    'bans',
    'pinned',
    sharedMap(BANS.maps.bans),
    'map',
    'name',
    'ban_records',
    'pinned',
    records,
  ]
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
 * Every ban in force, in no order. `isLocked`: the caller holds the lock of the instance, so that bans that are over can
 * be removed, and many be read at once.
 */
export async function listBans(paths: Paths, generation: number, isLocked: boolean): Promise<Ban[]> {
  const sweep = quiet(...(isLocked ? [banSweep(paths, generation)] : []))
  const [, state] = await runParts(sweep, banStatePart(paths, generation))
  const read = recordReader(state, Date.now())
  return isLocked && state.entries > FEW ? copyBans(paths, state.entries, read) : dumpBans(paths, read)
}
