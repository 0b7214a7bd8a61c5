// Reads the pins of one instance: its generations and shared maps, not yet interpreted.

import { bad, entriesOf, type ShapeOf, shownMap, shownProgram, valueView } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { bpftool, type Command, keyBytes, type Part } from '../../abi/command.ts'
import {
  ABI_VERSION,
  type Attachment,
  attachmentCodec,
  HEADER_LINES,
  type InterfaceEntry,
  type InterfaceStack,
  interfaceEntryCodec,
  interfaceStackCodec,
  LINE_SIZE,
  metaCodec,
} from '../../abi/generated.ts'
import type { Generation, Instance } from '../../abi/instance.ts'
import { CARRY, generationOf, type MapShape, type Paths } from '../../abi/paths.ts'
import { BALANCER } from '../../features/balancer.ts'
import { CORE_PROGRAMS, FEATURES, OWN_MAPS, PROGRAMS, SHARED_MAPS } from '../../features/features.ts'
import { FILTER } from '../../features/filter.ts'
import { META_LINE, SETTINGS_LINE, wordsOf } from '../../tables/layout/layout.ts'
import { joinParts, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { list } from '../tools/pins.ts'
import { tryReadPart } from '../tools/transfer.ts'
import { FREE_ENTRY, FREE_RECORD, FREE_STACK } from './records.ts'

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function dumped<T>(output: unknown, map: MapShape, decode: (view: DataView) => T, empty: T): T[] {
  const values = new Array<T>(map.entries).fill(empty)
  for (const { key, value } of entriesOf(map.keySize, map.valueSize)(output)) {
    const number = viewOf(key).getUint32(0, LITTLE_ENDIAN)
    if (number >= map.entries) bad(undefined, `a key below ${map.entries}`, number)
    values[number] = decode(viewOf(value))
  }
  return values
}

/** The pins of one generation. */
interface GenerationPins {
  readonly number: number
  readonly programs: ReadonlySet<string>
  /** Names of maps beside the policy. */
  readonly ownMaps: readonly string[]
  readonly hasCarry: boolean
}

/** The pins of a complete generation; undefined if a pin is missing. */
async function pinsOf(paths: Paths, number: number): Promise<GenerationPins | undefined> {
  const pins = await list(paths.generation(number))
  const programs = new Set(await list(paths.programs(number)))
  if (!pins.includes('policy') || !CORE_PROGRAMS.every((name) => programs.has(name))) return undefined
  const ownMaps = OWN_MAPS.filter((name) => pins.includes(name))
  return { number, programs, ownMaps, hasCarry: pins.includes(CARRY) }
}

const generationQueries = (paths: Paths, { number: generation, ownMaps }: GenerationPins): Command[] => [
  bpftool('prog', 'show', 'pinned', paths.program(generation, FILTER.programs.filter)),
  bpftool('map', 'show', 'pinned', paths.policy(generation)),
  bpftool('map', 'lookup', 'pinned', paths.policy(generation), 'key', ...keyBytes(SETTINGS_LINE)),
  bpftool('map', 'lookup', 'pinned', paths.policy(generation), 'key', ...keyBytes(META_LINE)),
  ...ownMaps.map((name) => bpftool('map', 'show', 'pinned', paths.ownMap(generation, { name }))),
]

/** Queries about every generation; those about the maps beside its policy follow. */
const QUERIES = 4

const memoryOf = ({ max_entries, bytes_memlock }: ShapeOf<typeof shownMap>): number =>
  bytes_memlock ?? max_entries * LINE_SIZE

function decodeGeneration(
  { number, programs, ownMaps, hasCarry }: GenerationPins,
  outputs: readonly unknown[],
): Omit<Generation, 'header'> {
  const program = shownProgram(outputs[0])
  const map = shownMap(outputs[1])
  const line = valueView(LINE_SIZE)
  const abi = line(outputs[2]).getUint32(0, LITTLE_ENDIAN)
  const decoded = metaCodec.decode(line(outputs[3]))
  return {
    number,
    abi,
    meta: abi === ABI_VERSION ? decoded : undefined,
    netns: decoded.netns,
    program: { id: program.id, tag: program.tag ?? '' },
    lines: map.max_entries,
    memory: memoryOf(map) + (program.bytes_memlock ?? 0),
    unpinned: new Set(PROGRAMS.filter((name) => !programs.has(name))),
    ownMaps: new Map(
      ownMaps.map((name, i) => {
        const shown = shownMap(outputs[QUERIES + i])
        return [name, { entries: shown.max_entries, memory: memoryOf(shown) }]
      }),
    ),
    hasCarry,
  }
}

/** Reads a generation with its header. `files`: prefix of the exchange files. */
function generationPart(files: string, paths: Paths, pins: GenerationPins): Part<Generation> {
  const queries = generationQueries(paths, pins)
  const header = tryReadPart(files, paths.program(pins.number, FILTER.programs.read), [
    { first: 0, lines: HEADER_LINES },
  ])
  return {
    commands: [...queries, ...header.commands],
    finish: (outputs) => {
      const generation = decodeGeneration(pins, outputs.slice(0, queries.length))
      const bytes = generation.abi === ABI_VERSION ? header.finish(outputs.slice(queries.length)) : undefined
      return { ...generation, header: bytes && wordsOf(bytes) }
    },
  }
}

/** Names in the bpffs. */
export interface Pins {
  /** Every name in the instance directory. */
  readonly names: readonly string[]
  /** Generations with all their pins, ascending. */
  readonly complete: readonly GenerationPins[]
  readonly incomplete: readonly number[]
  readonly present: readonly MapShape[]
}

/** `staged`: a generation that the caller is building, which is ignored. */
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
    present: SHARED_MAPS.filter(({ name }) => shared.includes(name)),
  }
}

