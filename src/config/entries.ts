// The entries of one file under one scope as they are collected: columns of numbers, because a list file may have a
// million lines.

import type { Family, Ranges } from '../model/address.ts'
import type { Entries } from '../model/desired.ts'
import { normalize, normalizeAddresses, sameWords } from '../model/ranges.ts'
import { wordsOf } from '../model/text.ts'

/** Collects entries of one family in any order. */
export class EntryCollector {
  readonly #family: Family
  #length = 0
  /** Whether all of them are single IPv4 addresses, which are most of a large list and sort quickly. */
  #isSingle: boolean
  #start: Uint32Array
  #end: Uint32Array
  #line: Uint32Array

  /** `capacity`: how many entries to expect. */
  constructor(family: Family, capacity = 0) {
    this.#family = family
    this.#isSingle = family === 4
    this.#start = new Uint32Array(capacity * wordsOf(family))
    this.#end = new Uint32Array(capacity * wordsOf(family))
    this.#line = new Uint32Array(capacity)
  }

  get length(): number {
    return this.#length
  }

  #grow(): void {
    const capacity = Math.max(this.#line.length * 2, 16)
    const width = wordsOf(this.#family)
    const larger = (old: Uint32Array, size: number): Uint32Array => {
      const columns = new Uint32Array(size)
      columns.set(old)
      return columns
    }
    this.#start = larger(this.#start, capacity * width)
    this.#end = larger(this.#end, capacity * width)
    this.#line = larger(this.#line, capacity)
  }

  /** Adds one entry; its bounds are the first words of `start` and `end`. */
  add(start: Uint32Array, end: Uint32Array, line: number): void {
    const index = this.#length
    if (index === this.#line.length) this.#grow()
    if (this.#family === 4) {
      this.#start[index] = start[0] as number
      this.#end[index] = end[0] as number
      if (start[0] !== end[0]) this.#isSingle = false
    } else {
      for (let word = 0; word < 4; word++) {
        this.#start[index * 4 + word] = start[word] as number
        this.#end[index * 4 + word] = end[word] as number
      }
    }
    this.#line[index] = line
    this.#length++
  }

  /** Adds one IPv4 address. */
  addAddress(address: number, line: number): void {
    const index = this.#length
    if (index === this.#line.length) this.#grow()
    this.#start[index] = address
    this.#end[index] = address
    this.#line[index] = line
    this.#length++
  }

  /** Adds entries from position `from` to before `to` of others, with lines moved by `lines`. */
  addFrom({ start, end, line }: Entries, from: number, to: number, lines: number): void {
    const width = wordsOf(this.#family)
    while (this.#length + to - from > this.#line.length) this.#grow()
    const [starts, ends] = [start.subarray(from * width, to * width), end.subarray(from * width, to * width)]
    this.#start.set(starts, this.#length * width)
    this.#end.set(ends, this.#length * width)
    if (this.#isSingle) this.#isSingle = sameWords(starts, ends)
    if (lines === 0) this.#line.set(line.subarray(from, to), this.#length)
    else for (let at = from; at < to; at++) this.#line[this.#length + at - from] = (line[at] as number) + lines
    this.#length += to - from
  }

  /** The entries so far, in the order in which they were added. */
  get entries(): Entries {
    const words = this.#length * wordsOf(this.#family)
    return {
      family: this.#family,
      length: this.#length,
      start: this.#start.subarray(0, words),
      end: this.#end.subarray(0, words),
      line: this.#line.subarray(0, this.#length),
    }
  }

  /** Their addresses in canonical form. */
  get ranges(): Ranges {
    const { start, end } = this.entries
    return this.#isSingle ? normalizeAddresses(start) : normalize(this.#family, start, end)
  }
}
