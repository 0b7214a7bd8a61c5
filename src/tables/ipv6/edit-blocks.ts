// Edits the hash of IPv6 prefixes: adds and removes entries, each in its line.

import { BLOCK_64, BLOCK_PROBES, VALUE_MASK, VALUE_TREE } from '../../abi/generated.ts'
import { type BucketLayout, Draft, findSlot, isMisfit, takeSlot } from '../lines/buckets.ts'
import { bucketOf, hashOf, type Multiplier, multiplierFrom } from '../lines/hash.ts'
import { clearBit, LINE_WORDS, setBit } from '../lines/lines.ts'
import {
  BLOCK_OVERFLOW,
  BLOCK_SLOTS,
  type Blocks,
  encodeBlocks,
  highAt,
  lowAt,
  NO_BLOCKS,
  type Tag,
  valueAt,
} from './blocks.ts'

const LAYOUT: BucketLayout = { slots: BLOCK_SLOTS, overflow: BLOCK_OVERFLOW, probes: BLOCK_PROBES }

/** Number of entries that a scan of the table passes in the time of one lookup. */
const SCANNED_A_LOOK = 8

const UPPER = 32n
const LOWER = 0xffffffffn

/** Prefixes are numbers: the address >> (128 - length). */
export class BlockTable {
  #blocks: Blocks
  #multiplier: Multiplier
  #words: Draft
  #filter: Draft
  #count: number
  /** Cells of the bitmap that may have become empty. */
  readonly #left = new Set<number>()

  constructor(blocks: Blocks) {
    this.#blocks = blocks
    this.#multiplier = multiplierFrom(blocks.multiplier)
    this.#words = new Draft(blocks.words)
    this.#filter = new Draft(blocks.filter)
    this.#count = blocks.count
  }

  #hash(prefix: bigint): number {
    return hashOf(Number(prefix >> UPPER), Number(prefix & LOWER), this.#multiplier)
  }

  #find(tag: Tag, prefix: bigint, hash: number): number {
    if (this.#blocks.buckets === 0) return -1
    const { words } = this.#words
    const [high, low] = [Number(prefix >> UPPER), Number(prefix & LOWER)]
    return findSlot(words, bucketOf(hash, this.#blocks.buckets), LAYOUT, (line, slot) => {
      const isSame = words[lowAt(line, slot)] === low && words[highAt(line, slot)] === high
      return isSame && ((words[valueAt(line, slot)] as number) & BLOCK_64) === tag
    })
  }

  /** Value of a prefix without its tag; undefined = absent. */
  get(tag: Tag, prefix: bigint): number | undefined {
    const at = this.#find(tag, prefix, this.#hash(prefix))
    if (at < 0) return undefined
    const value = this.#words.words[valueAt(Math.floor(at / BLOCK_SLOTS), at % BLOCK_SLOTS)] as number
    return (value & (VALUE_TREE | VALUE_MASK)) >>> 0
  }

  /** Inserts a prefix, or changes its value. */
  set(tag: Tag, prefix: bigint, value: number): void {
    const hash = this.#hash(prefix)
    const found = this.#find(tag, prefix, hash)
    const tagged = (tag | value) >>> 0
    if (found >= 0) this.#put(found, prefix, tagged)
    else this.#insert(prefix, tagged, hash)
  }

  delete(tag: Tag, prefix: bigint): void {
    const hash = this.#hash(prefix)
    const found = this.#find(tag, prefix, hash)
    if (found < 0) return
    this.#put(found, 0n, 0)
    this.#count--
    this.#left.add(hash >>> this.#blocks.filterShift)
  }

