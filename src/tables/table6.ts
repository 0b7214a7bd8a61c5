// The IPv6 table (struct table6): prefixes of 64, 48 and 32 bits in one hash behind a bitmap filter, where the longest
// that is there wins; those with several classes inside lead to a tree; everything else is a root with range lines
// over the top 32 bits.

import {
  BLOCK_32,
  BLOCK_48,
  BLOCK_64,
  BLOCK_PROBES,
  blockLineCodec,
  TABLE_FLAG,
  type Table6,
  VALUE_MASK,
  VALUE_TREE,
} from '../abi/generated.ts'
import { type Cells, extractCells, gather, insertCells, narrow, refine, sortCells, widen } from './cells.ts'
import { bucketOf, hashOf, isReachable, type Multiplier, multiplierFrom, multiplierValue, place } from './hash.ts'
import {
  corrupt,
  filterShift,
  HIGH,
  hasBit,
  isFilter,
  LINE_WORDS,
  LineWriter,
  LOW,
  makeFilter,
  makeLines,
  setBit,
} from './lines.ts'
import { type Partition, PartitionBuilder } from './partition.ts'
import { decodeRoot, encodeRoot } from './root.ts'
import { DEEP_NODE, RUN_NODE, treeReader, treeWriter } from './trees.ts'

const PREFIX = blockLineCodec.offsets.prefix / 4
const VALUE = blockLineCodec.offsets.value / 4
const OVERFLOW = blockLineCodec.offsets.overflow / 4
const SLOTS = (blockLineCodec.offsets.value - blockLineCodec.offsets.prefix) / 8

/** Cells of the filter: at least this many for each prefix, because a miss asks up to three times. */
const CELLS_A_BLOCK = 16
const MAX_CELL_BITS = 27

/** The table's sections; lengths are whole lines, 0 where there is nothing. */
export interface Sections6 {
  readonly filter: Uint32Array
  readonly blocks: Uint32Array
  readonly root: Uint32Array
  readonly ranges: Uint32Array
  readonly trees: Uint32Array
}

/** What the table's line says, except where its sections lie. */
export type Shape6 = Pick<Table6, 'multiplier' | 'block_lines' | 'filter_shift' | 'root_shift' | 'flags'>

/** Blocks as the hash holds them: prefixes as numbers, values as in struct block_line. */
interface Blocks {
  readonly length: number
  readonly high: Uint32Array
  readonly low: Uint32Array
  readonly values: Uint32Array
}

const NONE = new Uint32Array(0)

/** Compiles a partition of the IPv6 space into classes. */
export function compileTable6(partition: Partition): { shape: Shape6; sections: Sections6 } {
  const trees = new LineWriter()
  const writeRun = treeWriter(RUN_NODE, trees)
  const by64 = extractCells(narrow(gather(partition, 64, treeWriter(DEEP_NODE, trees))), 0)
  const by48 = extractCells(gather(by64.rest, 16, writeRun), 16)
  const by32 = extractCells(narrow(gather(by48.rest, 32, writeRun)), 0)
  const hasRanges = by32.rest.length > 1 || by32.rest.values[0] !== 0
  const root = hasRanges ? encodeRoot(by32.rest) : { shift: 16, root: NONE, ranges: NONE }
  const hash = encodeBlocks(joinBlocks(by64.cells, by48.cells, by32.cells))
  const flag = (cells: Cells, value: number): number => (cells.length > 0 ? value : 0)
  return {
    shape: {
      multiplier: hash.multiplier,
      block_lines: hash.buckets,
      filter_shift: hash.shift,
      root_shift: root.shift,
      flags:
        flag(by64.cells, TABLE_FLAG['64']) |
        flag(by48.cells, TABLE_FLAG['48']) |
        flag(by32.cells, TABLE_FLAG['32']) |
        (hasRanges ? TABLE_FLAG.RANGES : 0),
    },
    sections: { filter: hash.filter, blocks: hash.words, root: root.root, ranges: root.ranges, trees: trees.finish() },
  }
}

function joinBlocks(by64: Cells, by48: Cells, by32: Cells): Blocks {
  const length = by64.length + by48.length + by32.length
  const high = new Uint32Array(length)
  const low = new Uint32Array(length)
  const values = new Uint32Array(length)
  let at = 0
  for (let i = 0; i < by64.length; i++) {
    high[at] = by64.keys[i * 2] as number
    low[at] = by64.keys[i * 2 + 1] as number
    values[at++] = (BLOCK_64 | (by64.values[i] as number)) >>> 0
  }
  for (let i = 0; i < by48.length; i++) {
    high[at] = (by48.keys[i * 2] as number) >>> 16
    low[at] = ((by48.keys[i * 2] as number) << 16) | ((by48.keys[i * 2 + 1] as number) >>> 16)
    values[at++] = (BLOCK_48 | (by48.values[i] as number)) >>> 0
  }
  for (let i = 0; i < by32.length; i++) {
    low[at] = by32.keys[i] as number
    values[at++] = (BLOCK_32 | (by32.values[i] as number)) >>> 0
  }
  return { length, high, low, values }
}

interface EncodedBlocks {
  readonly multiplier: bigint
  readonly buckets: number
  readonly shift: number
  readonly words: Uint32Array
  readonly filter: Uint32Array
}

