// The layout of an image: the header, with a directory of the sections, and the sections behind it. Numbers in a
// section count from its first line, so that a section may lie anywhere.

import { createHash } from 'node:crypto'
import {
  BANS_SETTING_SHIFT,
  BANS_SHIFT,
  type Balance,
  balanceCodec,
  DIRECTORY_SECTIONS,
  type Directory as DirectoryLines,
  directoryCodec,
  HEADER_LINES,
  LINE_SIZE,
  type Meta,
  metaCodec,
  protectedPrefixCodec,
  RATE_FAMILY,
  type Roles,
  rolesCodec,
  SECTION,
  type Settings,
  settingsCodec,
  type Table6,
  table6Codec,
} from '../../abi/generated.ts'
import { type LineDigest, LineDigester, NO_LINES, sameDigest } from '../lines/line-digest.ts'
import { corrupt, type Extent, LINE_WORDS, makeLines, viewOf } from '../lines/lines.ts'

/** Lines of the header. The directory takes six. */
export const SETTINGS_LINE = 0
export const TABLE6_LINE = 1
export const META_LINE = 2
export const DIRECTORY_LINE = 3
export const BALANCE_LINE = 9
export const ROLES_LINE = 10

export type SectionName = keyof typeof SECTION
/** In the order of the image. */
export const SECTION_NAMES: readonly SectionName[] = (Object.keys(SECTION) as SectionName[]).sort(
  (a, b) => SECTION[a] - SECTION[b],
)

/** Rings that an image shares with the previous one: see services/edit-rings.ts. */
export interface KeptRings {
  /** Digest of all rings of the previous image, and of this one. */
  readonly of: LineDigest
  readonly digest: LineDigest
  /** First lines, in both images, of the shared rings. */
  readonly rings: readonly number[]
}

/** Lines computed on demand. */
export interface LazyLines {
  readonly lines: number
  /** Extents that are not zero, ascending. */
  readonly extents: readonly Extent[]
  /** `count` lines from `first` on. */
  readonly words: (first: number, count: number) => Uint32Array
}

/** The rings of an image, built on demand. */
export interface Rings {
  readonly section: LazyLines
  readonly kept: KeptRings | undefined
}

/** Words by section, whole lines. Read-only once they are part of an image: images share them. */
export type Sections = Readonly<Record<SectionName, Uint32Array>>

/** Sections with rings that the first access builds. */
export function withRings(sections: Omit<Sections, 'RINGS'>, make: () => Uint32Array): Sections {
  let rings: Uint32Array | undefined
  const get = (): Uint32Array => {
    rings ??= make()
    return rings
  }
  return Object.defineProperty({ ...sections }, 'RINGS', { enumerable: true, get }) as Sections
}

/** Position of a section in lines, and its digest. */
export interface Place {
  readonly first: number
  readonly lines: number
  readonly digest: LineDigest
}

export type Directory = Readonly<Record<SectionName, Place>>

/** Decoded header. */
export interface Header {
  readonly settings: Settings
  readonly table6: Table6
  readonly meta: Meta
  readonly directory: Directory
  readonly balance: Balance
  readonly roles: Roles
}

/** The content of a policy map. */
export interface Image extends Header {
  /** Lines 0 to HEADER_LINES - 1. */
  readonly header: Uint32Array
  readonly sections: Sections
  /** Set while `sections` has no rings yet: reading RINGS there builds all of them. */
  readonly rings?: Rings
  /** Total number. */
  readonly lines: number
}

const record = <T>(of: (name: SectionName) => T): Readonly<Record<SectionName, T>> =>
  Object.fromEntries(SECTION_NAMES.map((name) => [name, of(name)])) as Record<SectionName, T>

/** Places sections one after the other behind the header. */
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

/** Flags of the settings that say how many bans the table holds, a power of two. */
export const bansFlags = (bans: number): number => ((Math.log2(bans) ^ BANS_SHIFT) << BANS_SETTING_SHIFT) >>> 0

/** That number. */
export const bansOf = ({ flags }: Pick<Settings, 'flags'>): number => 2 ** ((flags >>> BANS_SETTING_SHIFT) ^ BANS_SHIFT)

/** Whether a section of settings begins with the key of the hash: lines of another kind have a family. */
export const hasHashKey = (settings: Uint32Array): boolean =>
  settings.length > 0 && protectedPrefixCodec.decode(viewOf(settings)).family === 0

/** Line of a section of settings at which rate limits begin; its number of lines if there are none. */
export function ratesStart(settings: Uint32Array): number {
  const view = viewOf(settings)
  const lines = settings.length / LINE_WORDS
  for (let line = 0; line < lines; line++)
    if (protectedPrefixCodec.decode(view, line * LINE_SIZE).family === RATE_FAMILY) return line
  return lines
}

