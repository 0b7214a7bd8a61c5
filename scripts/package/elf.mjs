// Puts a blob into an ELF executable as a note, which Node finds among the notes of its program (postject's format).
//
// A note needs a program header that maps it. There is room for one more header if the path of the interpreter, which
// follows the headers, moves behind the end of the file too. Headers themselves stay where they are, so that every loader,
// qemu's included, finds them.
import { ScriptError } from '../lib/run.mjs'

const [PT_LOAD, PT_INTERP, PT_NOTE, PT_PHDR] = [1, 3, 4, 6]
const READABLE = 4
const HEADER = 56
/** The largest page of arm64. */
const PAGE = 0x10000

const roundUp = (value, unit) => Math.ceil(value / unit) * unit

/** A program header (elf(5), Elf64_Phdr) as numbers. */
function readHeader(view, at) {
  const [type, flags] = [view.getUint32(at, true), view.getUint32(at + 4, true)]
  const [offset, address, , size, memory, align] = [8, 16, 24, 32, 40, 48].map((field) =>
    Number(view.getBigUint64(at + field, true)),
  )
  return { at, type, flags, offset, address, size, memory, align }
}

function writeHeader(view, at, { type, flags, offset, address, size, memory, align }) {
  view.setUint32(at, type, true)
  view.setUint32(at + 4, flags, true)
  const values = [offset, address, address, size, memory, align]
  for (const [i, value] of values.entries()) view.setBigUint64(at + 8 + 8 * i, BigInt(value), true)
}

/** A note without a type: its name is how Node finds it. */
function noteOf(name, blob) {
  const words = Buffer.from(`${name}\0`)
  const head = Buffer.alloc(12)
  head.writeUInt32LE(words.length, 0)
  head.writeUInt32LE(blob.length, 4)
  const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc(roundUp(bytes.length, 4) - bytes.length)])
  return Buffer.concat([head, padded(words), padded(blob)])
}

/** The executable with a note of this name and content. Throws ScriptError if it has no room for the header. */
export function withNote(executable, name, blob) {
  const view = new DataView(executable.buffer, executable.byteOffset, executable.length)
  const [table, count] = [Number(view.getBigUint64(32, true)), view.getUint16(56, true)]
  const headers = Array.from({ length: count }, (_, i) => readHeader(view, table + i * HEADER))
  const one = (type) => {
    const [found, ...others] = headers.filter((header) => header.type === type)
    if (found === undefined || others.length > 0) throw new ScriptError(`the Node has no single header of type ${type}`)
    return found
  }
  const [interpreter, note, self] = [one(PT_INTERP), one(PT_NOTE), one(PT_PHDR)]
  const end = table + count * HEADER
  const isFree = [interpreter, note].every(({ offset }) => offset >= end && offset < end + HEADER)
  const others = headers.filter(({ offset, type }) => offset > interpreter.offset && ![PT_NOTE].includes(type))
  if (!isFree || others.some(({ offset }) => offset < end + HEADER)) {
    throw new ScriptError('the Node has no room for another program header')
  }
  const offset = roundUp(executable.length, PAGE)
  const highest = Math.max(...headers.filter(({ type }) => type === PT_LOAD).map((one) => one.address + one.memory))
  const address = roundUp(highest, PAGE)
  const path = executable.subarray(interpreter.offset, interpreter.offset + interpreter.size)
  const before = Buffer.concat([path, Buffer.alloc(roundUp(path.length, 8) - path.length)])
  const content = Buffer.concat([before, noteOf(name, blob)])
  const moved = (header, shift, size, align) => ({
    ...{ ...header, offset: offset + shift, address: address + shift },
    ...{ size, memory: size, align },
  })
  const made = Buffer.concat([executable, Buffer.alloc(offset - executable.length), content])
  const target = new DataView(made.buffer, made.byteOffset, made.length)
  writeHeader(target, interpreter.at, moved(interpreter, 0, path.length, 1))
  writeHeader(target, note.at, moved(note, before.length, content.length - before.length, 4))
  writeHeader(target, self.at, { ...self, size: self.size + HEADER, memory: self.memory + HEADER })
  const load = { type: PT_LOAD, flags: READABLE, offset, address, align: PAGE }
  writeHeader(target, end, { ...load, size: content.length, memory: content.length })
  target.setUint16(56, count + 1, true)
  return made
}
