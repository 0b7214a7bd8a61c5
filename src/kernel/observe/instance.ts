// Reads the pins of one instance: its generations and shared maps, not yet interpreted.

import { bad, entriesOf, type ShapeOf, shownMap, shownPolicy, shownProgram, valueView } from '../../abi/answer.ts'
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
import { fail } from '../../diagnostics.ts'
import { BALANCER } from '../../features/balancer.ts'
import type { Readable } from '../../features/feature.ts'
import { CORE_PROGRAMS, FEATURES, OWN_MAPS, PROGRAMS, SHARED_MAPS } from '../../features/features.ts'
import { FILTER } from '../../features/filter.ts'
import { META_LINE, SETTINGS_LINE, wordsOf } from '../../tables/layout/layout.ts'
import { joinParts, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { list } from '../tools/pins.ts'
import { tryReadPart } from '../tools/transfer.ts'
import { type GenerationPins, inForce } from './lost-pins.ts'
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

async function pinsOf(paths: Paths, number: number): Promise<GenerationPins> {
  const pins = await list(paths.generation(number))
  return {
    number,
    programs: new Set(await list(paths.programs(number))),
    hasPolicy: pins.includes('policy'),
    ownMaps: OWN_MAPS.filter((name) => pins.includes(name)),
    hasCarry: pins.includes(CARRY),
    lost: [],
  }
}

/** Whether a generation has the pins that an apply makes before it attaches the program. */
const isComplete = ({ programs, hasPolicy }: GenerationPins): boolean =>
  hasPolicy && CORE_PROGRAMS.every((name) => programs.has(name))

/** The words by which bpftool finds an object: its id, if it has lost its pin. */
export function objectWords({ lost }: Pick<Generation, 'lost'>, pin: string): readonly [string, string] {
  const known = lost.find((one) => one.pin === pin)
  return known ? ['id', `${known.id}`] : ['pinned', pin]
}

/** Throws E119 if a generation lacks pins of these programs. */
export function requirePins({ unpinned }: Pick<Generation, 'unpinned'>, programs: readonly string[]): void {
  const missing = programs.filter((name) => unpinned.has(name))
  if (missing.length === 0) return
  const message = `this needs programs of the applied policy whose pins were removed: ${missing.join(', ')}`
  throw fail('E119', message, '`xdp apply` pins them again; packets are judged as before meanwhile')
}

/** Names of the maps of a generation that can be read. */
const readableMaps = ({ ownMaps, lost }: GenerationPins): string[] =>
  OWN_MAPS.filter((name) => ownMaps.includes(name) || lost.some((one) => one.name === name))

function generationQueries(paths: Paths, pins: GenerationPins): Command[] {
  const policy = objectWords(pins, paths.policy(pins.number))
  return [
    bpftool('prog', 'show', ...objectWords(pins, paths.program(pins.number, FILTER.programs.filter))),
    bpftool('map', 'show', ...policy),
    bpftool('map', 'lookup', ...policy, 'key', ...keyBytes(SETTINGS_LINE)),
    bpftool('map', 'lookup', ...policy, 'key', ...keyBytes(META_LINE)),
    ...readableMaps(pins).map((name) =>
      bpftool('map', 'show', ...objectWords(pins, paths.ownMap(pins.number, { name }))),
    ),
  ]
}

/** Queries about every generation; those about the maps beside its policy follow. */
const QUERIES = 4

const memoryOf = ({ max_entries, bytes_memlock }: Omit<ShapeOf<typeof shownMap>, 'name'>): number =>
  bytes_memlock ?? max_entries * LINE_SIZE

function decodeGeneration(pins: GenerationPins, outputs: readonly unknown[]): Omit<Generation, 'header'> {
  const { number, programs, hasCarry, lost } = pins
  const program = shownProgram(outputs[0])
  const map = shownPolicy(outputs[1])
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
    lost,
    ownMaps: new Map(
      readableMaps(pins).map((name, i) => {
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
  const { read } = FILTER.programs
  const header = pins.programs.has(read)
    ? tryReadPart(files, paths.program(pins.number, read), [{ first: 0, lines: HEADER_LINES }])
    : undefined
  return {
    commands: [...queries, ...(header?.commands ?? [])],
    finish: (outputs) => {
      const generation = decodeGeneration(pins, outputs.slice(0, queries.length))
      const bytes = generation.abi === ABI_VERSION ? header?.finish(outputs.slice(queries.length)) : undefined
      return { ...generation, header: bytes && wordsOf(bytes) }
    },
  }
}

/** Names in the bpffs. */
export interface Pins {
  /** Every name in the instance directory. */
  readonly names: readonly string[]
  /** Generations with all pins that they need, and those in force without some, ascending. */
  readonly usable: readonly GenerationPins[]
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
  const found = await Promise.all(numbers.map((number) => pinsOf(paths, number)))
  const isWhole = (pins: GenerationPins): boolean => isComplete(pins) && pins.ownMaps.length === OWN_MAPS.length
  const partial = await inForce(
    paths,
    found.filter((pins) => !isWhole(pins)),
  )
  const usable = found.flatMap((pins) => {
    const known = partial.find(({ number }) => number === pins.number)
    return known ?? (isComplete(pins) ? [pins] : [])
  })
  return {
    names,
    usable,
    incomplete: numbers.filter((number) => !usable.some((one) => one.number === number)),
    present: SHARED_MAPS.filter(({ name }) => shared.includes(name)),
  }
}

/** Facts that features read in every observation, by the name of the feature. */
function featuresPart({ paths, present, generations }: Readable): Part<ReadonlyMap<string, unknown>> {
  const asked = FEATURES.flatMap(({ name, observe }) => {
    const part = observe?.({ paths, present, generations })
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
  { names, usable, incomplete, present }: Pins,
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
    featuresPart({ paths, present, generations: usable }),
    ...usable.map((pins) => generationPart(`${files}/${pins.number}`, paths, pins)),
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
