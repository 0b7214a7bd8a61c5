// The entries of one list as they are collected: columns of numbers, because a list file may have a million lines.

import type { Family } from '../model/address.ts'
import type { Entries } from '../model/desired.ts'
import { wordsOf } from '../model/text.ts'

/** Collects entries of one family in any order. `start` and `end` are as in Entries. */
export class EntryCollector {
  readonly #family: Family
  #length = 0
  #start: Uint32Array
  #end: Uint32Array
  #file: Uint16Array
  #line: Uint32Array
  #set: Uint16Array

  constructor(family: Family) {
    this.#family = family
    this.#start = new Uint32Array(0)
    this.#end = new Uint32Array(0)
    this.#file = new Uint16Array(0)
    this.#line = new Uint32Array(0)
    this.#set = new Uint16Array(0)
  }

  get length(): number {
    return this.#length
  }

  /** Makes room for `count` more entries. */
  reserve(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#line.length) return
    const capacity = Math.max(needed, this.#line.length * 2, 16)
    const width = wordsOf(this.#family)
    const grow = <T extends Uint16Array | Uint32Array>(old: T, larger: T): T => {
      larger.set(old)
      return larger
    }
    this.#start = grow(this.#start, new Uint32Array(capacity * width))
    this.#end = grow(this.#end, new Uint32Array(capacity * width))
    this.#file = grow(this.#file, new Uint16Array(capacity))
    this.#line = grow(this.#line, new Uint32Array(capacity))
    this.#set = grow(this.#set, new Uint16Array(capacity))
  }

  /** Adds one entry; its bounds are the first words of `start` and `end`. */
  add(start: Uint32Array, end: Uint32Array, file: number, line: number, set: number): void {
    const index = this.#length
    if (index === this.#line.length) this.reserve(1)
    if (this.#family === 4) {
      this.#start[index] = start[0] as number
      this.#end[index] = end[0] as number
    } else {
      for (let word = 0; word < 4; word++) {
        this.#start[index * 4 + word] = start[word] as number
        this.#end[index * 4 + word] = end[word] as number
      }
    }
    this.#file[index] = file
    this.#line[index] = line
    this.#set[index] = set
    this.#length++
  }

  /** Adds one IPv4 address. */
  addAddress(address: number, file: number, line: number, set: number): void {
    const index = this.#length
    if (index === this.#line.length) this.reserve(1)
    this.#start[index] = address
    this.#end[index] = address
    this.#file[index] = file
    this.#line[index] = line
    this.#set[index] = set
    this.#length++
  }

  /** The entries sorted by first address, then last, then as added; `sets[i]` is the final index of set `i`. */
  finish(sets: readonly number[]): Entries {
    const length = this.#length
    const width = wordsOf(this.#family)
    const start = this.#start.subarray(0, length * width)
    const end = this.#end.subarray(0, length * width)
    const order = sortedOrder(start, end, length, width)
    const set = gather(this.#set.subarray(0, length), order, 1)
    if (sets.length > 1) for (let index = 0; index < length; index++) set[index] = sets[set[index] as number] as number
    return {
      family: this.#family,
      length,
      start: gather(start, order, width),
      end: gather(end, order, width),
      file: gather(this.#file.subarray(0, length), order, 1),
      line: gather(this.#line.subarray(0, length), order, 1),
      set,
    }
  }
}

/** Whether all values of a column are the same, as the file and set of a list of one file are. */
function isConstant(column: Uint16Array | Uint32Array): boolean {
  for (let index = 1; index < column.length; index++) if (column[index] !== column[0]) return false
  return true
}

/** A column in another order. */
function gather<T extends Uint16Array | Uint32Array>(column: T, order: Uint32Array, width: number): T {
  const gathered = column.slice() as T
  if (isConstant(column)) return gathered
  for (let to = 0; to < order.length; to++) {
    const from = order[to] as number
    if (width === 1) gathered[to] = column[from] as number
    else for (let word = 0; word < width; word++) gathered[to * width + word] = column[from * width + word] as number
  }
  return gathered
}

/** Below this many entries the setup of a radix pass costs more than it saves. */
const RADIX_FROM = 4096

/** Indexes in ascending order of start, then end; equal entries keep their order. */
function sortedOrder(start: Uint32Array, end: Uint32Array, length: number, width: number): Uint32Array {
  let order = new Uint32Array(length)
  for (let index = 0; index < length; index++) order[index] = index
  if (isSorted(start, end, length, width)) return order
  if (length < RADIX_FROM) {
    return order.sort(
      (left, right) => compare(start, left, right, width) || compare(end, left, right, width) || left - right,
    )
  }
  let spare = new Uint32Array(length)
  for (let word = width - 1; word >= 0; word--) {
    for (const shift of [0, 16]) {
      if (radixPass(start, word, width, shift, order, spare)) [order, spare] = [spare, order]
    }
  }
  sortRuns(order, start, end, width)
  return order
}

/** Sorts the runs of entries that begin at the same address by last address, then as added. */
function sortRuns(order: Uint32Array, start: Uint32Array, end: Uint32Array, width: number): void {
  const comparison = (left: number, right: number): number => compare(end, left, right, width) || left - right
  for (let from = 0; from < order.length; ) {
    let to = from + 1
    while (to < order.length && compare(start, order[from] as number, order[to] as number, width) === 0) to++
    if (to - from > 1) order.subarray(from, to).sort(comparison)
    from = to
  }
}

/** Compares two bounds of one column. */
function compare(column: Uint32Array, left: number, right: number, width: number): number {
  for (let word = 0; word < width; word++) {
    const difference = (column[left * width + word] as number) - (column[right * width + word] as number)
    if (difference !== 0) return difference
  }
  return 0
}

function isSorted(start: Uint32Array, end: Uint32Array, length: number, width: number): boolean {
  for (let index = 1; index < length; index++) {
    if ((compare(start, index - 1, index, width) || compare(end, index - 1, index, width)) > 0) return false
  }
  return true
}

const counts = new Uint32Array(65_536)

/**
 * One stable counting pass by 16 bits of a word, from `order` into `sorted`. False, and nothing done, if all entries
 * have the same bits there, as most words of IPv6 addresses of one network do.
 */
function radixPass(
  column: Uint32Array,
  word: number,
  width: number,
  shift: number,
  order: Uint32Array,
  sorted: Uint32Array,
): boolean {
  const length = order.length
  counts.fill(0)
  for (let index = 0; index < length; index++) {
    const digit = ((column[index * width + word] as number) >>> shift) & 0xffff
    counts[digit] = (counts[digit] as number) + 1
  }
  if (counts[((column[word] as number) >>> shift) & 0xffff] === length) return false
  let total = 0
  for (let digit = 0; digit < 65_536; digit++) {
    const count = counts[digit] as number
    counts[digit] = total
    total += count
  }
  for (let index = 0; index < length; index++) {
    const entry = order[index] as number
    const digit = ((column[entry * width + word] as number) >>> shift) & 0xffff
    const to = counts[digit] as number
    sorted[to] = entry
    counts[digit] = to + 1
  }
  return true
}
