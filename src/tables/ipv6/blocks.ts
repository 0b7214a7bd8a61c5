// IPv6 prefixes of 64, 48 and 32 bits in a hash with one line per bucket (struct block_line), and the bitmap in front
// of it.

import {
  BLOCK_32,
  BLOCK_48,
  BLOCK_64,
  BLOCK_PROBES,
  blockLineCodec,
  VALUE_MASK,
  VALUE_TREE,
} from '../../abi/generated.ts'
import {
  bucketOf,
  hashOf,
  isReachable,
  type Multiplier,
  multiplierFrom,
  multiplierValue,
  place,
} from '../lines/hash.ts'
import {
  corrupt,
  filterShift,
  HIGH,
  hasBit,
  isFilter,
  LINE_WORDS,
  LOW,
  makeFilter,
  makeLines,
  setBit,
} from '../lines/lines.ts'

const PREFIX = blockLineCodec.offsets.prefix / 4
const VALUE = blockLineCodec.offsets.value / 4
export const BLOCK_OVERFLOW = blockLineCodec.offsets.overflow / 4
export const BLOCK_SLOTS = (blockLineCodec.offsets.value - blockLineCodec.offsets.prefix) / 8

/** Indexes of a slot's prefix (upper and lower half) and value in the words of a section. */
export const highAt = (line: number, slot: number): number => line * LINE_WORDS + PREFIX + slot * 2 + HIGH
export const lowAt = (line: number, slot: number): number => line * LINE_WORDS + PREFIX + slot * 2 + LOW
export const valueAt = (line: number, slot: number): number => line * LINE_WORDS + VALUE + slot

/** Minimum of bitmap cells per prefix; high, because a miss asks up to three times. */
const CELLS_A_BLOCK = 16
const MAX_CELL_BITS = 27

/** Length of a prefix, as the upper bits of its value. */
export type Tag = typeof BLOCK_32 | typeof BLOCK_48 | typeof BLOCK_64

/** Columns of prefixes, as numbers, and of values, as in struct block_line. */
export interface BlockColumns {
  readonly length: number
  readonly high: Uint32Array
  readonly low: Uint32Array
  readonly values: Uint32Array
}

export interface Blocks {
  readonly multiplier: bigint
  readonly buckets: number
  readonly count: number
  readonly words: Uint32Array
  readonly filter: Uint32Array
  readonly filterShift: number
}

const NONE = new Uint32Array(0)
export const NO_BLOCKS: Blocks = { multiplier: 1n, buckets: 0, count: 0, words: NONE, filter: NONE, filterShift: 31 }

export function encodeBlocks(blocks: BlockColumns): Blocks {
  const { length, high, low, values } = blocks
  if (length === 0) return NO_BLOCKS
  const { multiplier, buckets, lines, places, overflow } = place(blocks, BLOCK_SLOTS, BLOCK_PROBES)
  const words = makeLines(lines)
  for (let i = 0; i < length; i++) {
    const at = places[i] as number
    const line = Math.floor(at / BLOCK_SLOTS)
    const slot = at - line * BLOCK_SLOTS
    words[highAt(line, slot)] = high[i] as number
    words[lowAt(line, slot)] = low[i] as number
    words[valueAt(line, slot)] = values[i] as number
  }
  for (let line = 0; line < lines; line++) words[line * LINE_WORDS + BLOCK_OVERFLOW] = overflow[line] as number
  return { multiplier: multiplierValue(multiplier), buckets, count: length, words, ...encodeFilter(blocks, multiplier) }
}

function encodeFilter(
  { length, high, low }: BlockColumns,
  multiplier: Multiplier,
): Pick<Blocks, 'filter' | 'filterShift'> {
  const shift = filterShift(length, CELLS_A_BLOCK, MAX_CELL_BITS)
  const filter = makeFilter(shift)
  for (let i = 0; i < length; i++) setBit(filter, hashOf(high[i] as number, low[i] as number, multiplier) >>> shift)
  return { filter, filterShift: shift }
}

/** Largest upper half of a prefix as a number. */
const MOST_HIGH: Readonly<Record<Tag, number>> = { [BLOCK_64]: 0xffffffff, [BLOCK_48]: 0xffff, [BLOCK_32]: 0 }

/**
 * The prefixes of one length that a reader finds, with values without their tag.
 *
 * @throws XdpError E113 if it is not a valid table
 */
export function decodeBlocks(blocks: Blocks, tag: Tag): BlockColumns {
  const { words, filter, filterShift: shift, buckets } = blocks
  const lines = words.length / LINE_WORDS
  const multiplier = multiplierFrom(blocks.multiplier)
  if (lines !== buckets + BLOCK_PROBES - 1 || !isFilter(filter, shift)) {
    throw corrupt('the hash of prefixes has the wrong size')
  }
  const overflows = (line: number): boolean => words[line * LINE_WORDS + BLOCK_OVERFLOW] !== 0
  const high = new Uint32Array(lines * BLOCK_SLOTS)
  const low = new Uint32Array(lines * BLOCK_SLOTS)
  const values = new Uint32Array(lines * BLOCK_SLOTS)
  let length = 0
  for (let line = 0; line < lines; line++) {
    for (let slot = 0; slot < BLOCK_SLOTS; slot++) {
      const value = words[valueAt(line, slot)] as number
      if ((value & BLOCK_64) !== tag) continue
      high[length] = words[highAt(line, slot)] as number
      low[length] = words[lowAt(line, slot)] as number
      const hash = hashOf(high[length] as number, low[length] as number, multiplier)
      const isFound =
        isReachable(bucketOf(hash, buckets), line, BLOCK_PROBES, overflows) && hasBit(filter, hash >>> shift)
      if (!isFound || (high[length] as number) > MOST_HIGH[tag]) continue
      values[length++] = (value & (VALUE_TREE | VALUE_MASK)) >>> 0
    }
  }
  return { length, high, low, values }
}
