// Allocates and frees lines of a section, such as range lines and tree lines. A free line is all zero, and a line in
// use never is: it has at least two starts.

import { LINE_WORDS } from './lines.ts'

/** Smaller sections may have any number of free lines. */
const FEW_LINES = 1024

export class LineDraft {
  #words: Uint32Array
  #lines: number
  #isOwn = false
  /** All free lines before this one are in #freed. */
  #cursor = 0
  /** Freed lines; some may be in use again. */
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

  /** The words, writable; a new array after a `take` that grew it. */
  edit(): Uint32Array {
    if (!this.#isOwn) this.#words = this.#words.slice()
    this.#isOwn = true
    return this.#words
  }

  #isFree(line: number): boolean {
    for (let word = line * LINE_WORDS; word < (line + 1) * LINE_WORDS; word++) if (this.#words[word] !== 0) return false
    return true
  }

  /** Frees lines. */
  free(line: number, count: number): void {
    if (count === 0) return
    this.edit().fill(0, line * LINE_WORDS, (line + count) * LINE_WORDS)
    for (let freed = line + count - 1; freed >= line; freed--) this.#freed.push(freed)
  }

  /** Allocates `count` adjacent lines, after it freed `had` lines from `from` on; returns the first. */
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
    // A run of free lines may end the section, but is too short.
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

  /** Whether most lines are free, after some were freed. */
  isSparse(): boolean {
    if (this.#freed.length === 0 || this.#lines < FEW_LINES) return false
    let free = 0
    for (let line = 0; line < this.#lines; line++) if (this.#isFree(line)) free++
    return free > this.#lines / 2
  }
}
