// Steps that build a generation beside the live one: its maps and programs, its tables, and the verification of both by
// digests and probes, before it gets any packet.

import { randomBytes } from 'node:crypto'
import { lstat, rmdir, writeFile } from 'node:fs/promises'
import { release } from 'node:os'
import { basename, dirname } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { shownProgram } from '../../abi/answer.ts'
import { bpftool, commandLine, plainRun, quiet, updateCommand } from '../../abi/command.ts'
import { HEADER_LINES } from '../../abi/generated.ts'
import { mapWords, type Paths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import type { StepOf } from '../../features/step.ts'
import { atLeast, FLOOR, parseVersion } from '../../model/version.ts'
import { damagedSections, type Extent, lineCount, linesOf } from '../../tables/layout/difference.ts'
import { type Image, SECTION_NAMES } from '../../tables/layout/layout.ts'
import type { LineDigest } from '../../tables/lines/line-digest.ts'
import { carryBans } from '../live/ban-carry.ts'
import { banLockFile } from '../live/ban-write.ts'
import { probePart, requireVerdicts } from '../live/probe.ts'
import { lacking, lackingWords } from '../observe/needs.ts'
import { joinParts, runBatch, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { withLinear, withParts } from '../tools/object.ts'
import { makeDirectory, removePins } from '../tools/pins.ts'
import { CommandError } from '../tools/spawn.ts'
import { copyPart, digestPart, packChunks, readPart, writePart } from '../tools/transfer.ts'
import { carry, carryLines, loadCarry, loadCarryCommand } from './carry.ts'
import { chainLines, fillChain } from './chain.ts'
import { requireContacts } from './contacts.ts'
import type { KindTable } from './kind.ts'

const HEADER: readonly Extent[] = [{ first: 0, lines: HEADER_LINES }]

const bytesOf = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

/** Removes those directories that are empty. */
async function removeEmpty(...directories: readonly string[]): Promise<void> {
  for (const directory of directories) await rmdir(directory).catch(() => undefined)
}

const makeCommand = ({ pin, shape }: StepOf<'make-map'>) => bpftool('map', 'create', pin, ...mapWords(shape))
const handOnCommand = ({ from, to }: StepOf<'hand-on-map'>) => bpftool('map', 'pin', 'pinned', from, to)

const pinCommand = ({ object, id, pin }: StepOf<'pin-again'>) => bpftool(object, 'pin', 'id', `${id}`, pin)

const loadCommand = ({ directory, maps }: Pick<StepOf<'load'>, 'directory' | 'maps'>, path: string) =>
  bpftool('prog', 'loadall', path, directory, ...maps.flatMap(({ name, pin }) => ['map', 'name', name, 'pinned', pin]))

/** Throws E108 if the kernel holds other lines than the image. */
function requireSame({ header, directory }: Image, read: Uint8Array, digests: readonly LineDigest[]): void {
  const damaged = damagedSections(directory, SECTION_NAMES, digests)
  if (damaged.length === 0 && Buffer.compare(read, bytesOf(header)) === 0) return
  throw fail('E108', 'the kernel holds other tables than were written')
}

/** Throws E108 if a pin does not exist. */
async function requirePinned(pins: readonly string[]): Promise<void> {
  const found = await Promise.all(
    pins.map((pin) =>
      lstat(pin).then(
        () => true,
        () => false,
      ),
    ),
  )
  const missing = pins.filter((_, i) => !found[i])
  if (missing.length === 0) return
  const more = missing.length > 3 ? ` and ${missing.length - 3} more` : ''
  throw fail('E108', `bpftool reported success, but did not pin ${missing.slice(0, 3).join(', ')}${more}`)
}

/** Explains ENOMEM, because bpftool's message does not name the map. */
function outOfMemory(
  error: CommandError,
  { shape: { name, keySize, valueSize, entries } }: StepOf<'make-map'>,
): unknown {
  if (!error.words.includes('Cannot allocate memory')) return error
  const bytes = (valueSize + (name === 'policy' ? 0 : keySize)) * entries
  return fail(
    'E109',
    `the kernel has no memory for the tables (${Math.ceil(bytes / 1024 / 1024)} MiB); the live policy is untouched`,
    'shorten the lists, or add memory',
    error,
  )
}

/** Explains the refusal of a kernel that is too old, whose message does not say so. */
export function loadFailed(error: unknown, kernel: string): unknown {
  const version = parseVersion(kernel)
  if (!(error instanceof CommandError) || !version || atLeast(version, FLOOR)) return error
  const lacks = lacking(version)
  const missing = lacks.length > 0 ? `. It lacks ${lackingWords(lacks)}` : ''
  const message = `Linux ${kernel} does not load the programs, which need ${FLOOR.join('.')} or newer: ${error.words}${missing}`
  return fail(
    'E107',
    message,
    `boot Linux ${FLOOR.join('.')} or newer; \`xdp doctor\` lists what this kernel lacks`,
    error,
  )
}

export const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`

/** Lines for the bulk runs that fill a map. */
function fillLines({ transfer: { copies, writes }, copy, write }: StepOf<'fill'>): string[] {
  const run = (program: string, file: string): string => `bpftool prog run pinned ${program} data_in ${file}`
  const chunks = counted(packChunks(writes).length, 'chunk')
  return [
    ...(copies.length > 0
      ? [
          `${run(copy, 'SPANS')} data_out SPANS data_size_out 65536  # ${counted(lineCount(copies), 'line')}, until it is done`,
        ]
      : []),
    `${run(write, 'CHUNK')} data_out /dev/null data_size_out 65536  # ${counted(lineCount(writes), 'line')} in ${chunks}`,
  ]
}

