// The helpers of the kernel that a BPF object calls.

import {
  type Elf,
  functionsIn,
  type Range,
  REL,
  readElf,
  readRelocations,
  type Section,
  sectionNames,
} from '../../src/kernel/tools/elf.ts'

// linux/bpf.h
const CALL = 0x85
const LOAD_CONSTANT = 0x18
const OWN_FUNCTION = 1
const INSTRUCTION = 8
const SYMBOL = 24

/** A call, or the address of a function: from an instruction of a section to an offset in `.text`. */
interface Found {
  readonly helpers: number[]
  readonly targets: number[]
}

/** The helpers and the functions that a function calls. */
function callsIn(elf: Elf, section: Section, { first, end }: Range, text: Section | undefined): Found {
  const { view, isLittle, symbols, sections } = elf
  const own = sections.find(({ type, info }) => type === REL && sections[info] === section)
  const needs = new Map((own ? readRelocations(elf, own) : []).map(({ place, symbol }) => [place, symbol]))
  const helpers: number[] = []
  const targets: number[] = []
  for (let place = first; place < end; place += INSTRUCTION) {
    const at = section.offset + place
    const [code, source, immediate] = [
      view.getUint8(at),
      view.getUint8(at + 1) >>> 4,
      view.getInt32(at + 4, isLittle),
    ] as const
    const symbol = needs.has(place) ? symbols.offset + (needs.get(place) as number) * SYMBOL : undefined
    const address = symbol === undefined ? place + INSTRUCTION : Number(view.getBigUint64(symbol + 8, isLittle))
    if (code === CALL && source === 0) helpers.push(immediate)
    if (code === CALL && source === OWN_FUNCTION) {
      // A relocation has the address of the next instruction in it.
      targets.push(address + (immediate + (symbol === undefined ? 0 : 1)) * INSTRUCTION)
    }
    const isPointer = symbol !== undefined && sections[view.getUint16(symbol + 6, isLittle)] === text
    if (code === LOAD_CONSTANT && isPointer) targets.push(address + immediate)
  }
  return { helpers, targets }
}

/** Numbers of the helpers that the reachable functions of an object call. */
export function helpersOf(object: Uint8Array): Set<number> {
  const elf = readElf(object)
  const text = sectionNames(elf).get('.text')
  const functions = text ? functionsIn(elf, text) : []
  const entries = elf.sections.filter((section) => section.isCode && section !== text)
  const open = entries.flatMap((section) => functionsIn(elf, section).map((range) => ({ section, range })))
  const helpers = new Set<number>()
  const seen = new Set<number>()
  for (let next = open.pop(); next; next = open.pop()) {
    const found = callsIn(elf, next.section, next.range, text)
    for (const number of found.helpers) helpers.add(number)
    for (const target of found.targets) {
      const range = functions.find(({ first }) => first === target)
      if (!text || !range || seen.has(target)) continue
      seen.add(target)
      open.push({ section: text, range })
    }
  }
  return helpers
}
