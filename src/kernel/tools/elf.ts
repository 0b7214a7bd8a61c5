// The part of ELF that changing a BPF object needs: sections, symbols and relocations of a 64-bit relocatable file in either
// byte order (elf(5)). Checks that all of them lie within the file. Pure.

/** An invalid file. The message completes a sentence that starts with the file's name. */
export class DamagedElf extends Error {}

export interface Section {
  /** Offset of its header in the file. */
  readonly header: number
  readonly type: number
  readonly isCode: boolean
  /** Offset of its content in the file, and its size in bytes. */
  readonly offset: number
  readonly size: number
  /** Indices of related sections; their meaning depends on the type. */
  readonly link: number
  readonly info: number
}

/** A function, by the offsets in its section. */
export interface Range {
  readonly first: number
  readonly end: number
}

/** A place in a section that gets the address of a symbol. */
export interface Relocation {
  readonly place: number
  /** Index of the symbol. */
  readonly symbol: number
  /** Offset of the relocation in the file. */
  readonly at: number
}

export interface Elf {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly isLittle: boolean
  readonly sections: readonly Section[]
  /** Read on demand, because most symbols are labels that no caller needs. */
  readonly symbols: Section
  readonly names: Section
}

const HEADER_SIZE = 64
/** Offset of the number of the section with the names of sections. */
const NAMES_INDEX_AT = 62
const MAGIC = 0x7f454c46
const CLASS_64 = 2
const BPF = 247
const SECTION_SIZE = 64
const SYMBOL_SIZE = 24
const RELOCATION_SIZE = 16
/** Offset of the size in a section header. */
const SECTION_SIZE_AT = 32
const PROGBITS = 1
const SYMTAB = 2
const NOBITS = 8
export const REL = 9
const EXECINSTR = 4
const FUNC = 2

/** A 64-bit number. Values above 2^53 are rounded, but lie outside any file anyway. */
const word = (view: DataView, at: number, isLittle: boolean): number =>
  view.getUint32(isLittle ? at + 4 : at, isLittle) * 2 ** 32 + view.getUint32(isLittle ? at : at + 4, isLittle)

function readSections(view: DataView, isLittle: boolean): Section[] {
  const [first, count] = [word(view, 40, isLittle), view.getUint16(60, isLittle)]
  if (first + count * SECTION_SIZE > view.byteLength) throw new DamagedElf('ends before its section headers')
  return Array.from({ length: count }, (_, i) => {
    const header = first + i * SECTION_SIZE
    const type = view.getUint32(header + 4, isLittle)
    const offset = word(view, header + 24, isLittle)
    const size = word(view, header + SECTION_SIZE_AT, isLittle)
    if (type !== NOBITS && offset + size > view.byteLength) throw new DamagedElf(`ends before its section ${i}`)
    return {
      ...{ header, type, offset, size },
      isCode: type === PROGBITS && (word(view, header + 8, isLittle) & EXECINSTR) !== 0,
      link: view.getUint32(header + 40, isLittle),
      info: view.getUint32(header + 44, isLittle),
    }
  })
}

/** Offsets of the symbols in the file. */
export function* symbolsOf({ symbols: { offset, size } }: Elf): Generator<number> {
  for (let at = 0; at + SYMBOL_SIZE <= size; at += SYMBOL_SIZE) yield offset + at
}

/** The name of the symbol at a place in the file. Throws DamagedElf. */
export function nameAt({ bytes, view, names, isLittle }: Elf, at: number): string {
  const inNames = view.getUint32(at, isLittle)
  const first = names.offset + inNames
  const end = inNames < names.size ? bytes.indexOf(0, first) : -1
  if (end < 0) throw new DamagedElf('has a symbol whose name is not there')
  return Buffer.from(bytes.buffer, bytes.byteOffset + first, end - first).toString('latin1')
}

/** Name of the symbol of a relocation. Throws DamagedElf. */
export function neededBy(elf: Elf, { symbol }: Relocation): string {
  const { offset, size } = elf.symbols
  if ((symbol + 1) * SYMBOL_SIZE > size) throw new DamagedElf('has a relocation for a symbol that is not there')
  return nameAt(elf, offset + symbol * SYMBOL_SIZE)
}

/** The sections by their names; of several with the same one, the last. */
export function sectionNames(elf: Elf): ReadonlyMap<string, Section> {
  const names = elf.sections[elf.view.getUint16(NAMES_INDEX_AT, elf.isLittle)]
  if (!names) throw new DamagedElf('has no names of sections')
  return new Map(elf.sections.map((section) => [nameAt({ ...elf, names }, section.header), section]))
}

/** The section of the function whose symbol is at a place in the file; undefined: it is no function. */
export function codeAt({ view, isLittle, sections }: Elf, at: number): Section | undefined {
  return (view.getUint8(at + 4) & 0xf) === FUNC ? sections[view.getUint16(at + 6, isLittle)] : undefined
}

/** Makes the function whose symbol is at a place in the file a symbol without a type. */
export function hideFunction({ view }: Elf, at: number): void {
  view.setUint8(at + 4, view.getUint8(at + 4) & 0xf0)
}

/** The functions in a section. */
export function functionsIn(elf: Elf, section: Section): Range[] {
  const { view, isLittle, sections } = elf
  const functions: Range[] = []
  for (let at = elf.symbols.offset; at + SYMBOL_SIZE <= elf.symbols.offset + elf.symbols.size; at += SYMBOL_SIZE) {
    if ((view.getUint8(at + 4) & 0xf) !== FUNC) continue
    if (sections[view.getUint16(at + 6, isLittle)] !== section) continue
    const first = word(view, at + 8, isLittle)
    functions.push({ first, end: first + word(view, at + 16, isLittle) })
  }
  return functions
}

/** Reads the tables of an object; its bytes are not copied. Throws DamagedElf. */
export function readElf(bytes: Uint8Array): Elf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.byteLength < HEADER_SIZE || view.getUint32(0) !== MAGIC) throw new DamagedElf('is no ELF file')
  const isLittle = view.getUint8(5) === 1
  if (view.getUint8(4) !== CLASS_64 || view.getUint16(18, isLittle) !== BPF) throw new DamagedElf('is no BPF object')
  const sections = readSections(view, isLittle)
  const symbols = sections.find(({ type }) => type === SYMTAB)
  const names = symbols && sections[symbols.link]
  if (!symbols || !names) throw new DamagedElf('has no symbols')
  return { bytes, view, isLittle, sections, symbols, names }
}

/** The relocations of a section of type REL, in order. */
export function readRelocations({ view, isLittle }: Elf, { offset, size }: Section): Relocation[] {
  return Array.from({ length: Math.floor(size / RELOCATION_SIZE) }, (_, i) => {
    const at = offset + i * RELOCATION_SIZE
    return { place: word(view, at, isLittle), symbol: view.getUint32(isLittle ? at + 12 : at + 8, isLittle), at }
  })
}

/** Replaces the relocations of a section by fewer, and shrinks it. */
export function writeRelocations({ bytes, view, isLittle }: Elf, section: Section, kept: readonly Relocation[]): void {
  // Relocations only move toward the start: none is overwritten before it is copied.
  for (const [i, { at }] of kept.entries())
    bytes.copyWithin(section.offset + i * RELOCATION_SIZE, at, at + RELOCATION_SIZE)
  view.setBigUint64(section.header + SECTION_SIZE_AT, BigInt(kept.length * RELOCATION_SIZE), isLittle)
}
