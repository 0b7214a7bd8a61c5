// Where the sections of an image lie.

import {
  directoryCodec,
  HEADER_LINES,
  LINE_SIZE,
  SECTION,
  type SectionExtent,
  sectionExtentCodec,
} from '../abi/generated.ts'
import { corrupt, LINE_WORDS, makeLines } from './lines.ts'

/** Lines of the header. The directory takes three. */
export const SETTINGS_LINE = 0
export const TABLE6_LINE = 1
export const META_LINE = 2
export const DIRECTORY_LINE = 3
export const BALANCE_LINE = 6
export const ROLES_LINE = 7

export type SectionName = keyof typeof SECTION
/** In the order in which they lie in the image. */
const SECTION_NAMES = (Object.keys(SECTION) as SectionName[]).sort((a, b) => SECTION[a] - SECTION[b])
const DIRECTORY_SECTIONS = directoryCodec.size / sectionExtentCodec.size

/** Content of a section: whole lines, or what writes so many to where they are to be. */
export type Section = Uint32Array | { readonly lines: number; write(words: Uint32Array): void }

export type Sections = Readonly<Record<SectionName, Section>>

const linesOf = (section: Section): number => ('lines' in section ? section.lines : section.length / LINE_WORDS)

export interface Layout {
  /** The whole image, sections in place, the header all zero but for the directory. */
  readonly words: Uint32Array<ArrayBuffer>
  /** First line of a section. */
  at(name: SectionName): number
}

/** Puts sections of whole lines one after the other behind the header, and their places in the directory. */
export function layOut(sections: Sections): Layout {
  const extents = Array.from({ length: DIRECTORY_SECTIONS }, (): SectionExtent => ({ first: 0, lines: 0 }))
  let line = HEADER_LINES
  for (const name of SECTION_NAMES) {
    const lines = linesOf(sections[name])
    extents[SECTION[name]] = { first: line, lines }
    line += lines
  }
  const words = makeLines(line)
  const at = (name: SectionName): number => (extents[SECTION[name]] as SectionExtent).first
  for (const name of SECTION_NAMES) {
    const section = sections[name]
    const from = at(name) * LINE_WORDS
    if (!('lines' in section)) words.set(section, from)
    else section.write(words.subarray(from, from + section.lines * LINE_WORDS))
  }
  directoryCodec.encode({ sections: extents }, new DataView(words.buffer), DIRECTORY_LINE * LINE_SIZE)
  return { words, at }
}

/**
 * A reader of sections out of an image.
 *
 * @param image 4-byte aligned
 * @returns a function from a section and the first line that the header gives it (if it does) to its words; it throws
 *   XdpError E113 where the directory says otherwise, or where the section is not inside the image
 */
export function sectionReader(image: Uint8Array): (name: SectionName, first?: number) => Uint32Array {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  const { sections } = directoryCodec.decode(view, DIRECTORY_LINE * LINE_SIZE)
  return (name, told) => {
    const { first, lines } = sections[SECTION[name]] as SectionExtent
    if (first !== (told ?? first) || (first + lines) * LINE_SIZE > image.length) {
      throw corrupt(`section ${name.toLowerCase()} is not where the header says`)
    }
    return new Uint32Array(image.buffer, image.byteOffset + first * LINE_SIZE, lines * LINE_WORDS)
  }
}
