// Lookup, insertion and removal of one entry, shared by the two hashes with one line per bucket.

import { LINE_WORDS } from './lines.ts'

/** Layout of the entries in a line. */
export interface BucketLayout {
  /** Number of entries per line. */
  readonly slots: number
  /** Word of a line that is not 0 if entries of its bucket lie in the next line. */
  readonly overflow: number
  /** Number of lines that a reader probes. */
  readonly probes: number
}

/** A table is rebuilt, with 0.6 entries per slot, when it has more than MOST_FULL or less than LEAST_FULL. */
const MOST_FULL = 0.75
const LEAST_FULL = 0.15
/** Smaller tables may be as empty as they like. */
const FEW_BUCKETS = 256

/** Finds an entry: line * slots + slot; -1 = absent. `matches`: whether a slot holds it. */
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

/** Takes a free slot within a reader's reach, and sets the overflow word of the lines before it; -1 = none. */
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

/** Whether a table of this many buckets should be rebuilt for this many entries. */
export const isMisfit = (count: number, buckets: number, slots: number): boolean =>
  count > buckets * slots * MOST_FULL || (buckets > FEW_BUCKETS && count < buckets * slots * LEAST_FULL)

/** A section that is copied before the first write, because others share it. */
export class Draft {
  #words: Uint32Array
  #isOwn = false

  constructor(words: Uint32Array) {
    this.#words = words
  }

  get words(): Uint32Array {
    return this.#words
  }

  /** The words, writable. */
  edit(): Uint32Array {
    if (!this.#isOwn) this.#words = this.#words.slice()
    this.#isOwn = true
    return this.#words
  }
}