/** Writes single lines into the map of a table_write. */
const writeLines = (write: string, lines: ReadonlyMap<number, Uint32Array>): Promise<void> =>
  withExchange(async (files) => {
    const extents = [...lines.keys()].map((first): Extent => ({ first, lines: 1 }))
    const content = ({ first }: Extent): Uint8Array[] => [bytesOf(lines.get(first) as Uint32Array)]
    await runParts(writePart(`${files}/rewrite`, write, extents, content))
  })

/** The parent directories of a generation, innermost first. */
const above = ({ instance, root }: Paths): readonly string[] => [instance, root]

export const BUILDING = {
  'make-directory': {
    print: ({ path }) => [`mkdir -p ${path}`],
    run: ({ path }, { paths }) => makeDirectory(path, dirname(paths.root)),
    undo: ({ path }, { paths }) => removeEmpty(path, ...above(paths)),
  },
  'make-generation': {
    progress: 'building the new generation',
    print: ({ path, isStaged }) => (isStaged ? [] : [`mkdir -p ${path}`]),
    run: async ({ path, isStaged }, { paths }) => {
      if (!isStaged) await makeDirectory(path, dirname(paths.root))
    },
    undo: async ({ path }, { paths }) => {
      await removePins(path)
      await removeEmpty(...above(paths))
    },
  },
  'pin-again': {
    print: (step) => [commandLine(pinCommand(step))],
    run: async (step, { paths }) => {
      await makeDirectory(dirname(step.pin), dirname(paths.root))
      await runBatch([pinCommand(step)])
    },
    undo: ({ pin }) => removePins(pin),
  },
  'make-map': {
    batch: 'maps',
    print: (step) => [commandLine(makeCommand(step))],
    part: (step) => ({ ...quiet(makeCommand(step)), explain: (error) => outOfMemory(error, step) }),
    undo: ({ pin }) => removePins(pin),
  },
  'fill-random': {
    batch: 'maps',
    print: ({ map, size }) => [`${commandLine(updateCommand(map, 0, new Uint8Array(0)))} RANDOM  # ${size} bytes`],
    part: ({ map, size }) => quiet(updateCommand(map, 0, randomBytes(size))),
  },
  'hand-on-map': {
    batch: 'maps',
    print: (step) => [commandLine(handOnCommand(step))],
    part: (step) => quiet(handOnCommand(step)),
    undo: ({ to }) => removePins(to),
  },
  'prepare-object': {
    batch: 'maps',
    print: ({ object, parts }) => {
      const missing = [...parts].filter(([, has]) => !has).map(([name]) => name)
      return missing.length > 0 ? [`# taken out of ${basename(object.path)}: ${missing.join(', ')}`] : []
    },
    part: ({ object, parts, chains }, run) => ({
      commands: [],
      finish: () => undefined,
      meanwhile: async () => {
        // bpftool is started first.
        await setImmediate()
        const isApart = chains !== undefined && run.isLinear
        run.prepared.set(object.path, isApart ? withLinear(object, parts, chains) : [withParts(object, parts)])
      },
    }),
  },
  load: {
    batch: 'build',
    print: (step) => [commandLine(loadCommand(step, step.object.path))],
    part: (step, { prepared }, files) => {
      const contents = prepared.get(step.object.path)
      if (!contents) throw new Error(`${step.object.path} was not prepared`)
      const paths = contents.map((_, i) => `${files}-${i}-${basename(step.object.path)}`)
      return {
        ...quiet(...paths.map((path) => loadCommand(step, path))),
        explain: (error) => loadFailed(error, release()),
        before: async () => {
          await Promise.all(contents.map((content, i) => writeFile(paths[i] as string, content)))
        },
      }
    },
    undo: ({ directory }) => removePins(directory),
  },
  fill: {
    batch: 'build',
    print: fillLines,
    part: ({ image, transfer, copy, write }, _, files) => {
      const { commands, finish } = joinParts(
        copyPart(`${files}-copy`, copy, transfer.copies),
        writePart(`${files}-write`, write, transfer.writes, (extent) => linesOf(image, extent).map(bytesOf)),
      )
      return { commands, finish: (outputs) => void finish(outputs) }
    },
  },
  rewrite: {
    print: ({ lines, write }) => [
      `bpftool prog run pinned ${write} data_in CHUNK data_out /dev/null data_size_out 65536  # ${counted(lines.length, 'line')} of the live tables`,
    ],
    run: ({ lines, write }) => writeLines(write, new Map(lines.map(({ line, after }) => [line, after]))),
    undo: ({ lines, write }) => writeLines(write, new Map(lines.map(({ line, before }) => [line, before]))),
  },
  'prove-tables': {
    batch: 'build',
    print: ({ digest }) => [
      `bpftool prog run pinned ${digest} data_in SPANS data_out SPANS data_size_out 65536  # compares ${SECTION_NAMES.length} digests`,
    ],
    part: ({ image, read, digest }, _, files) => {
      const places = SECTION_NAMES.map((name) => image.directory[name])
      const both = joinParts(readPart(`${files}-read`, read, HEADER), digestPart(`${files}-digest`, digest, places))
      return { commands: both.commands, finish: (outputs) => requireSame(image, ...both.finish(outputs)) }
    },
  },
  'prove-verdicts': {
    batch: 'build',
    print: ({ program, probes }) => (probes.length === 0 ? [] : [probeLine(program, probes.length)]),
    part: ({ program, explain, probes }, _, files) => {
      const { commands, finish } = probePart(`${files}-probe`, program, probes)
      let verdicts: ReturnType<typeof finish> = []
      return {
        commands,
        finish: (outputs) => {
          verdicts = finish(outputs)
        },
        after: () => requireVerdicts(`${files}-excused`, explain, probes, verdicts),
      }
    },
  },
  'prove-contacts': {
    print: ({ explain }) => [
      `bpftool prog run pinned ${explain} data_in PACKETS repeat N  # a packet of each live connection`,
    ],
    run: requireContacts,
  },
  identify: {
    batch: 'build',
    print: ({ program }) => [`bpftool prog show pinned ${program}`],
    part: ({ program }, run) => ({
      commands: [bpftool('prog', 'show', 'pinned', program)],
      finish: ([shown]) => {
        run.programId = shownProgram(shown).id
      },
    }),
  },
  unpin: {
    print: ({ path }) => [`rm -r ${path}`],
    run: ({ path }) => removePins(path),
  },
  'prove-pins': {
    print: ({ pins }) => [`ls ${[...new Set(pins.map(dirname))].join(' ')}`],
    run: ({ pins }) => requirePinned(pins),
  },
  'fill-chain': {
    print: chainLines,
    run: fillChain,
    undo: ({ directory }) => removePins(directory),
  },
  'carry-bans': {
    progress: 'taking over the bans',
    print: ({ program }) => [commandLine(plainRun(program))],
    run: async ({ program, size }, { host: { bpffs, instance, lockTimeoutMs } }) =>
      carryBans({ file: await banLockFile(bpffs, instance), timeoutMs: lockTimeoutMs }, program, size),
  },
  'load-carry': {
    print: ({ object, directory, carrying }) => [commandLine(loadCarryCommand(object, directory, carrying))],
    run: ({ object, directory, carrying }) => loadCarry(object, directory, carrying),
    undo: ({ directory }) => removePins(directory),
  },
  carry: {
    print: ({ directory, carrying }) => carryLines(directory, carrying),
    run: ({ directory, carrying }) => carry(directory, carrying),
  },
} as const satisfies KindTable<
  | 'make-directory'
  | 'make-generation'
  | 'pin-again'
  | 'make-map'
  | 'fill-random'
  | 'hand-on-map'
  | 'prepare-object'
  | 'load'
  | 'fill'
  | 'rewrite'
  | 'prove-tables'
  | 'prove-verdicts'
  | 'prove-contacts'
  | 'identify'
  | 'unpin'
  | 'prove-pins'
  | 'fill-chain'
  | 'carry-bans'
  | 'load-carry'
  | 'carry'
>

export const probeLine = (program: string, count: number): string =>
  `bpftool prog run pinned ${program} data_in PACKET repeat 1  # ${counted(count, 'test packet')}`
