// Building a generation beside the live one: its map and programs, its tables, and the proof of both by digests of the
// lines and by packets, before any packet meets it. In few bpftool processes, because starting one takes as long as writing
// a few MiB; but objects are loaded side by side, because that is what takes longest.

import { release } from 'node:os'
import { dirname } from 'node:path'
import { bpftool, type Command } from '../../abi/command.ts'
import { HEADER_LINES, LINE_SIZE } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import { damagedSections, type Extent, linesOf } from '../../tables/layout/difference.ts'
import { type Image, SECTION_NAMES } from '../../tables/layout/layout.ts'
import { type Probe, probePart, requireVerdicts } from '../live/probe.ts'
import { allDone, type Part, plainPart, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { prepareObjects } from '../tools/object.ts'
import { makeDirectory, removePins } from '../tools/pins.ts'
import { CommandError } from '../tools/spawn.ts'
import { copyPart, digestPart, readPart, writePart } from '../tools/transfer.ts'
import { atLeast, FLOOR, parseVersion } from '../tools/version.ts'
import type { Fill, Steps } from './lower.ts'

const HEADER: readonly Extent[] = [{ first: 0, lines: HEADER_LINES }]

const bytesOf = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

/** Throws E108 where the kernel holds other lines than the image. */
function requireSame({ header, directory }: Image, read: Uint8Array, digests: readonly (readonly [number, number])[]) {
  const damaged = damagedSections(directory, SECTION_NAMES, digests)
  if (damaged.length === 0 && Buffer.compare(read, bytesOf(header)) === 0) return
  throw fail('E108', 'the kernel holds other tables than were written')
}

/** Fills the policy map of a generation. `files`: directory for exchange files. */
function fillParts(files: string, paths: Paths, generation: number, { image, transfer }: Fill) {
  const program = (name: Parameters<Paths['program']>[1]): string => paths.program(generation, name)
  const places = SECTION_NAMES.map((name) => image.directory[name])
  return [
    copyPart(`${files}/copy`, paths.copyProgram(generation), transfer.copies),
    writePart(`${files}/write`, program('write'), transfer.writes, (extent) => linesOf(image, extent).map(bytesOf)),
    readPart(`${files}/read`, program('read'), HEADER),
    digestPart(`${files}/digest`, program('digest'), places),
  ] as const
}

/** Id of a pinned program. */
const idPart = (program: string): Part<number> => ({
  commands: [bpftool('prog', 'show', 'pinned', program)],
  finish: ([shown]) => (shown as { id: number }).id,
})

/**
 * Makes the generation of the steps and returns the id of its program; only asks for that where it is there already.
 * Throws XdpError; what was made by then is in `steps.made`, and no packet has met it.
 */
export async function buildGeneration(
  paths: Paths,
  steps: Steps,
  program: string,
  probes: readonly Probe[],
): Promise<number> {
  const { fill, generation } = steps
  if (!fill) return (await runParts(idPart(program)))[0]
  for (const directory of steps.directories) await makeDirectory(directory, dirname(paths.root))
  const load = (commands: readonly Command[]): Part<void> =>
    plainPart(commands, (error) => loadFailed(error, release()))
  return withExchange(async (files) => {
    const created = runParts(plainPart(steps.create, (error) => outOfMemory(error, fill.image.lines)))
    // While bpftool makes the maps.
    const prepared = steps.load ? prepareObjects(files, steps.load.object, steps.load.parts) : Promise.resolve([])
    await allDone<unknown>([created, prepared])
    const loads = steps.load?.commands(await prepared) ?? []
    const filled = runParts(
      load(loads.slice(0, 1)),
      ...fillParts(files, paths, generation, fill),
      probePart(`${files}/probe`, program, probes),
      idPart(program),
    )
    await allDone<unknown>([filled, ...loads.slice(1).map((command) => runParts(load([command])))])
    const [, , , header, digests, verdicts, id] = await filled
    requireSame(fill.image, header, digests)
    await requireVerdicts(files, paths.program(generation, 'explain'), probes, verdicts)
    await removePins(paths.copyProgram(generation))
    return id
  })
}

/** bpftool's words for ENOMEM do not say what was asked for. */
function outOfMemory(error: CommandError, lines: number): unknown {
  if (!error.words.includes('Cannot allocate memory')) return error
  const size = `${Math.ceil((lines * LINE_SIZE) / 1024 / 1024)} MiB`
  return fail(
    'E109',
    `the kernel has no memory for the tables (${size}); the live policy is untouched`,
    'shorten the lists, or add memory',
    error,
  )
}

/** A kernel that is too old refuses in words that do not say so. */
export function loadFailed(error: unknown, kernel: string): unknown {
  const version = parseVersion(kernel)
  if (!(error instanceof CommandError) || !version || atLeast(version, FLOOR)) return error
  const message = `Linux ${kernel} does not load the program, which is made for ${FLOOR.join('.')} and newer: ${error.words}`
  return fail('E107', message, 'xdp doctor says what this kernel lacks', error)
}