  #put(at: number, prefix: bigint, value: number): void {
    const words = this.#words.edit()
    const [line, slot] = [Math.floor(at / BLOCK_SLOTS), at % BLOCK_SLOTS]
    words[highAt(line, slot)] = Number(prefix >> UPPER)
    words[lowAt(line, slot)] = Number(prefix & LOWER)
    words[valueAt(line, slot)] = value
  }

  #insert(prefix: bigint, value: number, hash: number): void {
    this.#count++
    const isFull = isMisfit(this.#count, this.#blocks.buckets, BLOCK_SLOTS)
    const { words } = this.#words
    const isFree = (line: number, slot: number): boolean => words[valueAt(line, slot)] === 0
    const at = isFull ? -1 : takeSlot(this.#words.edit(), bucketOf(hash, this.#blocks.buckets), LAYOUT, isFree)
    if (at < 0) {
      this.#rebuild(prefix, value)
      return
    }
    this.#put(at, prefix, value)
    setBit(this.#filter.edit(), hash >>> this.#blocks.filterShift)
  }

  /** Calls `visit` with the upper half, lower half and tagged value of every prefix in lines `first` to `end - 1`. */
  #forEachWords(first: number, end: number, visit: (high: number, low: number, value: number) => void): void {
    const { words } = this.#words
    for (let line = first; line < end; line++) {
      for (let slot = 0; slot < BLOCK_SLOTS; slot++) {
        const value = words[valueAt(line, slot)] as number
        if (value !== 0) visit(words[highAt(line, slot)] as number, words[lowAt(line, slot)] as number, value)
      }
    }
  }

  get #lines(): number {
    return this.#words.words.length / LINE_WORDS
  }

  /** Prefixes of one length that `wanted` accepts, given their halves. */
  select(tag: Tag, wanted: (high: number, low: number) => boolean): bigint[] {
    const found: bigint[] = []
    this.#forEachWords(0, this.#lines, (high, low, value) => {
      if ((value & BLOCK_64) === tag && wanted(high, low)) found.push((BigInt(high) << UPPER) | BigInt(low))
    })
    return found
  }

  /** Whether `looks` separate lookups are faster than a scan of the whole table. */
  isCheaper(looks: bigint): boolean {
    return looks * BigInt(SCANNED_A_LOOK) < BigInt(this.#blocks.buckets * BLOCK_SLOTS)
  }

  /** Rebuilds the table, with one more entry if given. */
  #rebuild(prefix?: bigint, value?: number): void {
    const high = new Uint32Array(this.#count)
    const low = new Uint32Array(this.#count)
    const values = new Uint32Array(this.#count)
    let length = 0
    const add = (upper: number, lower: number, its: number): void => {
      high[length] = upper
      low[length] = lower
      values[length++] = its
    }
    this.#forEachWords(0, this.#lines, add)
    if (prefix !== undefined && value !== undefined) add(Number(prefix >> UPPER), Number(prefix & LOWER), value)
    this.#blocks = encodeBlocks({ length, high, low, values })
    this.#multiplier = multiplierFrom(this.#blocks.multiplier)
    this.#words = new Draft(this.#blocks.words)
    this.#filter = new Draft(this.#blocks.filter)
    this.#left.clear()
  }

  /** Clears the bits of empty cells. Prefixes of one cell lie side by side, because buckets follow the hash. */
  #clearCells(): void {
    const { filterShift: shift, buckets } = this.#blocks
    const filter = this.#filter.edit()
    for (const cell of this.#left) {
      const first = bucketOf((cell << shift) >>> 0, buckets)
      const last = bucketOf((((cell + 1) << shift) - 1) >>> 0, buckets)
      let isEmpty = true
      this.#forEachWords(first, last + BLOCK_PROBES, (high, low) => {
        if (hashOf(high, low, this.#multiplier) >>> shift === cell) isEmpty = false
      })
      if (isEmpty) clearBit(filter, cell)
    }
  }

  /** The table after the edits. */
  finish(): Blocks {
    if (this.#count === 0) return NO_BLOCKS
    if (isMisfit(this.#count, this.#blocks.buckets, BLOCK_SLOTS)) this.#rebuild()
    if (this.#left.size > 0) this.#clearCells()
    return { ...this.#blocks, count: this.#count, words: this.#words.words, filter: this.#filter.words }
  }
}
