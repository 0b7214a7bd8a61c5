// Set arithmetic over Ranges. All functions work on words of typed arrays and allocate per call, not per range, because
// a list may hold a million of them. They know no text, tables or lists.

import type { AddressSet, Family, Ranges } from './address.ts'

/** Words per bound. */
export const WIDTH = { 4: 1, 6: 4 } as const

const NONE = new Uint32Array(0)

export const EMPTY4: Ranges = { family: 4, length: 0, start: NONE, end: NONE }
export const EMPTY6: Ranges = { family: 6, length: 0, start: NONE, end: NONE }
export const EMPTY_SET: AddressSet = { v4: EMPTY4, v6: EMPTY6 }

/** Sign of the bound at word `i` of `a` minus the bound at word `j` of `b`, each `width` words. */
export function compareBounds(a: Uint32Array, i: number, b: Uint32Array, j: number, width: number): -1 | 0 | 1 {
  for (let word = 0; word < width; word++) {
    const left = a[i + word] as number
    const right = b[j + word] as number
    if (left !== right) return left < right ? -1 : 1
  }
  return 0
}

/** Whether the bound at word `i` of `a` is the successor of the bound at word `j` of `b`. */
function isNext(a: Uint32Array, i: number, b: Uint32Array, j: number, width: number): boolean {
  let carry = 1
  for (let word = width - 1; word >= 0; word--) {
    const sum = (b[j + word] as number) + carry
    if (sum >>> 0 !== a[i + word]) return false
    carry = sum > 0xffffffff ? 1 : 0
  }
  return carry === 0
}

/** Writes the bound at word `j` of `b` plus `delta` (1 or -1) to word `i` of `a`, wrapping. */
function step(a: Uint32Array, i: number, b: Uint32Array, j: number, width: number, delta: 1 | -1): void {
  let carry: number = delta
  for (let word = width - 1; word >= 0; word--) {
    const sum = (b[j + word] as number) + carry
    a[i + word] = sum
    carry = sum > 0xffffffff ? 1 : sum < 0 ? -1 : 0
  }
}

/** Collects ranges in ascending order of first address and joins those that overlap or touch. */
export class RangesBuilder {
  readonly #family: Family
  readonly #width: number
  #length = 0
  #start: Uint32Array
  #end: Uint32Array

  constructor(family: Family, capacity = 16) {
    this.#family = family
    this.#width = WIDTH[family]
    this.#start = new Uint32Array(capacity * this.#width)
    this.#end = new Uint32Array(capacity * this.#width)
  }

