// Where everything of an image lies: the header, whose directory names every section, and the sections behind it. A
// section's numbers count from its own first line, so that it may lie anywhere.

import {
  DIRECTORY_SECTIONS,
  type Directory as DirectoryLines,
  directoryCodec,
  HEADER_LINES,
  LINE_SIZE,
  type Meta,
  metaCodec,
  SECTION,
  type Settings,
  settingsCodec,
  type Table6,
  table6Codec,
} from '../abi/generated.ts'
import { type LineDigest, LineDigester, NO_LINES, sameDigest } from './line-digest.ts'
import { corrupt, LINE_WORDS, makeLines, viewOf } from './lines.ts'

/** Lines of the header. The directory takes the rest of it. */
export const SETTINGS_LINE = 0
export const TABLE6_LINE = 1
export const META_LINE = 2
export const DIRECTORY_LINE = 3

export type SectionName = keyof typeof SECTION
/** In the order in which they lie in the image. */
export const SECTION_NAMES: readonly SectionName[] = (Object.keys(SECTION) as SectionName[]).sort(
  (a, b) => SECTION[a] - SECTION[b],
)

/** Words by section, whole lines. Nobody writes to them once they are part of an image: images share them. */
export type Sections = Readonly<Record<SectionName, Uint32Array>>

/** Where a section lies, in lines, and what it holds. */
export interface Place {
  readonly first: number
  readonly lines: number
  readonly digest: LineDigest
}

export type Directory = Readonly<Record<SectionName, Place>>

/** What the header says. */
export interface Header {
  readonly settings: Settings
  readonly table6: Table6
  readonly meta: Meta
  readonly directory: Directory
}

/** The content of a policy map. */
export interface Image extends Header {
  /** Lines 0 to HEADER_LINES - 1. */
  readonly header: Uint32Array
  readonly sections: Sections
  /** In all. */
  readonly lines: number
}

const record = <T>(of: (name: SectionName) => T): Readonly<Record<SectionName, T>> =>
  Object.fromEntries(SECTION_NAMES.map((name) => [name, of(name)])) as Record<SectionName, T>

/** The places of sections one after the other behind the header. */
export function placeSections(
  lengths: (name: SectionName) => number,
  digests: (name: SectionName) => LineDigest,
): { directory: Directory; lines: number } {
  let line = HEADER_LINES
  const directory = record((name) => {
    const place = { first: line, lines: lengths(name), digest: digests(name) }
    line += place.lines
    return place
  })
  return { directory, lines: line }
}

function directoryLines(directory: Directory, headerDigest: LineDigest): DirectoryLines {
  const empty = { extent: { first: 0, lines: 0 }, digest: NO_LINES }
  const sections = Array.from({ length: DIRECTORY_SECTIONS }, () => empty)
  for (const name of SECTION_NAMES) {
    const { first, lines, digest } = directory[name]
    sections[SECTION[name]] = { extent: { first, lines }, digest: [...digest] }
  }
  return { sections, header_digest: [...headerDigest] }
}

/** Digest of a header, but for what is written after it: the time of the commit, and the digest itself. */
function headerDigest(header: Uint32Array): LineDigest {
  const words = header.slice(0, HEADER_LINES * LINE_WORDS)
  const view = viewOf(words)
  view.setBigUint64(META_LINE * LINE_SIZE + metaCodec.offsets.committed_at, 0n)
  view.setBigUint64(DIRECTORY_LINE * LINE_SIZE + directoryCodec.offsets.header_digest, 0n)
  const digester = new LineDigester()
  digester.add(words, 0, HEADER_LINES, 0)
  return digester.digest
}

/** Puts an image together. */
export function assemble(said: Header, sections: Sections, lines: number): Image {
  const header = makeLines(HEADER_LINES)
  const view = viewOf(header)
  settingsCodec.encode(said.settings, view, SETTINGS_LINE * LINE_SIZE)
  table6Codec.encode(said.table6, view, TABLE6_LINE * LINE_SIZE)
  metaCodec.encode(said.meta, view, META_LINE * LINE_SIZE)
  directoryCodec.encode(directoryLines(said.directory, NO_LINES), view, DIRECTORY_LINE * LINE_SIZE)
  const digest = headerDigest(header)
  directoryCodec.encode(directoryLines(said.directory, digest), view, DIRECTORY_LINE * LINE_SIZE)
  return { ...said, header, sections, lines }
}

/** What the lines of a header say, and whether they are as they were written. At least HEADER_LINES lines. */
export function readHeader(header: Uint32Array): Header & { readonly intact: boolean } {
  const view = viewOf(header)
  const { sections, header_digest } = directoryCodec.decode(view, DIRECTORY_LINE * LINE_SIZE)
  const directory = record((name) => {
    const { extent, digest } = sections[SECTION[name]] as (typeof sections)[number]
    return { ...extent, digest: digest as unknown as LineDigest }
  })
  return {
    settings: settingsCodec.decode(view, SETTINGS_LINE * LINE_SIZE),
    table6: table6Codec.decode(view, TABLE6_LINE * LINE_SIZE),
    meta: metaCodec.decode(view, META_LINE * LINE_SIZE),
    directory,
    intact: sameDigest(header_digest as unknown as LineDigest, headerDigest(header)),
  }
}

/** Words over bytes, which are copied where they are not aligned to 8 as those of a pooled Buffer are not. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >>> 2)
}

/**
 * The image that bytes hold, whatever they are.
 *
 * @throws XdpError E113 where the header is cut off, or a section is not inside
 */
export function imageFrom(bytes: Uint8Array): Image {
  if (bytes.length < HEADER_LINES * LINE_SIZE) throw corrupt('the header is cut off')
  const words = wordsOf(bytes)
  const header = words.subarray(0, HEADER_LINES * LINE_WORDS)
  const said = readHeader(header)
  const sections = record((name) => {
    const { first, lines } = said.directory[name]
    if ((first + lines) * LINE_WORDS > words.length) throw corrupt(`section ${name.toLowerCase()} is not inside`)
    return words.subarray(first * LINE_WORDS, (first + lines) * LINE_WORDS)
  })
  return { ...said, header, sections, lines: words.length / LINE_WORDS }
}

/** An image as one block of bytes, as its map holds it. */
export function imageBytes({ header, sections, directory, lines }: Image): Uint8Array {
  const words = makeLines(lines)
  words.set(header)
  for (const name of SECTION_NAMES) words.set(sections[name], directory[name].first * LINE_WORDS)
  return new Uint8Array(words.buffer)
}