function encodeBlocks(blocks: Blocks): EncodedBlocks {
  const { length, high, low, values } = blocks
  if (length === 0) return { multiplier: 1n, buckets: 0, shift: 31, words: NONE, filter: NONE }
  const { multiplier, buckets, lines, places, overflow } = place(blocks, SLOTS, BLOCK_PROBES)
  const words = makeLines(lines)
  for (let i = 0; i < length; i++) {
    const at = places[i] as number
    const line = Math.floor(at / SLOTS)
    const slot = at - line * SLOTS
    words[line * LINE_WORDS + PREFIX + slot * 2 + HIGH] = high[i] as number
    words[line * LINE_WORDS + PREFIX + slot * 2 + LOW] = low[i] as number
    words[line * LINE_WORDS + VALUE + slot] = values[i] as number
  }
  for (let line = 0; line < lines; line++) words[line * LINE_WORDS + OVERFLOW] = overflow[line] as number
  return { multiplier: multiplierValue(multiplier), buckets, words, ...encodeFilter(blocks, multiplier) }
}

function encodeFilter({ length, high, low }: Blocks, multiplier: Multiplier): { shift: number; filter: Uint32Array } {
  const shift = filterShift(length, CELLS_A_BLOCK, MAX_CELL_BITS)
  const filter = makeFilter(shift)
  for (let i = 0; i < length; i++) setBit(filter, hashOf(high[i] as number, low[i] as number, multiplier) >>> shift)
  return { shift, filter }
}

/**
 * The partition that a reader of the table sees: what the filter hides or probing cannot reach is not in it.
 *
 * @throws XdpError E113 where the sections are no table
 */
export function decodeTable6(shape: Shape6, sections: Sections6): Partition {
  const { flags } = shape
  const nothing = new PartitionBuilder(1)
  nothing.push(new Uint32Array(1), 0, 0)
  const visited = new Uint8Array(sections.trees.length / LINE_WORDS)
  const { by64, by48, by32 } = decodeBlocks(shape, sections)
  const of32 =
    flags & TABLE_FLAG.RANGES
      ? decodeRoot({ shift: shape.root_shift, root: sections.root, ranges: sections.ranges })
      : nothing.finish()
  const readRun = treeReader(RUN_NODE, sections.trees, visited)
  const with32 = refine(widen(insertCells(of32, by32, 0)), 32, isTree, readRun)
  const with48 = refine(insertCells(with32, by48, 16), 16, isTree, readRun)
  return refine(widen(insertCells(with48, by64, 0)), 64, isTree, treeReader(DEEP_NODE, sections.trees, visited))
}

const isTree = (value: number): boolean => (value & VALUE_TREE) !== 0

function decodeBlocks(shape: Shape6, { filter, blocks }: Sections6): { by64: Cells; by48: Cells; by32: Cells } {
  const { block_lines: buckets, filter_shift: shift, flags } = shape
  const lines = blocks.length / LINE_WORDS
  const multiplier = multiplierFrom(shape.multiplier)
  const hasBlocks = (flags & (TABLE_FLAG['32'] | TABLE_FLAG['48'] | TABLE_FLAG['64'])) !== 0
  if (hasBlocks && (lines !== buckets + BLOCK_PROBES - 1 || !isFilter(filter, shift))) {
    throw corrupt('the hash of prefixes has the wrong size')
  }
  const overflows = (line: number): boolean => blocks[line * LINE_WORDS + OVERFLOW] !== 0
  const read = (tag: number, flag: number, maxHigh: number): Blocks => {
    const high = new Uint32Array(lines * SLOTS)
    const low = new Uint32Array(lines * SLOTS)
    const values = new Uint32Array(lines * SLOTS)
    let length = 0
    for (let line = 0; line < lines && (flags & flag) !== 0; line++) {
      for (let slot = 0; slot < SLOTS; slot++) {
        const value = blocks[line * LINE_WORDS + VALUE + slot] as number
        if ((value & BLOCK_64) !== tag) continue
        high[length] = blocks[line * LINE_WORDS + PREFIX + slot * 2 + HIGH] as number
        low[length] = blocks[line * LINE_WORDS + PREFIX + slot * 2 + LOW] as number
        const hash = hashOf(high[length] as number, low[length] as number, multiplier)
        if (!isReachable(bucketOf(hash, buckets), line, BLOCK_PROBES, overflows) || !hasBit(filter, hash >>> shift))
          continue
        if ((high[length] as number) > maxHigh) continue
        values[length++] = (value & (VALUE_TREE | VALUE_MASK)) >>> 0
      }
    }
    return { length, high, low, values }
  }
  return {
    by64: cellsOf(read(BLOCK_64, TABLE_FLAG['64'], 0xffffffff), 64),
    by48: cellsOf(read(BLOCK_48, TABLE_FLAG['48'], 0xffff), 48),
    by32: cellsOf(read(BLOCK_32, TABLE_FLAG['32'], 0), 32),
  }
}

/** Prefixes of one length as cells: the reverse of joinBlocks. */
function cellsOf({ length, high, low, values }: Blocks, bits: 32 | 48 | 64): Cells {
  if (bits === 32) return sortCells({ width: 1, length, keys: low.subarray(0, length), values })
  const keys = new Uint32Array(length * 2)
  for (let i = 0; i < length; i++) {
    keys[i * 2] = bits === 64 ? (high[i] as number) : ((high[i] as number) << 16) | ((low[i] as number) >>> 16)
    keys[i * 2 + 1] = bits === 64 ? (low[i] as number) : (low[i] as number) << 16
  }
  return sortCells({ width: 2, length, keys, values })
}