function directoryLines(
  directory: Directory,
  { SETTINGS }: Pick<Sections, 'SETTINGS'>,
  headerDigest: LineDigest,
): DirectoryLines {
  const empty = { extent: { first: 0, lines: 0 }, digest: NO_LINES }
  const sections = Array.from({ length: DIRECTORY_SECTIONS }, () => empty)
  for (const name of SECTION_NAMES) {
    const { first, lines, digest } = directory[name]
    sections[SECTION[name]] = { extent: { first, lines }, digest: [...digest] }
  }
  const hash_key = hasHashKey(SETTINGS) ? directory.SETTINGS.first : 0
  const rates = ratesStart(SETTINGS)
  const rate_limits = rates * LINE_WORDS < SETTINGS.length ? directory.SETTINGS.first + rates : 0
  return { sections, header_digest: [...headerDigest], hash_key, rate_limits }
}

/** The header without the fields that are written later: the time of the commit, and the header's digest. */
function bareHeader(header: Uint32Array): Uint32Array {
  const words = header.slice(0, HEADER_LINES * LINE_WORDS)
  const view = viewOf(words)
  view.setBigUint64(META_LINE * LINE_SIZE + metaCodec.offsets.committed_at, 0n)
  view.setBigUint64(DIRECTORY_LINE * LINE_SIZE + directoryCodec.offsets.header_digest, 0n)
  return words
}

function headerDigest(header: Uint32Array): LineDigest {
  const digester = new LineDigester()
  digester.add(bareHeader(header), 0, HEADER_LINES, 0)
  return digester.digest
}

/** A unique text for each image, committed or not: the header contains the digests of the whole content. */
export const imageKey = (header: Uint32Array): string =>
  createHash('sha256')
    .update(new Uint8Array(bareHeader(header).buffer))
    .digest('hex')

/** Assembles an image. */
export function assemble(said: Header, sections: Sections, lines: number, rings?: Rings): Image {
  const header = makeLines(HEADER_LINES)
  const view = viewOf(header)
  settingsCodec.encode(said.settings, view, SETTINGS_LINE * LINE_SIZE)
  table6Codec.encode(said.table6, view, TABLE6_LINE * LINE_SIZE)
  metaCodec.encode(said.meta, view, META_LINE * LINE_SIZE)
  directoryCodec.encode(directoryLines(said.directory, sections, NO_LINES), view, DIRECTORY_LINE * LINE_SIZE)
  balanceCodec.encode(said.balance, view, BALANCE_LINE * LINE_SIZE)
  rolesCodec.encode(said.roles, view, ROLES_LINE * LINE_SIZE)
  const digest = headerDigest(header)
  directoryCodec.encode(directoryLines(said.directory, sections, digest), view, DIRECTORY_LINE * LINE_SIZE)
  return { ...said, header, sections, lines, ...(rings ? { rings } : {}) }
}

/** The image as it is once committed at `time`, Unix time in seconds; its key and digests stay. */
export function committedImage(image: Image, time: bigint): Image {
  const header = image.header.slice()
  const meta = { ...image.meta, committed_at: time }
  metaCodec.encode(meta, viewOf(header), META_LINE * LINE_SIZE)
  return { ...image, header, meta }
}

/** Decodes a header, and checks whether its lines are as written. At least HEADER_LINES lines. */
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
    balance: balanceCodec.decode(view, BALANCE_LINE * LINE_SIZE),
    roles: rolesCodec.decode(view, ROLES_LINE * LINE_SIZE),
    intact: sameDigest(header_digest as unknown as LineDigest, headerDigest(header)),
  }
}

/** Words over bytes. Copies them if they are not aligned to 8, as those of a pooled Buffer are not. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >>> 2)
}

/**
 * Decodes bytes, whatever they are, into an image.
 *
 * @throws XdpError E113 if the header is truncated, or a section lies outside
 */
export function imageFrom(bytes: Uint8Array): Image {
  if (bytes.length < HEADER_LINES * LINE_SIZE) throw corrupt('the header is truncated')
  const words = wordsOf(bytes)
  const header = words.subarray(0, HEADER_LINES * LINE_WORDS)
  const said = readHeader(header)
  const sections = record((name) => {
    const { first, lines } = said.directory[name]
    if ((first + lines) * LINE_WORDS > words.length) throw corrupt(`section ${name.toLowerCase()} lies outside`)
    return words.subarray(first * LINE_WORDS, (first + lines) * LINE_WORDS)
  })
  return { ...said, header, sections, lines: words.length / LINE_WORDS }
}

/** The bytes of an image, as in its map. */
export function imageBytes({ header, sections, directory, lines }: Image): Uint8Array {
  const words = makeLines(lines)
  words.set(header)
  for (const name of SECTION_NAMES) words.set(sections[name], directory[name].first * LINE_WORDS)
  return new Uint8Array(words.buffer)
}
