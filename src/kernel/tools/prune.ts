// Takes optional parts out of a BPF object; bpf/include/parts.h has the other half. Pure.
//
// Every PART() of the program becomes a constant. With that alone the verifier skips the unreachable code, but libbpf
// follows relocations: it would add the functions called there, which older kernels (such as 6.1) verify even if they are
// unreachable, and the maps used there, which then live as long as the program. So unreachable code loses its calls and
// relocations. No instruction moves, so that line and function information stays valid.

import {
  DamagedElf,
  type Elf,
  functionsIn,
  neededBy,
  REL,
  type Relocation,
  readElf,
  readRelocations,
  type Section,
  writeRelocations,
} from './elf.ts'

const PREFIX = 'part_'
const INSTRUCTION = 8

// linux/bpf.h, and Documentation/bpf/standardization/instruction-set.rst
const LOAD_CONSTANT = 0x18
const LOAD_WORD = 0x61
const GOTO = 0x05
const GOTO_LONG = 0x06
const IF_ZERO = 0x15
const CALL = 0x85
const EXIT = 0x95
const SET = 0xb7
const JUMP_CLASSES: readonly number[] = [5, 6]

/** The instructions of a section, by index. */
interface Code {
  readonly view: DataView
  readonly isLittle: boolean
  readonly end: number
}

const codeOf = ({ view, isLittle }: Elf, { offset, size }: Section): Code => ({
  view: new DataView(view.buffer, view.byteOffset + offset, size),
  isLittle,
  end: Math.floor(size / INSTRUCTION),
})

const operation = ({ view }: Code, index: number): number => view.getUint8(index * INSTRUCTION)
const offset = ({ view, isLittle }: Code, index: number): number => view.getInt16(index * INSTRUCTION + 2, isLittle)
const immediate = ({ view, isLittle }: Code, index: number): number => view.getInt32(index * INSTRUCTION + 4, isLittle)

/** Whether a call is to a kernel helper, which needs no relocation. */
const callsHelper = ({ view, isLittle }: Code, index: number): boolean => {
  const registers = view.getUint8(index * INSTRUCTION + 1)
  return (isLittle ? registers >>> 4 : registers & 0xf) === 0
}

/** Writes an instruction that uses no register but r0. */
function put({ view, isLittle }: Code, index: number, code: number, constant = 0): void {
  view.setBigUint64(index * INSTRUCTION, 0n)
  view.setUint8(index * INSTRUCTION, code)
  view.setInt32(index * INSTRUCTION + 4, constant, isLittle)
}

/** A 64-bit constant takes two instructions. */
function putConstant(code: Code, index: number, constant: number): void {
  put(code, index, LOAD_CONSTANT, constant)
  put(code, index + 1, 0)
}

/** Indices of the instructions that may follow one. */
function successors(code: Code, index: number): number[] {
  const what = operation(code, index)
  if (what === LOAD_CONSTANT) return [index + 2]
  if (what === EXIT) return []
  if (what === GOTO) return [index + 1 + offset(code, index)]
  if (what === GOTO_LONG) return [index + 1 + immediate(code, index)]
  if (!JUMP_CLASSES.includes(what & 7) || what === CALL) return [index + 1]
  return [index + 1, index + 1 + offset(code, index)]
}

/** 1 for every reachable instruction of a function. `answers`: the values of its PART()s, by instruction. */
function reached(code: Code, first: number, end: number, answers: ReadonlyMap<number, boolean>): Uint8Array {
  const seen = new Uint8Array(Math.ceil(end - first))
  const waiting = [first]
  for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
    if (index < first || index >= end) throw new DamagedElf('has a function that leads out of itself')
    if (seen[index - first] === 1) continue
    seen[index - first] = 1
    const answer = answers.get(index)
    if (answer === undefined) waiting.push(...successors(code, index))
    else waiting.push(index + 4 + (answer ? 0 : offset(code, index + 3)))
  }
  return seen
}

