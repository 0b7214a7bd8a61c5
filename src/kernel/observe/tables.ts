// Reads the tables of the live generation. If their digests match the recorded ones, an apply wrote them, and lists
// with known digests need not be read; everything else is read and decoded.

import { setTimeout } from 'node:timers/promises'
import { entriesOf } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { HEADER_LINES, LINE_SIZE } from '../../abi/generated.ts'
import type { Generation } from '../../abi/instance.ts'
import type { Paths } from '../../abi/paths.ts'
import { fail, XdpError } from '../../diagnostics.ts'
import { FILTER } from '../../features/filter.ts'
import type { State } from '../../model/state.ts'
import { LARGE_IMAGE } from '../../tables/image/edit.ts'
import { type DecodedImage, decodeImage } from '../../tables/image/image.ts'
import { RECOGNIZED, type Recall, recognizeImage } from '../../tables/image/recognize.ts'
import { damagedSections, type Extent, type Previous } from '../../tables/layout/difference.ts'
import {
  type Header,
  type Image,
  imageFrom,
  readHeader,
  SECTION_NAMES,
  type SectionName,
  type Sections,
} from '../../tables/layout/layout.ts'
import { listDigest } from '../../tables/lines/digest.ts'
import { LINE_WORDS } from '../../tables/lines/lines.ts'
import type { CompiledBefore } from '../../tables/services/backends.ts'
import { imageInCache, imageInProcess, type KeptImage, type Memory } from '../host/memory.ts'
import { askBpftool, runParts } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { digestPart, readPart } from '../tools/transfer.ts'
import { objectWords } from './instance.ts'

/** Parts of the live generation that the next one can take over. */
export interface Takeover {
  readonly known: Previous
  /** Loaded on demand; undefined if its lines would have to be read from the kernel. */
  readonly image: () => Image | undefined
  /** The compiled services, if this process compiled them. */
  readonly services?: CompiledBefore | undefined
}

export interface LiveTables {
  /** undefined if the damage prevents decoding. */
  readonly content: DecodedImage | undefined
  /** The damage, if lines are not as they were written. */
  readonly damage: string | undefined
  /** undefined if nothing can be taken over. */
  readonly takeover: Takeover | undefined
}

