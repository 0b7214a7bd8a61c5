// BPF objects of a few instructions, in either byte order, and what stands in one.

/** One instruction: operation code, destination and source register, offset, constant. */
export type Instruction = readonly [code: number, to?: number, from?: number, offset?: number, constant?: number]

export interface ObjectSymbol {
  readonly name: string
  /** A function of the code section, from an instruction on; else something elsewhere. */
  readonly from?: number
  readonly instructions?: number
}

export interface Source {
  readonly code: readonly Instruction[]
  readonly symbols: readonly ObjectSymbol[]
  /** Index of an instruction, and the name of the symbol that it needs. */
  readonly relocations: readonly (readonly [at: number, name: string])[]
}

const CODE = 1
const [PROGBITS, SYMTAB, STRTAB, REL] = [1, 2, 3, 9]
const EXECINSTR = 4
const [FUNC, OBJECT] = [2, 1]

function codeBytes(code: readonly Instruction[], isLittle: boolean): Uint8Array {
  const bytes = new Uint8Array(code.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [i, [operation, to = 0, from = 0, offset = 0, constant = 0]] of code.entries()) {
    view.setUint8(i * 8, operation)
    view.setUint8(i * 8 + 1, isLittle ? to | (from << 4) : (to << 4) | from)
    view.setInt16(i * 8 + 2, offset, isLittle)
    view.setInt32(i * 8 + 4, constant, isLittle)
  }
  return bytes
}

function relocationBytes({ relocations, symbols }: Source, isLittle: boolean): Uint8Array {
  const bytes = new Uint8Array(relocations.length * 16)
  const view = new DataView(bytes.buffer)
  for (const [i, [at, wanted]] of relocations.entries()) {
    const symbol = symbols.findIndex(({ name }) => name === wanted)
    view.setBigUint64(i * 16, BigInt(at * 8), isLittle)
    view.setBigUint64(i * 16 + 8, (BigInt(symbol) << 32n) | 1n, isLittle)
  }
  return bytes
}

function symbolBytes(symbols: readonly ObjectSymbol[], isLittle: boolean): readonly [Uint8Array, Uint8Array] {
  const bytes = new Uint8Array(symbols.length * 24)
  const view = new DataView(bytes.buffer)
  let names = '\0'
  for (const [i, { name, from, instructions = 0 }] of symbols.entries()) {
    view.setUint32(i * 24, names.length, isLittle)
    names += `${name}\0`
    view.setUint8(i * 24 + 4, from === undefined ? OBJECT : FUNC)
    view.setUint16(i * 24 + 6, from === undefined ? 0 : CODE, isLittle)
    view.setBigUint64(i * 24 + 8, BigInt((from ?? 0) * 8), isLittle)
    view.setBigUint64(i * 24 + 16, BigInt(instructions * 8), isLittle)
  }
  return [bytes, Buffer.from(names)]
}

/** Puts an object together: headers of sections come last, as compilers write them. */
export function makeObject(source: Source, isLittle: boolean): Uint8Array {
  const [symbols, names] = symbolBytes(source.symbols, isLittle)
  const sections = [
    { type: 0, flags: 0, content: new Uint8Array(), link: 0, info: 0 },
    { type: PROGBITS, flags: EXECINSTR, content: codeBytes(source.code, isLittle), link: 0, info: 0 },
    { type: REL, flags: 0, content: relocationBytes(source, isLittle), link: 3, info: CODE },
    { type: SYMTAB, flags: 0, content: symbols, link: 4, info: 0 },
    { type: STRTAB, flags: 0, content: names, link: 0, info: 0 },
  ] as const
  const offsets: number[] = []
  let end = 64
  for (const { content } of sections) {
    offsets.push(end)
    end += content.length + (-content.length & 7)
  }
  const bytes = new Uint8Array(end + sections.length * 64)
  const view = new DataView(bytes.buffer)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, isLittle ? 1 : 2, 1])
  view.setUint16(18, 247, isLittle)
  view.setBigUint64(40, BigInt(end), isLittle)
  view.setUint16(60, sections.length, isLittle)
  for (const [i, { type, flags, content, link, info }] of sections.entries()) {
    bytes.set(content, offsets[i])
    const header = end + i * 64
    view.setUint32(header + 4, type, isLittle)
    view.setBigUint64(header + 8, BigInt(flags), isLittle)
    view.setBigUint64(header + 24, BigInt(offsets[i] as number), isLittle)
    view.setBigUint64(header + 32, BigInt(content.length), isLittle)
    view.setUint32(header + 40, link, isLittle)
    view.setUint32(header + 44, info, isLittle)
  }
  return bytes
}
