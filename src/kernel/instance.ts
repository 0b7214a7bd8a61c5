// What is pinned for one instance: its generations and shared maps, read but not yet interpreted.

import { readdir } from 'node:fs/promises'
import { LITTLE_ENDIAN } from '../abi/bytes.ts'
import {
  ABI_VERSION,
  type Attachment,
  attachmentCodec,
  HEADER_LINES,
  INTERFACE_INDEX_SIZE,
  INTERFACE_SLOTS,
  type InterfaceEntry,
  interfaceEntryCodec,
  LINE_SIZE,
  type Meta,
  metaCodec,
} from '../abi/generated.ts'
import { CORE_PROGRAMS, generationOf, type Paths, PROGRAMS, SHARED_MAPS, type SharedMap } from '../abi/paths.ts'
import { META_LINE, SETTINGS_LINE, wordsOf } from '../tables/layout.ts'
import { bpftool, type Command, type Part, runParts } from './bpftool.ts'
import { withExchange } from './exchange.ts'
import { tryReadPart } from './transfer.ts'

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
  /** Whether its lines can be proven without reading them. */
  readonly hasDigests: boolean
  /** Bytes of kernel memory of the policy map and the filter. */
  readonly memory: number
  /** Whether its programs know bans, as those of older builds do not. */
  readonly knowsBans: boolean
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

/** The programs of a generation that is complete; undefined for an incomplete one. */
async function programsOf(paths: Paths, generation: number): Promise<ReadonlySet<string> | undefined> {
  const pins = await list(paths.generation(generation))
  const programs = new Set(await list(paths.programs(generation)))
  return pins.includes('policy') && CORE_PROGRAMS.every((name) => programs.has(PROGRAMS[name])) ? programs : undefined
}

const generationQueries = (paths: Paths, generation: number): Command[] => [
  bpftool('prog', 'show', 'pinned', paths.program(generation, 'filter')),
  bpftool('map', 'show', 'pinned', paths.policy(generation)),
  bpftool('map', 'lookup', 'pinned', paths.policy(generation), 'key', ...keyBytes(SETTINGS_LINE)),
  bpftool('map', 'lookup', 'pinned', paths.policy(generation), 'key', ...keyBytes(META_LINE)),
]

function decodeGeneration(
  number: number,
  programs: ReadonlySet<string>,
  outputs: readonly unknown[],
): Omit<Generation, 'header'> {
  const [program, map, settings, meta] = outputs as [
    { id: number; tag: string; bytes_memlock?: number },
    { max_entries: number; bytes_memlock?: number },
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
    memory: (map.bytes_memlock ?? map.max_entries * LINE_SIZE) + (program.bytes_memlock ?? 0),
    hasDigests: programs.has(PROGRAMS.digest),
    knowsBans: programs.has(PROGRAMS.banWrite),
  }
}

/** A generation, and its header. `files`: prefix of the exchange files. */
function generationPart(files: string, paths: Paths, number: number, programs: ReadonlySet<string>): Part<Generation> {
  const queries = generationQueries(paths, number)
  const header = tryReadPart(files, paths.program(number, 'read'), [{ first: 0, lines: HEADER_LINES }])
  return {
    commands: [...queries, ...header.commands],
    finish: (outputs) => {
      const generation = decodeGeneration(number, programs, outputs.slice(0, queries.length))
      const bytes = generation.abi === ABI_VERSION ? header.finish(outputs.slice(queries.length)) : undefined
      return { ...generation, header: bytes && wordsOf(bytes) }
    },
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
  const complete: (readonly [number: number, programs: ReadonlySet<string>])[] = []
  for (const number of numbers) {
    const programs = await programsOf(paths, number)
    if (programs) complete.push([number, programs])
  }
  const shared = new Set(await list(paths.shared))
  const present = EVERY_MAP.filter((map) => shared.has(SHARED_MAPS[map].name))
  const dump = <T>(map: SharedMap, size: number, decode: (view: DataView) => T, empty: T): Part<T[] | undefined> => ({
    commands: present.includes(map) ? [bpftool('map', 'dump', 'pinned', paths.sharedMap(map))] : [],
    finish: ([output]) => (output === undefined ? undefined : dumped(output, size, decode, empty)),
  })
  const [attachments, index, ...generations] = await withExchange((files) =>
    runParts<[Attachment[] | undefined, InterfaceEntry[] | undefined, ...Generation[]]>(
      dump('attachments', INTERFACE_SLOTS, (view) => attachmentCodec.decode(view), EMPTY_ATTACHMENT),
      dump('interfaceIndex', INTERFACE_INDEX_SIZE, (view) => interfaceEntryCodec.decode(view), EMPTY_INDEX),
      ...complete.map(([number, programs]) => generationPart(`${files}/${number}`, paths, number, programs)),
    ),
  )
  return {
    generations,
    incomplete: numbers.filter((number) => !complete.some(([one]) => one === number)),
    others: names.filter((name) => generationOf(name) === undefined && `${paths.instance}/${name}` !== paths.shared),
    missing: EVERY_MAP.filter((map) => !present.includes(map)),
    attachments,
    index,
  }
}
