// Tables are arrays of 32-bit words in host byte order, 16 per line of the image.

import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import { LINE_SIZE } from '../../abi/generated.ts'
import { fail, type XdpError } from '../../diagnostics.ts'

/** 32-bit words in a line. */
export const LINE_WORDS = LINE_SIZE / 4

/** Adjacent lines. */
export interface Extent {
  readonly first: number
  readonly lines: number
}

/** Index of the word of a u64 with bits 0 to 31, and of the one with bits 32 to 63. */
export const LOW = LITTLE_ENDIAN ? 0 : 1
export const HIGH = 1 - LOW

/** Zeroed words for `lines` lines. */
export const makeLines = (lines: number): Uint32Array<ArrayBuffer> => new Uint32Array(lines * LINE_WORDS)

/** The 16-bit view of words, for __u16 fields. */
export const halves = (words: Uint32Array): Uint16Array =>
  new Uint16Array(words.buffer, words.byteOffset, words.length * 2)

/** A view of words, for codecs. */
export const viewOf = (words: Uint32Array): DataView => new DataView(words.buffer, words.byteOffset, words.byteLength)

/** Lines of two kinds in one section. */
export function joinLines(first: Uint32Array, second: Uint32Array): Uint32Array {
  if (second.length === 0) return first
  const words = new Uint32Array(first.length + second.length)
  words.set(first)
  words.set(second, first.length)
  return words
}

/** Writer of a section whose size is not known in advance. */
export class LineWriter {
  #words = makeLines(64)
  #lines = 0

  /** Adds a zeroed line and returns the index of its first word in `words`. */
  add(): number {
    const at = this.#lines * LINE_WORDS
    if (at === this.#words.length) {
      const words = new Uint32Array(this.#words.length * 2)
      words.set(this.#words)
      this.#words = words
    }
    this.#lines++
    return at
  }

  /** The words written so far, and room; a new array after an `add` that grew it. */
  get words(): Uint32Array {
    return this.#words
  }

  get lines(): number {
    return this.#lines
  }

  finish(): Uint32Array {
    return this.#words.subarray(0, this.#lines * LINE_WORDS)
  }
}

/** Index of the word with bit `bit` (in it, bit `bit & 31`) of a bitmap that the data plane reads as u64 words. */
const bitmapWord = (bit: number): number => (bit >>> 6) * 2 + ((bit & 32) === 0 ? LOW : HIGH)

/** Sets a bit of such a bitmap. */
export function setBit(words: Uint32Array, bit: number): void {
  const word = bitmapWord(bit)
  words[word] = (words[word] as number) | (1 << (bit & 31))
}

export function clearBit(words: Uint32Array, bit: number): void {
  const word = bitmapWord(bit)
  words[word] = (words[word] as number) & ~(1 << (bit & 31))
}

export const hasBit = (words: Uint32Array, bit: number): boolean =>
  (((words[bitmapWord(bit)] as number) >>> (bit & 31)) & 1) !== 0

/**
 * Number of bits by which to shift a 32-bit key to get its bit in a bitmap. The bitmap has a power of two of bits: at
 * least `perEntry` for each of `entries`, at least one line, and at most 2^maxBits.
 */
export function filterShift(entries: number, perEntry: number, maxBits: number): number {
  const bits = Math.ceil(Math.log2(Math.max(1, entries * perEntry)))
  return 32 - Math.min(maxBits, Math.max(Math.log2(LINE_SIZE * 8), bits))
}

/** A bitmap for keys shifted by `shift`. */
export const makeFilter = (shift: number): Uint32Array => new Uint32Array(2 ** (32 - shift) / 32)

/** Whether a bitmap has the size for its shift. */
export const isFilter = (words: Uint32Array, shift: number): boolean =>
  shift <= 31 && words.length * 32 === 2 ** (32 - shift)

/** Bits 32 to 63 of the product of two 32-bit numbers, which is too wide for a double. */
export function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const middle = aLow * bHigh
  const other = aHigh * bLow
  const carry = ((aLow * bLow) >>> 16) + (middle & 0xffff) + (other & 0xffff)
  return (aHigh * bHigh + (middle >>> 16) + (other >>> 16) + (carry >>> 16)) >>> 0
}

/** The low 64 bits of the product of two 64-bit numbers, each in two words. */
export function multiplyLow(
  a: { readonly high: number; readonly low: number },
  b: { readonly high: number; readonly low: number },
): { readonly high: number; readonly low: number } {
  return {
    high: (multiplyHigh(a.low, b.low) + Math.imul(a.low, b.high) + Math.imul(a.high, b.low)) >>> 0,
    low: Math.imul(a.low, b.low) >>> 0,
  }
}

/** The error for bytes that no compiler of ours wrote. */
export const corrupt = (what: string): XdpError =>
  fail(
    'E113',
    `the live tables are damaged: ${what}`,
    'another program wrote to the maps of xdp; `xdp destroy` and then `xdp apply` create them again',
  )

/** Whether a line is equal in both. */
export function isSameLine(a: Uint32Array, b: Uint32Array, line: number): boolean {
  for (let word = line * LINE_WORDS; word < (line + 1) * LINE_WORDS; word++) if (a[word] !== b[word]) return false
  return true
}