/** Facts that features read in every observation, by the name of the feature. */
function featuresPart(paths: Paths, present: readonly MapShape[]): Part<ReadonlyMap<string, unknown>> {
  const asked = FEATURES.flatMap(({ name, observe }) => {
    const part = observe?.({ paths, present })
    return part ? [{ name, part }] : []
  })
  const { commands, finish } = joinParts<unknown[]>(...asked.map(({ part }) => part))
  return {
    commands,
    finish: (outputs) => new Map(finish(outputs).map((facts, i) => [asked[i]?.name as string, facts])),
  }
}

/** Reads all pins. `files`: directory for exchange files. An instance that does not exist reads as empty. */
export function instancePart(
  files: string,
  paths: Paths,
  { names, complete, incomplete, present }: Pins,
): Part<Instance> {
  const dump = <T>(map: MapShape, decode: (view: DataView) => T, empty: T): Part<T[] | undefined> => ({
    commands: present.includes(map) ? [bpftool('map', 'dump', 'pinned', paths.sharedMap(map))] : [],
    finish: ([output]) => (output === undefined ? undefined : dumped(output, map, decode, empty)),
  })
  const { commands, finish } = joinParts<
    [
      Attachment[] | undefined,
      InterfaceEntry[] | undefined,
      InterfaceStack[] | undefined,
      ReadonlyMap<string, unknown>,
      ...Generation[],
    ]
  >(
    dump(FILTER.maps.attachments, (view) => attachmentCodec.decode(view), FREE_RECORD),
    dump(FILTER.maps.interfaceIndex, (view) => interfaceEntryCodec.decode(view), FREE_ENTRY),
    dump(BALANCER.maps.interfaceStack, (view) => interfaceStackCodec.decode(view), FREE_STACK),
    featuresPart(paths, present),
    ...complete.map((pins) => generationPart(`${files}/${pins.number}`, paths, pins)),
  )
  return {
    commands,
    finish: (outputs) => {
      const [attachments, index, stacks, features, ...generations] = finish(outputs)
      return {
        generations,
        incomplete,
        others: names.filter(
          (name) => generationOf(name) === undefined && `${paths.instance}/${name}` !== paths.shared,
        ),
        missing: SHARED_MAPS.filter((map) => !present.includes(map)),
        attachments,
        index,
        stacks,
        features,
      }
    },
  }
}

/** Like withExchange, but makes no directory if nothing is pinned: /run need not be writable then. */
export const withFiles = <T>({ names }: Pins, body: (files: string) => Promise<T>): Promise<T> =>
  names.length === 0 ? body('') : withExchange(body)

/** Reads all pins in one bpftool process. `staged`: as for findPins. */
export async function readInstance(paths: Paths, staged?: number): Promise<Instance> {
  const pins = await findPins(paths, staged)
  const [instance] = await withFiles(pins, (files) => runParts(instancePart(files, paths, pins)))
  return instance
}
