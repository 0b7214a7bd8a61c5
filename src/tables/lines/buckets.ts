// What the two hashes whose bucket is a line have in common when one entry of them is looked for, put in or taken out.

import { LINE_WORDS } from './lines.ts'

/** How a line holds its entries. */
export interface BucketLayout {
  /** Entries a line. */
  readonly slots: number
  /** Word of a line that is not 0 where entries of it lie in the next. */
  readonly overflow: number
  /** Lines that a reader looks at. */
  readonly probes: number
}

/** A table with more entries a slot than this, or with less, is made anew; it is made with 0.6. */
const MOST_FULL = 0.75
const LEAST_FULL = 0.15
/** Smaller ones may be as empty as they like. */
const FEW_BUCKETS = 256

/** Where an entry is, -1 = nowhere: line * slots + slot. `matches`: whether it is the one of a slot. */
export function findSlot(
  words: Uint32Array,
  bucket: number,
  { slots, overflow, probes }: BucketLayout,
  matches: (line: number, slot: number) => boolean,
): number {
  for (let line = bucket; line < bucket + probes; line++) {
    for (let slot = 0; slot < slots; slot++) if (matches(line, slot)) return line * slots + slot
    if (words[line * LINE_WORDS + overflow] === 0) return -1
  }
  return -1
}

/** A free place that a reader gets to, after saying so in the lines before it; -1 = there is none. */
export function takeSlot(
  words: Uint32Array,
  bucket: number,
  { slots, overflow, probes }: BucketLayout,
  isFree: (line: number, slot: number) => boolean,
): number {
  for (let line = bucket; line < bucket + probes; line++) {
    for (let slot = 0; slot < slots; slot++) {
      if (!isFree(line, slot)) continue
      for (let passed = bucket; passed < line; passed++) words[passed * LINE_WORDS + overflow] = 1
      return line * slots + slot
    }
  }
  return -1
}

/** Whether a table of so many buckets should be made anew for so many entries. */
export const isMisfit = (count: number, buckets: number, slots: number): boolean =>
  count > buckets * slots * MOST_FULL || (buckets > FEW_BUCKETS && count < buckets * slots * LEAST_FULL)

/** A section that is copied before it is first written to: others hold it too. */
export class Draft {
  #words: Uint32Array
  #isOwn = false

  constructor(words: Uint32Array) {
    this.#words = words
  }

  get words(): Uint32Array {
    return this.#words
  }

  /** The words, to write to. */
  edit(): Uint32Array {
    if (!this.#isOwn) this.#words = this.#words.slice()
    this.#isOwn = true
    return this.#words
  }
}
