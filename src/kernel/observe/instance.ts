// What is pinned for one instance: its generations and shared maps, read but not yet interpreted.

import { readdir } from 'node:fs/promises'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool, type Command, keyBytes } from '../../abi/command.ts'
import {
  ABI_VERSION,
  type Attachment,
  attachmentCodec,
  banStateCodec,
  HEADER_LINES,
  INTERFACE_INDEX_SIZE,
  INTERFACE_SLOTS,
  type InterfaceEntry,
  interfaceEntryCodec,
  LINE_SIZE,
  type Meta,
  metaCodec,
} from '../../abi/generated.ts'
import {
  BALANCE_MAPS,
  type BalanceMap,
  CARRY,
  CORE_PROGRAMS,
  generationOf,
  type Paths,
  PROGRAMS,
  type ProgramName,
  SHARED_MAPS,
  type SharedMap,
} from '../../abi/paths.ts'
import { META_LINE, SETTINGS_LINE, wordsOf } from '../../tables/layout/layout.ts'
import { joinParts, type Part, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { tryReadPart } from '../tools/transfer.ts'

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
  /** HEADER_LINES lines; undefined for another ABI version, or where the map is shorter. */
  readonly header: Uint32Array | undefined
  /** Bytes of kernel memory of the policy map and the filter. */
  readonly memory: number
  /** Programs whose pins are gone. */
  readonly unpinned: ReadonlySet<ProgramName>
  /** The balancer's maps that are pinned: all of them, unless somebody unpinned one. */
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
  /** No ban is over before this boot time in ns; 0 = none will be. */
  readonly nextBanExpiry: bigint
}

const EVERY_MAP = Object.keys(SHARED_MAPS) as SharedMap[]
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

/** `0x00` to `0xff`: a table is several times faster than parsing, which counts for a dump of a hundred thousand. */
const HEX: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => [`0x${byte.toString(16).padStart(2, '0')}`, byte]),
)

