// The difference of two images: lines of the new one that the kernel can copy from the old one, and lines that must be
// written. Each section is compared with the section of the same name, at whatever position.

import { HEADER_LINES, LINE_SIZE } from '../../abi/generated.ts'
import { type LineDigest, LineDigester, sameDigest } from '../lines/line-digest.ts'
import { type Extent, isSameLine, LINE_WORDS } from '../lines/lines.ts'
import {
  type Directory,
  type Image,
  type Place,
  type Rings,
  SECTION_NAMES,
  type SectionName,
  type Sections,
} from './layout.ts'

export type { Extent }

/** Lines to copy from line `from` of the previous image on. */
export interface Copy extends Extent {
  readonly from: number
}

/** Steps that fill a zeroed map with an image. Ascending. */
export interface Transfer {
  readonly copies: readonly Copy[]
  readonly writes: readonly Extent[]
}

/** Known facts of the image in the previous generation's map. */
export interface Previous {
  readonly directory: Directory
  /** The sections whose content is available. */
  readonly sections: Partial<Sections>
}

/** A line of the live map, as it is and as it is to be. */
export interface LineChange {
  readonly line: number
  readonly before: Uint32Array
  readonly after: Uint32Array
}

/** Number of lines compared at a time. */
const BLOCK = 256

/** Collects extents in ascending order, and joins those with at most `bridged` lines between them. */
class Extents {
  readonly #all: { first: number; lines: number; readonly from: number }[] = []
  readonly #bridged: number

  constructor(bridged: number) {
    this.#bridged = bridged
  }

  /** `from`: start of a copy's source; copies are joined only if their sources are adjacent too. */
  add(first: number, lines: number, from = 0): void {
    const last = this.#all.at(-1)
    const isNext = last && first - last.first - last.lines <= this.#bridged
    if (isNext && (from === 0 || from - last.from === first - last.first)) last.lines = first + lines - last.first
    else this.#all.push({ first, lines, from })
  }

  get copies(): readonly Copy[] {
    return this.#all
  }

  get writes(): readonly Extent[] {
    return this.#all.map(({ first, lines }) => ({ first, lines }))
  }
}

function isZero(words: Uint32Array, line: number): boolean {
  let any = 0
  for (let word = line * LINE_WORDS; word < (line + 1) * LINE_WORDS; word++) any |= words[word] as number
  return any === 0
}

const bytesOf = (words: Uint32Array): Buffer => Buffer.from(words.buffer, words.byteOffset, words.byteLength)

/** Calls `visit` with lines `line` to `end - 1`, in pieces that are equal in both sections or differ. */
export function compareSections(
  words: Uint32Array,
  old: Uint32Array,
  visit: (line: number, end: number, same: boolean) => void,
): void {
  const [bytes, oldBytes] = [bytesOf(words), bytesOf(old)]
  const common = Math.min(words.length, old.length) / LINE_WORDS
  for (let line = 0; line < common; line += BLOCK) {
    const end = Math.min(line + BLOCK, common)
    const equal = bytes.compare(oldBytes, line * LINE_SIZE, end * LINE_SIZE, line * LINE_SIZE, end * LINE_SIZE) === 0
    if (equal) visit(line, end, true)
    else for (let one = line; one < end; one++) visit(one, one + 1, isSameLine(words, old, one))
  }
  if (words.length / LINE_WORDS > common) visit(common, words.length / LINE_WORDS, false)
}

/** Digest of a section derived from another one with a known digest. */
export function nextDigest(words: Uint32Array, old: Uint32Array, digest: LineDigest): LineDigest {
  if (words === old) return digest
  const digester = new LineDigester(digest)
  const known = old.length / LINE_WORDS
  compareSections(words, old, (line, end, same) => {
    if (same) return
    if (line < known) digester.add(old, line * LINE_WORDS, end - line, line, -1)
    digester.add(words, line * LINE_WORDS, end - line, line)
  })
  const lines = words.length / LINE_WORDS
  if (lines < known) digester.add(old, words.length, known - lines, lines, -1)
  return digester.digest
}

/** Copies or writes rings as a whole: two rings of one service differ all over. */
function transferRings(
  { section, kept }: Rings,
  first: number,
  place: Place | undefined,
  copies: Extents,
  writes: Extents,
): void {
  const stays = new Set(place && kept && sameDigest(kept.of, place.digest) ? kept.rings : [])
  for (const { first: at, lines } of section.extents) {
    if (place && stays.has(at)) copies.add(first + at, lines, place.first + at)
    else writes.add(first + at, lines)
  }
}

/** The transfer of an image; without a known previous image, it writes all lines that are not zero. */
export function transferOf(image: Image, previous?: Previous): Transfer {
  const copies = new Extents(0)
  // A bridged gap costs a write of its lines; a further extent takes one of few places in a run. An edit writes only
  // the changed lines.
  const writes = new Extents(previous ? 0 : 2)
  const write = (words: Uint32Array, first: number, from: number, end: number): void => {
    for (let line = from; line < end; line++) if (!isZero(words, line)) writes.add(first + line, 1)
  }
  write(image.header, 0, 0, HEADER_LINES)
  for (const name of SECTION_NAMES) {
    const { first, lines, digest } = image.directory[name]
    if (lines === 0) continue
    const place = previous?.directory[name]
    if (place && place.lines === lines && sameDigest(place.digest, digest)) {
      copies.add(first, lines, place.first)
      continue
    }
    if (name === 'RINGS' && image.rings) {
      transferRings(image.rings, first, place, copies, writes)
      continue
    }
    const words = image.sections[name]
    const old = previous?.sections[name]
    if (place && old) {
      compareSections(words, old, (line, end, same) => {
        if (same) copies.add(first + line, end - line, place.first + line)
        else write(words, first, line, end)
      })
    } else write(words, first, 0, lines)
  }
  return { copies: copies.copies, writes: writes.writes }
}

/** The words of an image's lines, in pieces. */
export function linesOf(image: Image, { first, lines }: Extent): Uint32Array[] {
  const pieces: Uint32Array[] = []
  const take = (start: number, length: number, words: (from: number, end: number) => Uint32Array): void => {
    const from = Math.max(first, start)
    const end = Math.min(first + lines, start + length)
    if (from < end) pieces.push(words(from - start, end - start))
  }
  const within = (words: Uint32Array) => (from: number, end: number) =>
    words.subarray(from * LINE_WORDS, end * LINE_WORDS)
  take(0, HEADER_LINES, within(image.header))
  for (const name of SECTION_NAMES) {
    const place = image.directory[name]
    const { rings } = image
    if (name === 'RINGS' && rings) take(place.first, place.lines, (from, end) => rings.section.words(from, end - from))
    else take(place.first, place.lines, within(image.sections[name]))
  }
  return pieces
}

export const lineCount = (extents: readonly Extent[]): number => extents.reduce((sum, { lines }) => sum + lines, 0)

/** Names of the sections whose digests differ from the recorded ones. `found`: in the order of `names`. */
export const damagedSections = (
  directory: Directory,
  names: readonly SectionName[],
  found: readonly (readonly [number, number])[],
): readonly SectionName[] => names.filter((name, i) => !sameDigest(directory[name].digest, found[i] ?? [0, 0]))
