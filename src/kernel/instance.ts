// What is pinned for one instance: its generations and shared maps, read but not yet interpreted.

import { readdir } from 'node:fs/promises'
import { LITTLE_ENDIAN } from '../abi/bytes.ts'
import {
  ABI_VERSION,
  type Attachment,
  attachmentCodec,
  INTERFACE_INDEX_SIZE,
  INTERFACE_SLOTS,
  type InterfaceEntry,
  interfaceEntryCodec,
  LINE_SIZE,
  type Meta,
  metaCodec,
} from '../abi/generated.ts'
import {
  BALANCE_MAPS,
  type BalanceMap,
  CARRY,
  CORE_PROGRAMS,
  generationOf,
  type Paths,
  PROGRAMS,
  SHARED_MAPS,
  type SharedMap,
} from '../abi/paths.ts'
import { META_LINE, SETTINGS_LINE } from '../tables/layout.ts'
import { bpftool, type Command, runBatch } from './bpftool.ts'

export interface Generation {
  readonly number: number
  /** ABI version of its image; only a generation of our own version can be decoded further. */
  readonly abi: number
  /** undefined for another ABI version. */
  readonly meta: Meta | undefined
  /** Inode of its network namespace, which stands at the same place in every ABI version; 0 = not written yet. */
  readonly netns: bigint
  readonly program: { readonly id: number; readonly tag: string }
  readonly lines: number
  /** Bytes of kernel memory of the policy map and the filter. */
  readonly memory: number
  /** Whether its programs know bans, as those of older builds do not. */
  readonly knowsBans: boolean
  /** The balancer's maps that are pinned: all of them, unless somebody unpinned one or an older build made it. */
  readonly balance: ReadonlyMap<BalanceMap, BalanceMapFacts>
  /** Whether programs that carry counters over are still pinned, of an apply that was killed. */
  readonly hasCarry: boolean
}

export interface BalanceMapFacts {
  readonly entries: number
  /** Bytes of kernel memory. */
  readonly memory: number
}

export interface Instance {
  /** Complete generations by number, ascending. */
  readonly generations: readonly Generation[]
  /** Generation directories in which a pin is missing: an interrupted apply. */
  readonly incomplete: readonly number[]
  /** Other names in the instance directory, e.g. shared maps of another ABI version. */
  readonly others: readonly string[]
  /** Shared maps without a pin: all of them before the first apply. */
  readonly missing: readonly SharedMap[]
  /** By slot; undefined where the map does not exist. */
  readonly attachments: readonly Attachment[] | undefined
  readonly index: readonly InterfaceEntry[] | undefined
}

const EVERY_MAP = Object.keys(SHARED_MAPS) as SharedMap[]
const EMPTY: Instance = {
  generations: [],
  incomplete: [],
  others: [],
  missing: EVERY_MAP,
  attachments: undefined,
  index: undefined,
}

export async function list(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

interface HexEntry {
  readonly key: readonly string[]
  readonly value: readonly string[]
}

/** The bytes of a value as bpftool prints it for a map without BTF. */
export const bytesOf = (hex: readonly string[]): Uint8Array => Uint8Array.from(hex, (byte) => Number.parseInt(byte, 16))

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** A u32 key as the bytes bpftool wants. */
export function keyBytes(key: number): string[] {
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, key, LITTLE_ENDIAN)
  return Array.from(new Uint8Array(view.buffer), String)
}

/** Bytes as bpftool's `hex …` arguments. */
export const hexBytes = (bytes: Uint8Array): string[] => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'))

function dumped<T>(output: unknown, size: number, decode: (view: DataView) => T, empty: T): T[] {
  const values = new Array<T>(size).fill(empty)
  for (const { key, value } of output as HexEntry[]) {
    values[viewOf(bytesOf(key)).getUint32(0, LITTLE_ENDIAN)] = decode(viewOf(bytesOf(value)))
  }
  return values
}

/** What is pinned of one generation. */
interface Pins {
  readonly number: number
  readonly programs: ReadonlySet<string>
  readonly balance: readonly BalanceMap[]
  readonly hasCarry: boolean
}

const EVERY_BALANCE_MAP = Object.keys(BALANCE_MAPS) as BalanceMap[]

/** The pins of a generation that is complete; undefined for an incomplete one. */
async function pinsOf(paths: Paths, number: number): Promise<Pins | undefined> {
  const pins = await list(paths.generation(number))
  const programs = new Set(await list(paths.programs(number)))
  if (!pins.includes('policy') || !CORE_PROGRAMS.every((name) => programs.has(PROGRAMS[name]))) return undefined
  const balance = EVERY_BALANCE_MAP.filter((map) => pins.includes(BALANCE_MAPS[map]))
  return { number, programs, balance, hasCarry: pins.includes(CARRY) }
}

