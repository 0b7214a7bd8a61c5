// Digests of lines, computed like digest_line of the data plane: a sum over all lines that are not zero, so that a line
// can be subtracted from a digest and another one added.

import { HIGH, LINE_WORDS, LOW } from './lines.ts'

/** Two sums modulo 2^32. */
export type LineDigest = readonly [number, number]

export const NO_LINES: LineDigest = [0, 0]

/** Adds lines to a digest, or subtracts them. */
export class LineDigester {
  #a: number
  #b: number

  constructor([a, b]: LineDigest = NO_LINES) {
    this.#a = a | 0
    this.#b = b | 0
  }

  /**
   * Adds `lines` lines from word `at` of `words` on; with `sign` -1, subtracts them. `number`: position of the first
   * one in its section. Throws RangeError if `words` is too short.
   */
  add(words: Uint32Array, at: number, lines: number, number: number, sign: 1 | -1 = 1): void {
    if (at + lines * LINE_WORDS > words.length) throw new RangeError(`no ${lines} lines from word ${at} on`)
    for (let line = 0; line < lines; line++) this.#addLine(words, at + line * LINE_WORDS, number + line, sign)
  }

  #addLine(words: Uint32Array, at: number, number: number, sign: 1 | -1): void {
    let a = Math.imul(number, 0x9e3779b1) ^ 0x85ebca6b
    let b = (number + 0xc2b2ae35) | 0
    let any = 0
    for (let word = at; word < at + LINE_WORDS; word += 2) {
      const low = words[word + LOW] as number
      const high = words[word + HIGH] as number
      any |= low | high
      a = Math.imul(a ^ low, 0x85ebca77)
      b = Math.imul(b ^ high, 0xc2b2ae3d)
      a = (a + ((b << 13) | (b >>> 19))) | 0
      b ^= (a << 7) | (a >>> 25)
    }
    if (any === 0) return
    a = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d)
    b = Math.imul(b ^ (b >>> 16) ^ a, 0x297a2d39)
    a = (a + ((b << 11) | (b >>> 21))) | 0
    this.#a = (this.#a + sign * (a ^ (a >>> 15))) | 0
    this.#b = (this.#b + sign * (b ^ (b >>> 16))) | 0
  }

  get digest(): LineDigest {
    return [this.#a >>> 0, this.#b >>> 0]
  }
}

/** Digest of a whole section. */
export function digestLines(words: Uint32Array): LineDigest {
  const digester = new LineDigester()
  digester.add(words, 0, words.length / LINE_WORDS, 0)
  return digester.digest
}

export const sameDigest = ([a, b]: LineDigest, [c, d]: LineDigest): boolean => a === c && b === d
