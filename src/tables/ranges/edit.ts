// Edits a root with its range lines: rewrites the buckets of a change, in their own lines if these suffice.

import { Draft } from '../lines/buckets.ts'
import { LineDraft } from '../lines/line-draft.ts'
import { HIGH, LINE_WORDS, LOW } from '../lines/lines.ts'
import { decodeRoot, encodeRoot, NO_ROOT, RANGE_ENTRIES, type Root, rootBits } from './root.ts'

/** Ranges of one bucket: start relative to the bucket, ascending from 0. */
export interface Pieces {
  readonly starts: number[]
  readonly values: number[]
}

export class RangeTable {
  #shift: number
  #root: Draft
  #lines: LineDraft
  #changed = false

  constructor({ shift, root, ranges }: Root) {
    this.#shift = shift
    this.#root = new Draft(root)
    this.#lines = new LineDraft(ranges)
  }

  #read(bucket: number): Pieces {
    const root = this.#root.words
    const high = root[bucket * 2 + HIGH] as number
    const count = high & 0xffff
    if (count === 0) return { starts: [0], values: [high >>> 16] }
    const starts: number[] = []
    const values: number[] = []
    const first = (root[bucket * 2 + LOW] as number) * LINE_WORDS
    const { words } = this.#lines
    for (let at = first; at < first + count * LINE_WORDS; at++) {
      const entry = words[at] as number
      if (starts.length > 0 && entry >>> 16 === starts.at(-1)) continue
      starts.push(entry >>> 16)
      values.push(entry & 0xffff)
    }
    return { starts, values }
  }

  #write(bucket: number, { starts, values }: Pieces): void {
    const root = this.#root.edit()
    const low = root[bucket * 2 + LOW] as number
    const had = (root[bucket * 2 + HIGH] as number) & 0xffff
    this.#changed = true
    const count = starts.length === 1 ? 0 : Math.ceil(starts.length / RANGE_ENTRIES)
    const first = count <= had ? low : this.#lines.take(count, low, had)
    if (count <= had) this.#lines.free(low + count, had - count)
    root[bucket * 2 + LOW] = count === 0 ? 0 : first
    root[bucket * 2 + HIGH] = count === 0 ? (values[0] as number) * 0x10000 : count
    const words = count === 0 ? this.#lines.words : this.#lines.edit()
    for (let entry = 0; entry < count * RANGE_ENTRIES; entry++) {
      const piece = Math.min(entry, starts.length - 1)
      words[first * LINE_WORDS + entry] = (starts[piece] as number) * 0x10000 + (values[piece] as number)
    }
  }

  /** Value of a key; 0 if there is no root yet. */
  get(key: number): number {
    if (this.#root.words.length === 0) return 0
    const { starts, values } = this.#read(key >>> this.#shift)
    const wanted = key % 2 ** this.#shift
    return values[starts.findLastIndex((start) => start <= wanted)] as number
  }

  /** Changes the value of every key from `first` to `last` to the result of `change`. */
  transform(first: number, last: number, change: (value: number) => number): void {
    if (this.#root.words.length === 0) {
      if (change(0) === 0) return
      // A root for class 0 alone; the edit then fills it.
      const { shift, root } = encodeRoot({
        width: 1,
        length: 1,
        starts: new Uint32Array(1),
        values: new Uint32Array(1),
      })
      this.#shift = shift
      this.#root = new Draft(root)
    }
    const size = 2 ** this.#shift
    for (let bucket = first >>> this.#shift; bucket <= last >>> this.#shift; bucket++) {
      const base = bucket * size
      const [from, to] = [Math.max(first - base, 0), Math.min(last - base, size - 1)]
      this.#transformBucket(bucket, from, to, size, change)
    }
  }

  #transformBucket(bucket: number, from: number, to: number, size: number, change: (value: number) => number): void {
    const { starts, values } = this.#read(bucket)
    const made: Pieces = { starts: [], values: [] }
    const push = (start: number, value: number): void => {
      if (made.values.at(-1) === value) return
      made.starts.push(start)
      made.values.push(value)
    }
    let isSame = true
    for (const [i, start] of starts.entries()) {
      const value = values[i] as number
      const end = (starts[i + 1] ?? size) - 1
      if (end < from || start > to) {
        push(start, value)
        continue
      }
      const changed = change(value)
      if (changed !== value) isSame = false
      if (start < from) push(start, value)
      push(Math.max(start, from), changed)
      if (end > to) push(to + 1, value)
    }
    if (!isSame) this.#write(bucket, made)
  }

  /**
   * Calls `visit` with first key, last key and value of the ranges between keys `first` and `last`, clipped to them.
   */
  forEach(first: number, last: number, visit: (first: number, last: number, value: number) => void): void {
    if (this.#root.words.length === 0) return
    const size = 2 ** this.#shift
    for (let bucket = first >>> this.#shift; bucket <= last >>> this.#shift; bucket++) {
      const { starts, values } = this.#read(bucket)
      const base = bucket * size
      for (const [i, start] of starts.entries()) {
        const from = Math.max(base + start, first)
        const to = Math.min(base + (starts[i + 1] ?? size) - 1, last)
        if (from <= to) visit(from, to, values[i] as number)
      }
    }
  }

  /**
   * The root after the edits; rebuilt if it has become too small or most of its lines are free, empty if it has no
   * ranges.
   */
  finish(): Root {
    const root = { shift: this.#shift, root: this.#root.words, ranges: this.#lines.words }
    if (this.#changed && root.root.every((word) => word === 0)) return NO_ROOT
    const isCrowded = this.#lines.lines > this.#root.words.length / 2
    if (!this.#changed || !(isCrowded || this.#lines.isSparse())) return root
    const partition = decodeRoot(root)
    return isCrowded && 32 - rootBits(partition.length) === this.#shift ? root : encodeRoot(partition)
  }
}