/** The bytes of a value as bpftool prints it for a map without BTF. */
export function bytesOf(hex: readonly string[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length)
  for (let at = 0; at < hex.length; at++) bytes[at] = HEX.get(hex[at] as string) ?? 0
  return bytes
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function dumped<T>(output: unknown, size: number, decode: (view: DataView) => T, empty: T): T[] {
  const values = new Array<T>(size).fill(empty)
  for (const { key, value } of output as HexEntry[]) {
    values[viewOf(bytesOf(key)).getUint32(0, LITTLE_ENDIAN)] = decode(viewOf(bytesOf(value)))
  }
  return values
}

/** What is pinned of one generation. */
interface GenerationPins {
  readonly number: number
  readonly programs: ReadonlySet<string>
  readonly balance: readonly BalanceMap[]
  readonly hasCarry: boolean
}

const EVERY_PROGRAM = Object.keys(PROGRAMS) as ProgramName[]
const EVERY_BALANCE_MAP = Object.keys(BALANCE_MAPS) as BalanceMap[]

/** The pins of a generation that is complete; undefined for an incomplete one. */
async function pinsOf(paths: Paths, number: number): Promise<GenerationPins | undefined> {
  const pins = await list(paths.generation(number))
  const programs = new Set(await list(paths.programs(number)))
  if (!pins.includes('policy') || !CORE_PROGRAMS.every((name) => programs.has(PROGRAMS[name]))) return undefined
  const balance = EVERY_BALANCE_MAP.filter((map) => pins.includes(BALANCE_MAPS[map]))
  return { number, programs, balance, hasCarry: pins.includes(CARRY) }
}

const generationQueries = (paths: Paths, { number: generation, balance }: GenerationPins): Command[] => [
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

function decodeGeneration(
  { number, programs, balance, hasCarry }: GenerationPins,
  outputs: readonly unknown[],
): Omit<Generation, 'header'> {
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
    unpinned: new Set(EVERY_PROGRAM.filter((name) => !programs.has(PROGRAMS[name]))),
    balance: new Map(
      balance.map((name, i) => {
        const shown = outputs[QUERIES + i] as ShownMap
        return [name, { entries: shown.max_entries, memory: memoryOf(shown) }]
      }),
    ),
    hasCarry,
  }
}

/** A generation, and its header. `files`: prefix of the exchange files. */
function generationPart(files: string, paths: Paths, pins: GenerationPins): Part<Generation> {
  const queries = generationQueries(paths, pins)
  const header = tryReadPart(files, paths.program(pins.number, 'read'), [{ first: 0, lines: HEADER_LINES }])
  return {
    commands: [...queries, ...header.commands],
    finish: (outputs) => {
      const generation = decodeGeneration(pins, outputs.slice(0, queries.length))
      const bytes = generation.abi === ABI_VERSION ? header.finish(outputs.slice(queries.length)) : undefined
      return { ...generation, header: bytes && wordsOf(bytes) }
    },
  }
}

/** When the next ban is over. */
const expiryPart = (paths: Paths, isThere: boolean): Part<bigint> => ({
  commands: isThere ? [bpftool('map', 'lookup', 'pinned', paths.sharedMap('banState'), 'key', ...keyBytes(0))] : [],
  finish: ([output]) =>
    output === undefined ? 0n : banStateCodec.decode(viewOf(bytesOf((output as HexEntry).value))).next_expiry,
})

const EMPTY_ATTACHMENT: Attachment = { name: '', ifindex: 0, mode: 0, since: 0n }
const EMPTY_INDEX: InterfaceEntry = { ifindex: 0, slot: 0 }

/** What names in the bpffs tell: what there is to ask for. */
export interface Pins {
  /** Every name in the instance directory. */
  readonly names: readonly string[]
  /** Generations with all their pins, ascending. */
  readonly complete: readonly GenerationPins[]
  readonly incomplete: readonly number[]
  readonly present: readonly SharedMap[]
}

/** `staged`: a generation that the caller is making, which is looked away from. */
export async function findPins(paths: Paths, staged?: number): Promise<Pins> {
  const [names, shared] = await Promise.all([list(paths.instance), list(paths.shared)])
  const numbers = names
    .map(generationOf)
    .filter((number) => number !== undefined)
    .filter((number) => number !== staged)
    .sort((a, b) => a - b)
  const found = await Promise.all(numbers.map(async (number) => [number, await pinsOf(paths, number)] as const))
  return {
    names,
    complete: found.flatMap(([, pins]) => pins ?? []),
    incomplete: found.flatMap(([number, pins]) => (pins ? [] : [number])),
    present: EVERY_MAP.filter((map) => shared.includes(SHARED_MAPS[map].name)),
  }
}

/** What is pinned. `files`: directory for exchange files. An instance that does not exist reads as empty. */
export function instancePart(
  files: string,
  paths: Paths,
  { names, complete, incomplete, present }: Pins,
): Part<Instance> {
  const dump = <T>(map: SharedMap, size: number, decode: (view: DataView) => T, empty: T): Part<T[] | undefined> => ({
    commands: present.includes(map) ? [bpftool('map', 'dump', 'pinned', paths.sharedMap(map))] : [],
    finish: ([output]) => (output === undefined ? undefined : dumped(output, size, decode, empty)),
  })
  const { commands, finish } = joinParts<
    [Attachment[] | undefined, InterfaceEntry[] | undefined, bigint, ...Generation[]]
  >(
    dump('attachments', INTERFACE_SLOTS, (view) => attachmentCodec.decode(view), EMPTY_ATTACHMENT),
    dump('interfaceIndex', INTERFACE_INDEX_SIZE, (view) => interfaceEntryCodec.decode(view), EMPTY_INDEX),
    expiryPart(paths, present.includes('banState')),
    ...complete.map((pins) => generationPart(`${files}/${pins.number}`, paths, pins)),
  )
  return {
    commands,
    finish: (outputs) => {
      const [attachments, index, nextBanExpiry, ...generations] = finish(outputs)
      return {
        generations,
        incomplete,
        others: names.filter(
          (name) => generationOf(name) === undefined && `${paths.instance}/${name}` !== paths.shared,
        ),
        missing: EVERY_MAP.filter((map) => !present.includes(map)),
        attachments,
        index,
        nextBanExpiry,
      }
    },
  }
}

/** As withExchange; where nothing is pinned nothing is exchanged, and /run need not be ours to write. */
export const withFiles = <T>({ names }: Pins, body: (files: string) => Promise<T>): Promise<T> =>
  names.length === 0 ? body('') : withExchange(body)

/** Reads what is pinned, in one bpftool process. `staged`: as for findPins. */
export async function readInstance(paths: Paths, staged?: number): Promise<Instance> {
  const pins = await findPins(paths, staged)
  const [instance] = await withFiles(pins, (files) => runParts(instancePart(files, paths, pins)))
  return instance
}
