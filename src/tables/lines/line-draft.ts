// A section of lines that are taken and given back, as range lines and tree lines are. A line that nobody holds is all
// zero, which none in use is: it has at least two starts.

import { LINE_WORDS } from './lines.ts'

/** Sections of fewer lines may have as many free ones as they like. */
const FEW_LINES = 1024

export class LineDraft {
  #words: Uint32Array
  #lines: number
  #isOwn = false
  /** No free line before this one is known, but for those that were given back. */
  #cursor = 0
  /** Lines that were given back; some may have been taken again. */
  readonly #freed: number[] = []

  constructor(words: Uint32Array) {
    this.#words = words
    this.#lines = words.length / LINE_WORDS
  }

  get words(): Uint32Array {
    const size = this.#lines * LINE_WORDS
    return this.#words.length === size ? this.#words : this.#words.subarray(0, size)
  }

  get lines(): number {
    return this.#lines
  }

  /** The words, to write to; a new array after a `take` that had to grow it. */
  edit(): Uint32Array {
    if (!this.#isOwn) this.#words = this.#words.slice()
    this.#isOwn = true
    return this.#words
  }

  #isFree(line: number): boolean {
    for (let word = line * LINE_WORDS; word < (line + 1) * LINE_WORDS; word++) if (this.#words[word] !== 0) return false
    return true
  }

  /** Gives lines back. */
  free(line: number, count: number): void {
    if (count === 0) return
    this.edit().fill(0, line * LINE_WORDS, (line + count) * LINE_WORDS)
    for (let freed = line + count - 1; freed >= line; freed--) this.#freed.push(freed)
  }

  /** The first of `count` free lines side by side, after `had` lines from `from` on have been given back. */
  take(count: number, from = 0, had = 0): number {
    this.free(from, had)
    while (count === 1 && this.#freed.length > 0) {
      const line = this.#freed.pop() as number
      if (this.#isFree(line)) return line
    }
    let run = 0
    for (; this.#cursor < this.#lines; this.#cursor++) {
      run = this.#isFree(this.#cursor) ? run + 1 : 0
      if (run === count) return ++this.#cursor - count
    }
    // The last lines may be free, but not enough of them.
    const first = this.#lines - run
    this.#grow(first + count)
    this.#cursor = this.#lines
    return first
  }

  #grow(lines: number): void {
    if (lines * LINE_WORDS > this.#words.length || !this.#isOwn) {
      const larger = new Uint32Array(Math.ceil(lines * 1.1 + 8) * LINE_WORDS)
      larger.set(this.words)
      this.#words = larger
      this.#isOwn = true
    }
    this.#lines = lines
  }

  /** Whether lines are free that were given back, and most are. */
  isSparse(): boolean {
    if (this.#freed.length === 0 || this.#lines < FEW_LINES) return false
    let free = 0
    for (let line = 0; line < this.#lines; line++) if (this.#isFree(line)) free++
    return free > this.#lines / 2
  }
}
