// The entries of one file under one scope, collected in columns of numbers because a list file may have a million
// lines. Saves memory twice: a single address stores one bound, and a line number is stored as the distance from the
// line of the entry before it, mostly 1.

import type { Family, Ranges } from '../../model/address.ts'
import type { Entries } from '../../model/desired.ts'
import { normalize, normalizeAddresses, sameWords } from '../../model/ranges.ts'
import { wordsOf } from '../../model/text.ts'

/** Marks a distance of 65,535 lines or more, which is in `Steps.wide`. */
const WIDE = 0xffff

/** Line numbers of entries, each as the distance from the one before. */
export interface Steps {
  readonly steps: Uint16Array
  /** Distances that do not fit into 16 bits, by position. */
  readonly wide: ReadonlyMap<number, number>
}

const stepAt = ({ steps, wide }: Steps, at: number): number => {
  const step = steps[at] as number
  return step === WIDE ? (wide.get(at) as number) : step
}

/** Entries; adds up the line numbers on demand. */
export class EntryColumns implements Entries {
  readonly family: Family
  readonly length: number
  readonly start: Uint32Array
  readonly end: Uint32Array
  readonly steps: Steps
  #line: Uint32Array | undefined

  /** Pass `start` as `end` if all entries are single addresses. */
  constructor(family: Family, start: Uint32Array, end: Uint32Array, steps: Steps) {
    this.family = family
    this.length = steps.steps.length
    this.start = start
    this.end = end
    this.steps = steps
  }

  get line(): Uint32Array {
    this.#line ??= this.#count()
    return this.#line
  }

  #count(): Uint32Array {
    const line = new Uint32Array(this.length)
    for (let at = 0, last = 0; at < this.length; at++) {
      last += stepAt(this.steps, at)
      line[at] = last
    }
    return line
  }

  /** Line of one entry; 0 for a position before the first. */
  lineAt(position: number): number {
    let line = 0
    for (let at = 0; at <= position; at++) line += stepAt(this.steps, at)
    return line
  }
}

/** Collects entries of one family: their addresses in any order, their lines ascending. */
export class EntryCollector {
  readonly #family: Family
  #length = 0
  #lastLine = 0
  #start: Uint32Array
  /** undefined as long as all entries are single addresses, as in most large lists. */
  #end: Uint32Array | undefined
  #steps: Uint16Array
  readonly #wide = new Map<number, number>()

  /** `capacity`: the expected number of entries. */
  constructor(family: Family, capacity = 0) {
    this.#family = family
    this.#start = new Uint32Array(capacity * wordsOf(family))
    this.#steps = new Uint16Array(capacity)
  }

  get length(): number {
    return this.#length
  }

  #grow(needed: number): void {
    const capacity = Math.max(needed, this.#steps.length * 2, 16)
    const larger = <T extends Uint32Array | Uint16Array>(old: T, columns: T): T => {
      columns.set(old)
      return columns
    }
    const words = capacity * wordsOf(this.#family)
    this.#start = larger(this.#start, new Uint32Array(words))
    if (this.#end) this.#end = larger(this.#end, new Uint32Array(words))
    this.#steps = larger(this.#steps, new Uint16Array(capacity))
  }

  #addLine(line: number): void {
    const step = line - this.#lastLine
    this.#lastLine = line
    this.#steps[this.#length] = Math.min(step, WIDE)
    if (step >= WIDE) this.#wide.set(this.#length, step)
    this.#length++
  }

  /** Adds one entry; its bounds are the first words of `start` and `end`. */
  add(start: Uint32Array, end: Uint32Array, line: number): void {
    if (this.#length === this.#steps.length) this.#grow(0)
    const width = wordsOf(this.#family)
    const at = this.#length * width
    let isSingle = true
    for (let word = 0; word < width; word++) {
      this.#start[at + word] = start[word] as number
      isSingle &&= start[word] === end[word]
    }
    if (!isSingle) this.#end ??= this.#start.slice()
    if (this.#end) for (let word = 0; word < width; word++) this.#end[at + word] = end[word] as number
    this.#addLine(line)
  }

  /** Adds one IPv4 address. */
  addAddress(address: number, line: number): void {
    if (this.#length === this.#steps.length) this.#grow(0)
    this.#start[this.#length] = address
    if (this.#end) this.#end[this.#length] = address
    this.#addLine(line)
  }

  /** Adds entries `from` up to, but not including, `to` of other columns, and `lines` to their line numbers. */
  addFrom(others: EntryColumns, from: number, to: number, lines: number): void {
    if (from === to) return
    const [width, first] = [wordsOf(this.#family), this.#length]
    if (first + to - from > this.#steps.length) this.#grow(first + to - from)
    const start = others.start.subarray(from * width, to * width)
    const end = others.end.subarray(from * width, to * width)
    this.#start.set(start, first * width)
    if (others.end !== others.start && !sameWords(start, end)) this.#end ??= this.#start.slice()
    this.#end?.set(end, first * width)
    const line = others.lineAt(from) + lines
    this.#addLine(line)
    this.#steps.set(others.steps.steps.subarray(from + 1, to), first + 1)
    for (const [at, step] of others.steps.wide) if (at > from && at < to) this.#wide.set(first + at - from, step)
    this.#length = first + to - from
    this.#lastLine = others.lineAt(to - 1) + lines
  }

  /** The entries so far, in insertion order. */
  get entries(): EntryColumns {
    const words = this.#length * wordsOf(this.#family)
    const start = this.#start.subarray(0, words)
    const steps = { steps: this.#steps.subarray(0, this.#length), wide: this.#wide }
    return new EntryColumns(this.#family, start, this.#end?.subarray(0, words) ?? start, steps)
  }

  /** The addresses of all entries in canonical form. */
  get ranges(): Ranges {
    const { start, end } = this.entries
    return start === end && this.#family === 4 ? normalizeAddresses(start) : normalize(this.#family, start, end)
  }
}