/** Whether an instruction is the start of a PART(): load of the address (two instructions), load of the value, jump. */
const asks = (code: Code, index: number): boolean =>
  Number.isInteger(index) &&
  index + 3 < code.end &&
  operation(code, index) === LOAD_CONSTANT &&
  operation(code, index + 2) === LOAD_WORD &&
  operation(code, index + 3) === IF_ZERO

/** A PART() in the code. */
interface Asking {
  readonly place: number
  readonly part: string
}

const askingOf = (elf: Elf, relocations: readonly Relocation[]): Asking[] =>
  relocations.flatMap((relocation) => {
    const name = neededBy(elf, relocation)
    return name.startsWith(PREFIX) ? [{ place: relocation.place, part: name.slice(PREFIX.length) }] : []
  })

/** Replaces every PART() by its value. Returns the values by instruction. */
function answer(code: Code, asking: readonly Asking[], parts: ReadonlyMap<string, boolean>): Map<number, boolean> {
  const answers = new Map<number, boolean>()
  for (const { place, part } of asking) {
    const has = parts.get(part)
    if (has === undefined)
      throw new DamagedElf(`has the part ${part}, which no record in src/features names under parts`)
    const index = place / INSTRUCTION
    if (!asks(code, index)) throw new DamagedElf(`does not ask for its part ${part} as PART does`)
    putConstant(code, index, has ? 1 : 0)
    // A jump to the next instruction replaces the load.
    put(code, index + 2, GOTO)
    answers.set(index, has)
  }
  return answers
}

/** Unreachable instructions of functions with a PART(). */
function neverReached(elf: Elf, target: Section, code: Code, answers: ReadonlyMap<number, boolean>): number[] {
  const never: number[] = []
  const places = [...answers.keys()]
  for (const range of functionsIn(elf, target)) {
    const [first, end] = [range.first / INSTRUCTION, range.end / INSTRUCTION]
    if (!Number.isInteger(first) || end > code.end) throw new DamagedElf('has a function outside of its section')
    if (!places.some((index) => index >= first && index < end)) continue
    const seen = reached(code, first, end, answers)
    for (let index = first; index < end; index++) if (seen[index - first] === 0) never.push(index)
  }
  return never
}

/** Removes calls and relocations from instructions. Returns the places that lost theirs. */
function cut(code: Code, never: readonly number[], relocations: readonly Relocation[]): Set<number> {
  const relocated = new Set(relocations.map(({ place }) => place))
  const places = new Set<number>()
  for (const index of never) {
    const place = index * INSTRUCTION
    const isRelocated = relocated.has(place)
    if (operation(code, index) === CALL && (isRelocated || !callsHelper(code, index))) put(code, index, SET)
    else if (operation(code, index) === LOAD_CONSTANT && isRelocated) putConstant(code, index, 0)
    else continue
    places.add(place)
  }
  return places
}

/**
 * A copy of an object without unwanted parts. `parts`: every known part, and whether it is wanted; an object may lack
 * some. Throws DamagedElf, also if the object has an unknown part.
 */
export function prune(object: Uint8Array, parts: ReadonlyMap<string, boolean>): Uint8Array {
  const elf = readElf(new Uint8Array(object))
  for (const section of elf.sections) {
    const target = section.type === REL ? elf.sections[section.info] : undefined
    if (!target?.isCode) continue
    const relocations = readRelocations(elf, section)
    const asking = askingOf(elf, relocations)
    if (asking.length === 0) continue
    const code = codeOf(elf, target)
    const never = neverReached(elf, target, code, answer(code, asking, parts))
    const gone = cut(code, never, relocations)
    for (const { place } of asking) gone.add(place)
    writeRelocations(
      elf,
      section,
      relocations.filter(({ place }) => !gone.has(place)),
    )
  }
  return elf.bytes
}
