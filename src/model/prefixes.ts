// Ranges as prefixes: the smallest set of prefixes that covers exactly the same addresses.

import type { Ranges } from './address.ts'
import { patchOf } from './patch.ts'
import { compareBounds, lastAtOrBelow, WIDTH } from './ranges.ts'

/** Number of bits below the lowest set bit of the bound; all bits if it is zero. With `invert`, of its complement. */
function trailingZeros(bounds: Uint32Array, at: number, width: number, invert: boolean): number {
  for (let word = width - 1; word >= 0; word--) {
    const bits = bounds[at + word] as number
    const value = (invert ? ~bits : bits) >>> 0
    if (value !== 0) return (width - 1 - word) * 32 + 31 - Math.clz32(value & -value)
  }
  return width * 32
}

/** Host bits of the widest prefix that begins at the first bound and does not go beyond the second. */
function widest(start: Uint32Array, i: number, end: Uint32Array, j: number, width: number): number {
  const zeros = trailingZeros(start, i, width, false)
  for (let word = 0; word < width; word++) {
    const differing = ((start[i + word] as number) ^ (end[j + word] as number)) >>> 0
    if (differing === 0) continue
    const bits = (width - word) * 32 - Math.clz32(differing)
    return zeros >= bits && trailingZeros(end, j, width, true) >= bits ? bits : Math.min(zeros, bits - 1)
  }
  return 0
}

/** Adds 2^bits to the bound at word 0; returns false on overflow of the address space. */
function advance(bound: Uint32Array, bits: number): boolean {
  let carry = 2 ** (bits % 32)
  for (let word = bound.length - 1 - Math.floor(bits / 32); word >= 0; word--) {
    const sum = (bound[word] as number) + carry
    bound[word] = sum
    if (sum <= 0xffffffff) return true
    carry = 1
  }
  return false
}

/** Calls `visit` with each prefix of the minimal cover of range `index`: its first address (reused) and host bits. */
function cover(ranges: Ranges, index: number, visit: (first: Uint32Array, hostBits: number) => void): void {
  const width = WIDTH[ranges.family]
  const at = index * width
  const first = ranges.start.slice(at, at + width)
  while (true) {
    const bits = widest(first, 0, ranges.end, at, width)
    visit(first, bits)
    if (!advance(first, bits) || compareBounds(first, 0, ranges.end, at, width) > 0) return
  }
}

/** Ranges are immutable, and counting a million of them takes ten milliseconds. */
const counts = new WeakMap<Ranges, number>()

/** Number of prefixes in the smallest set of prefixes that covers exactly these addresses. */
export function countPrefixes(ranges: Ranges): number {
  const count = counts.get(ranges) ?? countPatched(ranges) ?? countAll(ranges)
  counts.set(ranges, count)
  return count
}

/** Counts only the changed ranges, if these ranges derive from counted ones. */
function countPatched(ranges: Ranges): number | undefined {
  const patch = patchOf(ranges)
  const known = patch && counts.get(patch.from)
  return known === undefined ? undefined : known - countAll(patch?.before as Ranges) + countAll(patch?.after as Ranges)
}

function countAll(ranges: Ranges): number {
  const width = WIDTH[ranges.family]
  let count = 0
  const visit = (): void => {
    count++
  }
  for (let index = 0; index < ranges.length; index++) {
    // Most ranges of a large list are single addresses.
    if (compareBounds(ranges.start, index * width, ranges.end, index * width, width) === 0) count++
    else cover(ranges, index, visit)
  }
  return count
}

/** A prefix of a cover: the words of its first address and its length in bits. */
export interface CoverPrefix {
  readonly words: Uint32Array
  readonly length: number
}

/** The smallest set of prefixes that covers exactly these addresses, in ascending order. */
export function* prefixes(ranges: Ranges): Generator<CoverPrefix> {
  const bits = WIDTH[ranges.family] * 32
  for (let index = 0; index < ranges.length; index++) {
    const found: CoverPrefix[] = []
    cover(ranges, index, (first, hostBits) => found.push({ words: first.slice(), length: bits - hostBits }))
    yield* found
  }
}

/** Sets the lowest bits of an address. */
function fillHostBits(words: Uint32Array, bits: number): void {
  for (let word = words.length - 1, left = bits; left > 0; word--, left -= 32)
    words[word] = ((words[word] as number) | (left >= 32 ? 0xffff_ffff : 2 ** left - 1)) >>> 0
}

/** Number of prefixes of that set which hold an address of another one. */
export function countTouched(ranges: Ranges, others: Ranges): number {
  const width = WIDTH[ranges.family]
  let count = 0
  for (let index = 0; index < ranges.length; index++) {
    cover(ranges, index, (first, hostBits) => {
      const last = first.slice()
      fillHostBits(last, hostBits)
      const other = lastAtOrBelow(others, last, 0)
      if (other >= 0 && compareBounds(others.end, other * width, first, 0, width) >= 0) count++
    })
  }
  return count
}