const generationQueries = (paths: Paths, { number: generation, balance }: Pins): Command[] => [
  bpftool('prog', 'show', 'pinned', paths.program(generation, 'filter')),
  bpftool('map', 'show', 'pinned', paths.policy(generation)),
  bpftool('map', 'lookup', 'pinned', paths.policy(generation), 'key', ...keyBytes(SETTINGS_LINE)),
  bpftool('map', 'lookup', 'pinned', paths.policy(generation), 'key', ...keyBytes(META_LINE)),
  ...balance.map((map) => bpftool('map', 'show', 'pinned', paths.balanceMap(generation, map))),
]
/** Of every generation; then one for each of its balancer's maps. */
const QUERIES = 4

interface ShownMap {
  readonly max_entries: number
  readonly bytes_memlock?: number
}

const memoryOf = ({ max_entries, bytes_memlock }: ShownMap): number => bytes_memlock ?? max_entries * LINE_SIZE

function decodeGeneration({ number, programs, balance, hasCarry }: Pins, outputs: readonly unknown[]): Generation {
  const [program, map, settings, meta] = outputs as [
    { id: number; tag: string; bytes_memlock?: number },
    ShownMap,
    HexEntry,
    HexEntry,
  ]
  const abi = viewOf(bytesOf(settings.value)).getUint32(0, LITTLE_ENDIAN)
  const decoded = metaCodec.decode(viewOf(bytesOf(meta.value)))
  return {
    number,
    abi,
    meta: abi === ABI_VERSION ? decoded : undefined,
    netns: decoded.netns,
    program: { id: program.id, tag: program.tag },
    lines: map.max_entries,
    memory: memoryOf(map) + (program.bytes_memlock ?? 0),
    knowsBans: programs.has(PROGRAMS.banWrite),
    balance: new Map(
      balance.map((name, i) => {
        const shown = outputs[QUERIES + i] as ShownMap
        return [name, { entries: shown.max_entries, memory: memoryOf(shown) }]
      }),
    ),
    hasCarry,
  }
}

const EMPTY_ATTACHMENT: Attachment = { name: '', ifindex: 0, mode: 0, since: 0n }
const EMPTY_INDEX: InterfaceEntry = { ifindex: 0, slot: 0 }

/** Reads what is pinned, in one bpftool process. An instance that does not exist reads as empty. */
export async function readInstance(paths: Paths): Promise<Instance> {
  const names = await list(paths.instance)
  if (names.length === 0) return EMPTY
  const numbers = names
    .map(generationOf)
    .filter((number) => number !== undefined)
    .sort((a, b) => a - b)
  const complete: Pins[] = []
  for (const number of numbers) {
    const pins = await pinsOf(paths, number)
    if (pins) complete.push(pins)
  }
  const shared = new Set(await list(paths.shared))
  const present = EVERY_MAP.filter((map) => shared.has(SHARED_MAPS[map].name))
  const dumps = (['attachments', 'interfaceIndex'] as const).filter((map) => present.includes(map))
  const outputs = await runBatch([
    ...complete.flatMap((pins) => generationQueries(paths, pins)),
    ...dumps.map((map) => bpftool('map', 'dump', 'pinned', paths.sharedMap(map))),
  ])
  const answers = complete.reduce((sum, { balance }) => sum + QUERIES + balance.length, 0)
  const dump = <T>(map: SharedMap, size: number, decode: (view: DataView) => T, empty: T): T[] | undefined => {
    const place = (dumps as readonly SharedMap[]).indexOf(map)
    return place < 0 ? undefined : dumped(outputs[answers + place], size, decode, empty)
  }
  let from = 0
  const generations = complete.map((pins) => {
    const own = outputs.slice(from, from + QUERIES + pins.balance.length)
    from += own.length
    return decodeGeneration(pins, own)
  })
  return {
    generations,
    incomplete: numbers.filter((number) => !complete.some((pins) => pins.number === number)),
    others: names.filter((name) => generationOf(name) === undefined && `${paths.instance}/${name}` !== paths.shared),
    missing: EVERY_MAP.filter((map) => !present.includes(map)),
    attachments: dump('attachments', INTERFACE_SLOTS, (view) => attachmentCodec.decode(view), EMPTY_ATTACHMENT),
    index: dump('interfaceIndex', INTERFACE_INDEX_SIZE, (view) => interfaceEntryCodec.decode(view), EMPTY_INDEX),
  }
}