/** Verifies the digests of all sections, and reads the wanted ones. */
async function proveAndRead(
  paths: Paths,
  { number }: Generation,
  { directory }: Header,
  wanted: readonly SectionName[],
): Promise<{ damaged: readonly SectionName[]; sections: Record<string, Uint32Array> }> {
  const places = SECTION_NAMES.map((name) => directory[name])
  const [digests, bytes] = await withExchange((files) =>
    runParts(
      digestPart(`${files}/digest`, paths.program(number, FILTER.programs.digest), places),
      readPart(
        `${files}/read`,
        paths.program(number, FILTER.programs.read),
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

/** Bytes of a key of an array map. */
const KEY_SIZE = 4

/** Every line of a policy whose reading program is gone; ten times slower than that program. */
async function dumpAll(paths: Paths, generation: Generation): Promise<Uint8Array> {
  const words = objectWords(generation, paths.policy(generation.number))
  const entries = await askBpftool(entriesOf(KEY_SIZE, LINE_SIZE), 'map', 'dump', ...words)
  const bytes = new Uint8Array(generation.lines * LINE_SIZE)
  for (const { key, value } of entries) {
    const line = new DataView(key.buffer).getUint32(0, LITTLE_ENDIAN)
    if (line < generation.lines) bytes.set(value, line * LINE_SIZE)
  }
  return bytes
}

async function readAll(paths: Paths, generation: Generation): Promise<Uint8Array> {
  const { number, lines, unpinned } = generation
  if (unpinned.has(FILTER.programs.read)) return dumpAll(paths, generation)
  const all: readonly Extent[] = [{ first: 0, lines }]
  const [bytes] = await withExchange((files) =>
    runParts(readPart(`${files}/read`, paths.program(number, FILTER.programs.read), all)),
  )
  return bytes
}

const DAMAGED = 'lines of its tables changed since the last apply'
/** Longer than an apply takes to write all lines of a rewrite. */
const REWRITE_MS = 50

/**
 * Throws E108 if an apply rewrote next hops between the reading of the header and that of the tables, which a reader
 * without the lock must try again.
 */
async function requireStill(paths: Paths, { number, header }: Generation): Promise<void> {
  await setTimeout(REWRITE_MS)
  const [bytes] = await withExchange((files) =>
    runParts(readPart(`${files}/header`, paths.program(number, FILTER.programs.read), HEADER)),
  )
  const before = header && new Uint8Array(header.buffer, header.byteOffset, header.byteLength)
  if (!before || Buffer.compare(bytes, before) !== 0) throw fail('E108', 'the tables were rewritten during the reading')
}

const HEADER: readonly Extent[] = [{ first: 0, lines: HEADER_LINES }]

/** A damaged image is no failure, because the next apply must be able to replace it. */
function decodeDamaged(bytes: Uint8Array, damage: string | undefined = DAMAGED): LiveTables {
  try {
    return { content: decodeImage(imageFrom(bytes)), damage, takeover: undefined }
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    return { content: undefined, damage: error.diagnostics[0]?.message ?? error.message, takeover: undefined }
  }
}

/** A takeover with an image that is loaded on demand. */
function takeoverOf(known: Previous, image: () => Image | undefined, services?: CompiledBefore): Takeover {
  let found: Image | undefined
  return {
    known,
    services,
    image: () => {
      found ??= image()
      return found
    },
  }
}

const decodeAll = (image: Image): LiveTables => ({
  content: decodeImage(image),
  damage: undefined,
  takeover: takeoverOf(image, () => image),
})
const decodeWhole = (bytes: Uint8Array): LiveTables => decodeAll(imageFrom(bytes))

/** The services from which this process compiled the image. */
function compiledOf({ image: { sections }, services }: KeptImage): CompiledBefore | undefined {
  if (services === undefined) return undefined
  const { SERVICES, SERVICE_RECORDS, BACKENDS } = sections
  return { ...services, lines: { services: SERVICES, records: SERVICE_RECORDS, backends: BACKENDS } }
}

/** Finds a list by its record: the expected one, else that of the kept image. */
function recallFrom(expected: State | undefined, kept: () => KeptImage | undefined): Recall {
  return ({ name, digest }) => {
    const list = expected?.lists.get(name)
    return list && listDigest(list) === digest ? list : kept()?.lists.get(name)
  }
}

/**
 * Reads the tables of a generation of our ABI.
 *
 * @param expected the state that they most likely hold
 */
export async function readTables(
  paths: Paths,
  generation: Generation,
  memory: Memory,
  expected: State | undefined,
): Promise<LiveTables> {
  const { read, digest } = FILTER.programs
  // Missing pins are drift in themselves, and no sign of damage.
  if (generation.unpinned.has(read) || generation.unpinned.has(digest))
    return decodeDamaged(await readAll(paths, generation), undefined)
  const header = generation.header && readHeader(generation.header)
  const words = generation.header as Uint32Array
  if (!header?.intact) {
    if (header) await requireStill(paths, generation)
    return decodeDamaged(await readAll(paths, generation))
  }
  const own = imageInProcess(memory, words)
  const isSmall = generation.lines < LARGE_IMAGE
  const wanted = own ? [] : isSmall ? SECTION_NAMES : RECOGNIZED
  const { damaged, sections } = await proveAndRead(paths, generation, header, wanted)
  if (damaged.length > 0) {
    await requireStill(paths, generation)
    return decodeDamaged(await readAll(paths, generation))
  }
  if (own) {
    const { image } = own
    const content = recognizeImage(
      header,
      image.sections,
      recallFrom(expected, () => own),
      own.services,
    )
    if (content) return { content, damage: undefined, takeover: takeoverOf(image, () => image, compiledOf(own)) }
    return decodeWhole(await readAll(paths, generation))
  }
  let found: KeptImage | undefined | 'not read' = 'not read'
  const cached = (): KeptImage | undefined => {
    if (found === 'not read') found = imageInCache(memory, paths, words)
    return found
  }
  const whole = isSmall
    ? { ...header, header: words, sections: sections as Sections, lines: generation.lines }
    : undefined
  const known: Previous = { directory: header.directory, sections }
  const needed = sections as Pick<Sections, (typeof RECOGNIZED)[number]>
  const content = recognizeImage(header, needed, recallFrom(expected, cached))
  if (content) return { content, damage: undefined, takeover: takeoverOf(known, () => whole ?? cached()?.image) }
  return whole ? decodeAll(whole) : decodeWhole(await readAll(paths, generation))
}
