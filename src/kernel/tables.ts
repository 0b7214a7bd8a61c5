// What the tables of the live generation hold. Lines whose digests are as recorded are what an apply wrote, so that lists
// that are known by their own digests need not be read; everything else is read and decoded.

import type { Paths } from '../abi/paths.ts'
import { XdpError } from '../diagnostics.ts'
import { damagedSections, type Extent, type Previous } from '../tables/difference.ts'
import { type DecodedImage, decodeImage } from '../tables/image.ts'
import { type Header, imageFrom, readHeader, SECTION_NAMES, type SectionName, type Sections } from '../tables/layout.ts'
import { LINE_WORDS } from '../tables/lines.ts'
import { type Recall, recognizeImage } from '../tables/recognize.ts'
import { runParts } from './bpftool.ts'
import { withExchange } from './exchange.ts'
import type { Generation } from './instance.ts'
import { digestPart, readPart } from './transfer.ts'

export interface LiveTables {
  /** undefined: they are damaged in a way that is no policy. */
  readonly image: DecodedImage | undefined
  /** Lines are not as they were written: what is wrong. */
  readonly damage: string | undefined
  /** What the next generation can take over; undefined: nothing. */
  readonly previous: Previous | undefined
}

/** Images of at most so many lines are read in the same process that proves them: it takes a millisecond. */
const FEW_LINES = 4096

/** Digests of all sections, and the lines of some of them. */
async function proveAndRead(
  paths: Paths,
  { number }: Generation,
  { directory }: Header,
  wanted: readonly SectionName[],
): Promise<{ damaged: readonly SectionName[]; sections: Record<string, Uint32Array> }> {
  const places = SECTION_NAMES.map((name) => directory[name])
  const [digests, bytes] = await withExchange((files) =>
    runParts(
      digestPart(`${files}/digest`, paths.program(number, 'digest'), places),
      readPart(
        `${files}/read`,
        paths.program(number, 'read'),
        wanted.map((name) => directory[name]),
      ),
    ),
  )
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
  let at = 0
  const sections = wanted.map((name) => {
    const from = at
    at += directory[name].lines * LINE_WORDS
    return [name, words.subarray(from, at)] as const
  })
  return { damaged: damagedSections(directory, SECTION_NAMES, digests), sections: Object.fromEntries(sections) }
}

async function readAll(paths: Paths, { number, lines }: Generation): Promise<Uint8Array> {
  const all: readonly Extent[] = [{ first: 0, lines }]
  const [bytes] = await withExchange((files) => runParts(readPart(`${files}/read`, paths.program(number, 'read'), all)))
  return bytes
}

const DAMAGED = 'lines of its tables changed since the last apply'

/** A damaged image is no failure: the next apply must be able to replace it. */
function decodeDamaged(bytes: Uint8Array): LiveTables {
  try {
    return { image: decodeImage(imageFrom(bytes)), damage: DAMAGED, previous: undefined }
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    return { image: undefined, damage: error.diagnostics[0]?.message ?? error.message, previous: undefined }
  }
}

/** Reads the tables of a generation of our ABI. `recall`: lists that are known. */
export async function readTables(paths: Paths, generation: Generation, recall: Recall): Promise<LiveTables> {
  const header = generation.hasDigests && generation.header ? readHeader(generation.header) : undefined
  if (!header?.intact) return decodeDamaged(await readAll(paths, generation))
  const isSmall = generation.lines <= FEW_LINES
  const { damaged, sections } = await proveAndRead(paths, generation, header, isSmall ? SECTION_NAMES : ['LISTS'])
  if (damaged.length > 0) return decodeDamaged(await readAll(paths, generation))
  const { directory } = header
  const image = recognizeImage(header, sections['LISTS'] as Uint32Array, recall)
  if (image) return { image, damage: undefined, previous: { directory, sections } }
  const whole = isSmall
    ? { ...header, header: generation.header as Uint32Array, sections: sections as Sections, lines: generation.lines }
    : imageFrom(await readAll(paths, generation))
  return { image: decodeImage(whole), damage: undefined, previous: whole }
}
