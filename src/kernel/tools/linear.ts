// Separates one program from a BPF object, as one for packets in a single buffer. The kernel tail-calls only between
// programs that agree in whether they are xdp.frags, so a filter with such a program behind it must not be. libbpf takes
// the kind of a program from the name of its section. Pure.

import { codeAt, DamagedElf, type Elf, hideFunction, nameAt, readElf, sectionNames, symbolsOf } from './elf.ts'

const FRAGS = 'xdp.frags'
const LINEAR = 'xdp'

/** Offset of a NUL-terminated text in a range of bytes; also as the end of a longer text. Throws DamagedElf. */
function placeOf(bytes: Uint8Array, first: number, size: number, text: string): number {
  const at = Buffer.from(bytes.buffer, bytes.byteOffset + first, size).indexOf(`${text}\0`, 0, 'latin1')
  if (at < 0) throw new DamagedElf(`has no text ${text}`)
  return first + at
}

/** Ends the name of the section behind `xdp`, in ELF and in BTF, which refers to sections by their names. */
function renameSection(elf: Elf): void {
  const { bytes, names } = elf
  const btf = sectionNames(elf).get('.BTF')
  if (!btf) throw new DamagedElf('has no BTF')
  for (const { offset, size } of [names, btf]) bytes[placeOf(bytes, offset, size, FRAGS) + LINEAR.length] = 0
}

/** Hides programs from libbpf, which takes every function outside of the section of common ones for a program. */
function hide(elf: Elf, isHidden: (name: string) => boolean): void {
  const common = sectionNames(elf).get('.text')
  for (const at of symbolsOf(elf)) {
    const section = codeAt(elf, at)
    if (section?.isCode && section !== common && isHidden(nameAt(elf, at))) hideFunction(elf, at)
  }
}

/** Two objects: the one without the program, and one that has only this program, for packets in one buffer. */
export function separateLinear(object: Uint8Array, program: string): readonly [Uint8Array, Uint8Array] {
  const [rest, linear] = [readElf(new Uint8Array(object)), readElf(new Uint8Array(object))]
  hide(rest, (name) => name === program)
  hide(linear, (name) => name !== program)
  renameSection(linear)
  return [rest.bytes, linear.bytes]
}