  /**
   * Adds the range from the bound at word `i` of `start` to the one at word `j` of `end`. It must not start before the
   * last one.
   */
  add(start: Uint32Array, i: number, end: Uint32Array, j: number): void {
    const width = this.#width
    const last = (this.#length - 1) * width
    if (
      last >= 0 &&
      (compareBounds(start, i, this.#end, last, width) <= 0 || isNext(start, i, this.#end, last, width))
    ) {
      if (compareBounds(end, j, this.#end, last, width) > 0) copyBound(this.#end, last, end, j, width)
      return
    }
    const at = last + width
    if (at === this.#start.length) this.#grow()
    copyBound(this.#start, at, start, i, width)
    copyBound(this.#end, at, end, j, width)
    this.#length++
  }

  #grow(): void {
    const size = Math.max(16 * this.#width, this.#start.length * 2)
    const start = new Uint32Array(size)
    const end = new Uint32Array(size)
    start.set(this.#start)
    end.set(this.#end)
    this.#start = start
    this.#end = end
  }

  /** Returns the ranges in arrays of exactly their size. The builder must not be used afterwards. */
  finish(): Ranges {
    const words = this.#length * this.#width
    const exact = (array: Uint32Array): Uint32Array => (array.length === words ? array : array.slice(0, words))
    return { family: this.#family, length: this.#length, start: exact(this.#start), end: exact(this.#end) }
  }
}

function copyBound(target: Uint32Array, i: number, source: Uint32Array, j: number, width: number): void {
  for (let word = 0; word < width; word++) target[i + word] = source[j + word] as number
}

const DIGIT_BITS = 11
const DIGITS = 1 << DIGIT_BITS

/**
 * Positions of the bounds in ascending order. A radix sort by 11 bits at a time, because a comparison sort of a million
 * positions takes ten times as long; digits that all bounds share (most digits, in a list from one part of the space)
 * are skipped.
 */
export function sortedOrder(bounds: Uint32Array, width: number): Uint32Array {
  const length = bounds.length / width
  let order = new Uint32Array(length)
  for (let i = 0; i < length; i++) order[i] = i
  let target = new Uint32Array(length)
  const counts = new Uint32Array(DIGITS)
  for (let word = width - 1; word >= 0; word--) {
    for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
      counts.fill(0)
      for (let i = word; i < bounds.length; i += width) {
        const digit = ((bounds[i] as number) >>> shift) & (DIGITS - 1)
        counts[digit] = (counts[digit] as number) + 1
      }
      if (counts.includes(length)) continue
      let position = 0
      for (let digit = 0; digit < DIGITS; digit++) {
        const count = counts[digit] as number
        counts[digit] = position
        position += count
      }
      for (let i = 0; i < length; i++) {
        const from = order[i] as number
        const digit = ((bounds[from * width + word] as number) >>> shift) & (DIGITS - 1)
        const to = counts[digit] as number
        counts[digit] = to + 1
        target[to] = from
      }
      ;[order, target] = [target, order]
    }
  }
  return order
}

/** Sorts single words, as sortedOrder does, without the indirection through positions. */
function sortedWords(words: Uint32Array): Uint32Array {
  if (isSorted(words, 1)) return words
  let source = words
  let spare: Uint32Array | undefined
  const counts = new Uint32Array(DIGITS)
  for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
    counts.fill(0)
    for (let i = 0; i < words.length; i++) {
      const digit = ((source[i] as number) >>> shift) & (DIGITS - 1)
      counts[digit] = (counts[digit] as number) + 1
    }
    if (counts.includes(words.length)) continue
    let position = 0
    for (let digit = 0; digit < DIGITS; digit++) {
      const count = counts[digit] as number
      counts[digit] = position
      position += count
    }
    const target: Uint32Array = spare ?? new Uint32Array(words.length)
    for (let i = 0; i < words.length; i++) {
      const word = source[i] as number
      const digit = (word >>> shift) & (DIGITS - 1)
      const to = counts[digit] as number
      counts[digit] = to + 1
      target[to] = word
    }
    // The caller owns `words`, so never write to it.
    spare = source === words ? undefined : source
    source = target
  }
  return source
}

/** `normalize` for single IPv4 addresses. */
export function normalizeAddresses(addresses: Uint32Array): Ranges {
  const sorted = sortedWords(addresses)
  const start = new Uint32Array(sorted.length)
  const end = new Uint32Array(sorted.length)
  let length = 0
  for (let i = 0; i < sorted.length; i++) {
    const address = sorted[i] as number
    const last = length === 0 ? -2 : (end[length - 1] as number)
    if (address > last + 1) {
      start[length] = address
      end[length++] = address
    } else end[length - 1] = address
  }
  const exact = (array: Uint32Array): Uint32Array => (array.length === length ? array : array.slice(0, length))
  return { family: 4, length, start: exact(start), end: exact(end) }
}

function isSorted(bounds: Uint32Array, width: number): boolean {
  for (let i = width; i < bounds.length; i += width) {
    if (compareBounds(bounds, i - width, bounds, i, width) > 0) return false
  }
  return true
}

/**
 * Brings ranges in any order, overlapping or adjacent, to their canonical form.
 *
 * @param start first addresses, one word each for family 4, four (most significant first) for family 6
 * @param end last addresses, inclusive, same shape, none below its start
 */
export function normalize(family: Family, start: Uint32Array, end: Uint32Array): Ranges {
  const width = WIDTH[family]
  const length = start.length / width
  const builder = new RangesBuilder(family, length)
  const order = isSorted(start, width) ? undefined : sortedOrder(start, width)
  for (let i = 0; i < length; i++) {
    const at = (order ? (order[i] as number) : i) * width
    builder.add(start, at, end, at)
  }
  return builder.finish()
}

/** Addresses in `a` or `b`. */
export function union(a: Ranges, b: Ranges): Ranges {
  if (a.length === 0) return b
  if (b.length === 0) return a
  const width = WIDTH[a.family]
  const builder = new RangesBuilder(a.family, a.length + b.length)
  let i = 0
  let j = 0
  while (i < a.start.length || j < b.start.length) {
    const takeA = j === b.start.length || (i < a.start.length && compareBounds(a.start, i, b.start, j, width) <= 0)
    if (takeA) {
      builder.add(a.start, i, a.end, i)
      i += width
    } else {
      builder.add(b.start, j, b.end, j)
      j += width
    }
  }
  return builder.finish()
}

/** Number of words, from word `i` of `a` and `j` of `b` on, that belong to ranges common to both. */
function commonRun(a: Ranges, i: number, b: Ranges, j: number, width: number): number {
  const most = Math.min(a.start.length - i, b.start.length - j)
  let run = 0
  // Two editions of a list have most ranges in common.
  while (run < most && a.start[i + run] === b.start[j + run] && a.end[i + run] === b.end[j + run]) run++
  return run - (run % width)
}

/** If one set has this many times as many ranges as the other, a binary search finds the relevant ones. */
const MUCH = 16

/**
 * Adds the part of range `i` of `a` that `b` does not cover to the builder. `j`: the first word of `b` that may
 * overlap; returns that word for the next range of `a`.
 */
function subtractFrom(a: Ranges, i: number, b: Ranges, j: number, builder: RangesBuilder): number {
  const width = WIDTH[a.family]
  const rest = a.start.slice(i, i + width)
  const before = new Uint32Array(width)
  let next = j
  while (next < b.end.length && compareBounds(b.end, next, rest, 0, width) < 0) next += width
  for (; next < b.start.length && compareBounds(b.start, next, a.end, i, width) <= 0; next += width) {
    if (compareBounds(b.start, next, rest, 0, width) > 0) {
      step(before, 0, b.start, next, width, -1)
      builder.add(rest, 0, before, 0)
    }
    const beyond = compareBounds(b.end, next, a.end, i, width)
    // A range of b that extends beyond the end of this one may overlap the next one too.
    if (beyond >= 0) return beyond > 0 ? next : next + width
    step(rest, 0, b.end, next, width, 1)
  }
  builder.add(rest, 0, a.end, i)
  return next
}

/** Addresses in `a` and not in `b`. */
export function subtract(a: Ranges, b: Ranges): Ranges {
  if (a.length === 0 || b.length === 0) return a
  const width = WIDTH[a.family]
  const builder = new RangesBuilder(a.family)
  const isMuch = b.length > MUCH * a.length
  let j = 0
  for (let i = 0; i < a.start.length; ) {
    const same = commonRun(a, i, b, j, width)
    i += same
    j += same
    if (same > 0) continue
    if (isMuch) j = Math.max(j, lastAtOrBelow(b, a.start, i) * width)
    j = subtractFrom(a, i, b, j, builder)
    i += width
  }
  return builder.finish()
}

/** Whether two arrays hold identical words. */
export function sameWords(a: Uint32Array, b: Uint32Array): boolean {
  const bytes = (words: Uint32Array): Buffer => Buffer.from(words.buffer, words.byteOffset, words.byteLength)
  return a === b || bytes(a).equals(bytes(b))
}

/** Whether two canonical sets of one family hold exactly the same addresses. */
export const equals = (a: Ranges, b: Ranges): boolean =>
  a.length === b.length && sameWords(a.start, b.start) && sameWords(a.end, b.end)

/** Index of the last of the sorted `start` bounds at or below the address at word `offset` of `words`; -1 = none. */
export function lastAtOrBelow(
  { family, length, start }: Pick<Ranges, 'family' | 'length' | 'start'>,
  words: Uint32Array,
  offset: number,
): number {
  const width = WIDTH[family]
  let low = 0
  let high = length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBounds(start, middle * width, words, offset, width) <= 0) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** Index of the range that holds the address at word `offset` of `words`, or -1. */
export function contains(ranges: Ranges, words: Uint32Array, offset = 0): number {
  const width = WIDTH[ranges.family]
  const index = lastAtOrBelow(ranges, words, offset)
  return index >= 0 && compareBounds(words, offset, ranges.end, index * width, width) <= 0 ? index : -1
}
