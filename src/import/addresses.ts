// Addresses in the notation of other tools → address sets. Columns of numbers throughout, because a set may have a
// million.

import type { AddressSet, Family, Ranges } from '../model/address.ts'
import { compareBounds, EMPTY4, EMPTY6, normalize, subtract, WIDTH } from '../model/ranges.ts'
import { type AddressRange, compareAddresses, hostMask, readIpv4, readIpv6, readPrefixLength } from '../model/text.ts'

const SLASH = 0x2f
const DASH = 0x2d

/** Growing columns with the bounds of ranges of one family, in any order. */
interface Columns {
  length: number
  start: Uint32Array
  end: Uint32Array
}

const columns = (): Columns => ({ length: 0, start: new Uint32Array(0), end: new Uint32Array(0) })

function grow(into: Columns, width: number): void {
  const words = Math.max(into.start.length * 2, 16 * width)
  const [start, end] = [new Uint32Array(words), new Uint32Array(words)]
  start.set(into.start)
  end.set(into.end)
  into.start = start
  into.end = end
}

function finish(family: Family, { length, start, end }: Columns): Ranges {
  if (length === 0) return family === 4 ? EMPTY4 : EMPTY6
  const words = length * WIDTH[family]
  return normalize(family, start.subarray(0, words), end.subarray(0, words))
}

const first = new Uint32Array(4)
const last = new Uint32Array(4)

/** Reads an address into `words`. Returns its family, or 0 if the text is not an address. */
function readAddress(bytes: Uint8Array, from: number, to: number, words: Uint32Array): Family | 0 {
  const address = readIpv4(bytes, from, to)
  if (address < 0) return readIpv6(bytes, from, to, words) ? 6 : 0
  words[0] = address
  return 4
}

/** Sets `first` and `last` to the bounds of the prefix of `length` bits that contains `first`. */
function spread(family: Family, length: number): void {
  for (let word = 0; word < WIDTH[family]; word++) {
    const mask = hostMask(length, word)
    const value = first[word] as number
    first[word] = value & ~mask
    last[word] = value | mask
  }
}

/**
 * Reads `bytes[from, to)` into `first` and `last`. Returns the family, or 0. `bits`: prefix length of a bare address.
 */
function readBounds(bytes: Uint8Array, from: number, to: number, bits: number): Family | 0 {
  let mark = from
  while (mark < to && bytes[mark] !== SLASH && bytes[mark] !== DASH) mark++
  const family = readAddress(bytes, from, mark, first)
  if (family === 0) return 0
  if (bytes[mark] === DASH && mark < to) {
    if (readAddress(bytes, mark + 1, to, last) !== family) return 0
    const width = WIDTH[family]
    return compareAddresses(first.subarray(0, width), last.subarray(0, width)) <= 0 ? family : 0
  }
  const length = mark < to ? readPrefixLength(bytes, mark + 1, to, family) : Math.min(bits, WIDTH[family] * 32)
  if (length < 0) return 0
  spread(family, length)
  return family
}

/** Collects addresses, prefixes and ranges of both families. */
export class RangeCollector {
  readonly #v4 = columns()
  readonly #v6 = columns()

  get length(): number {
    return this.#v4.length + this.#v6.length
  }

  /** Adds the IPv4 addresses from `start` to `end`. */
  add4(start: number, end: number): void {
    const into = this.#v4
    if (into.length === into.start.length) grow(into, 1)
    into.start[into.length] = start
    into.end[into.length] = end
    into.length++
  }

  /** Adds the range with the bounds at words `i` and `j`. */
  add(family: Family, start: Uint32Array, i: number, end: Uint32Array, j: number): void {
    if (family === 4) {
      this.add4(start[i] as number, end[j] as number)
      return
    }
    const into = this.#v6
    const at = into.length * 4
    if (at === into.start.length) grow(into, 4)
    for (let word = 0; word < 4; word++) {
      into.start[at + word] = start[i + word] as number
      into.end[at + word] = end[j + word] as number
    }
    into.length++
  }

  addRanges({ family, length, start, end }: Ranges): void {
    for (let index = 0; index < length; index++)
      this.add(family, start, index * WIDTH[family], end, index * WIDTH[family])
  }

  /**
   * Adds the address, prefix or first-last range in `bytes[from, to)`. Ignores host bits of a prefix, as the tools do.
   * Adds nothing and returns false for any other text.
   *
   * @param bits prefix length of a bare address, for sets with a netmask
   */
  read(bytes: Uint8Array, from: number, to: number, bits = 128): boolean {
    const family = readBounds(bytes, from, to, bits)
    if (family !== 0) this.add(family, first, 0, last, 0)
    return family !== 0
  }

  finish(): AddressSet {
    return { v4: finish(4, this.#v4), v6: finish(6, this.#v6) }
  }
}

const encoder = new TextEncoder()

/** An address, prefix or range as a set; undefined for any other text. */
export function parseAddresses(text: string): AddressSet | undefined {
  const collector = new RangeCollector()
  const bytes = encoder.encode(text)
  return collector.read(bytes, 0, bytes.length) ? collector.finish() : undefined
}

/** Every address of a family. */
export const EVERY: Readonly<Record<Family, Ranges>> = {
  4: { family: 4, length: 1, start: Uint32Array.of(0), end: Uint32Array.of(0xffffffff) },
  6: { family: 6, length: 1, start: new Uint32Array(4), end: new Uint32Array(4).fill(0xffffffff) },
}

/** All addresses of the family outside the set. */
export const complement = (ranges: Ranges): Ranges => subtract(EVERY[ranges.family], ranges)

/** The addresses in both sets. */
export const intersect = (a: Ranges, b: Ranges): Ranges => subtract(a, complement(b))

/** Index of the first range whose end is not before the bound at word `i` of `words`. */
function firstNotBefore(ranges: Ranges, words: Uint32Array, i: number): number {
  const width = WIDTH[ranges.family]
  let low = 0
  let high = ranges.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBounds(ranges.end, middle * width, words, i, width) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Whether two sets of one family share an address. */
export function overlaps(a: Ranges, b: Ranges): boolean {
  const [few, many] = a.length <= b.length ? [a, b] : [b, a]
  const width = WIDTH[a.family]
  for (let index = 0; index < few.length; index++) {
    const found = firstNotBefore(many, few.start, index * width)
    if (found < many.length && compareBounds(many.start, found * width, few.end, index * width, width) <= 0) return true
  }
  return false
}

/** `::ffff:0:0/96`. IPv6 sockets show IPv4 peers in this form; no packet has such a source, and a config refuses it. */
export const MAPPED: AddressRange = {
  family: 6,
  start: Uint32Array.of(0, 0, 0xffff, 0),
  end: Uint32Array.of(0, 0, 0xffff, 0xffffffff),
}
