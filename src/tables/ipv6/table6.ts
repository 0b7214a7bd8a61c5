// The IPv6 table (struct table6): prefixes of 64, 48 and 32 bits in one hash behind a bitmap filter, where the longest
// match wins. A prefix with several classes inside leads to a tree; everything else is a root with range lines over the
// top 32 bits.

import { BLOCK_32, BLOCK_48, BLOCK_64, TABLE_FLAG, type Table6, VALUE_TREE } from '../../abi/generated.ts'
import { type Partition, PartitionBuilder } from '../classes/partition.ts'
import { LINE_WORDS, LineWriter } from '../lines/lines.ts'
import { type Cells, extractCells, gather, insertCells, narrow, refine, sortCells, widen } from '../ranges/cells.ts'
import { decodeRoot, encodeRoot, NO_ROOT, type Root } from '../ranges/root.ts'
import { DEEP_NODE, RUN_NODE, treeReader, treeWriter } from '../ranges/trees.ts'
import { type BlockColumns, type Blocks, decodeBlocks, encodeBlocks, type Tag } from './blocks.ts'

/** The table's sections; lengths are whole lines, 0 if empty. */
export interface Sections6 {
  readonly filter: Uint32Array
  readonly blocks: Uint32Array
  readonly root: Uint32Array
  readonly ranges: Uint32Array
  readonly trees: Uint32Array
}

/** Content of the table's line, without positions of sections. */
export type Shape6 = Pick<
  Table6,
  'multiplier' | 'block_lines' | 'block_count' | 'filter_shift' | 'root_shift' | 'flags'
>

export interface Tables6 {
  readonly blocks: Blocks
  /** Lengths of the prefixes in `blocks`: enum table_flag. */
  readonly lengths: number
  readonly root: Root
  readonly trees: Uint32Array
}

const NONE = new Uint32Array(0)

export const FLAG_OF: Readonly<Record<Tag, number>> = {
  [BLOCK_64]: TABLE_FLAG['64'],
  [BLOCK_48]: TABLE_FLAG['48'],
  [BLOCK_32]: TABLE_FLAG['32'],
}
const ALL_LENGTHS = TABLE_FLAG['64'] | TABLE_FLAG['48'] | TABLE_FLAG['32']

/** Packs a compiled table: its sections, and their description in its line. */
export const packTable6 = ({ blocks, lengths, root, trees }: Tables6): { shape: Shape6; sections: Sections6 } => ({
  shape: {
    multiplier: blocks.multiplier,
    block_lines: blocks.buckets,
    block_count: blocks.count,
    filter_shift: blocks.filterShift,
    root_shift: root.shift,
    flags: lengths | (root.root.length > 0 ? TABLE_FLAG.RANGES : 0),
  },
  sections: { filter: blocks.filter, blocks: blocks.words, root: root.root, ranges: root.ranges, trees },
})

/** The reverse of packTable6. */
export const unpackTable6 = (shape: Shape6, { filter, blocks, root, ranges, trees }: Sections6): Tables6 => ({
  blocks: {
    multiplier: shape.multiplier,
    buckets: shape.block_lines,
    count: shape.block_count,
    words: blocks,
    filter,
    filterShift: shape.filter_shift,
  },
  lengths: shape.flags & ALL_LENGTHS,
  root: { shift: shape.root_shift, root, ranges },
  trees,
})

/** Compiles a partition of the IPv6 space into classes. */
export function compileTable6(partition: Partition): { shape: Shape6; sections: Sections6 } {
  const trees = new LineWriter()
  const writeRun = treeWriter(RUN_NODE, trees)
  const by64 = extractCells(narrow(gather(partition, 64, treeWriter(DEEP_NODE, trees))), 0)
  const by48 = extractCells(gather(by64.rest, 16, writeRun), 16)
  const by32 = extractCells(narrow(gather(by48.rest, 32, writeRun)), 0)
  const hasRanges = by32.rest.length > 1 || by32.rest.values[0] !== 0
  const flag = (cells: Cells, tag: Tag): number => (cells.length > 0 ? FLAG_OF[tag] : 0)
  return packTable6({
    blocks: encodeBlocks(joinBlocks(by64.cells, by48.cells, by32.cells)),
    lengths: flag(by64.cells, BLOCK_64) | flag(by48.cells, BLOCK_48) | flag(by32.cells, BLOCK_32),
    root: hasRanges ? encodeRoot(by32.rest) : NO_ROOT,
    trees: trees.finish(),
  })
}

function joinBlocks(by64: Cells, by48: Cells, by32: Cells): BlockColumns {
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

/**
 * The partition that a reader of the table sees: without prefixes hidden by the filter or out of reach of probing.
 *
 * @throws XdpError E113 if the sections are not a valid table
 */
export function decodeTable6(shape: Shape6, sections: Sections6): Partition {
  const { blocks, lengths, root } = unpackTable6(shape, sections)
  const nothing = new PartitionBuilder(1)
  nothing.push(new Uint32Array(1), 0, 0)
  const visited = new Uint8Array(sections.trees.length / LINE_WORDS)
  const cells = (tag: Tag, bits: 32 | 48 | 64): Cells =>
    cellsOf(lengths & FLAG_OF[tag] ? decodeBlocks(blocks, tag) : NO_COLUMNS, bits)
  const of32 = shape.flags & TABLE_FLAG.RANGES ? decodeRoot(root) : nothing.finish()
  const readRun = treeReader(RUN_NODE, sections.trees, visited)
  const with32 = refine(widen(insertCells(of32, cells(BLOCK_32, 32), 0)), 32, isTree, readRun)
  const with48 = refine(insertCells(with32, cells(BLOCK_48, 48), 16), 16, isTree, readRun)
  return refine(
    widen(insertCells(with48, cells(BLOCK_64, 64), 0)),
    64,
    isTree,
    treeReader(DEEP_NODE, sections.trees, visited),
  )
}

const isTree = (value: number): boolean => (value & VALUE_TREE) !== 0

const NO_COLUMNS: BlockColumns = { length: 0, high: NONE, low: NONE, values: NONE }

/** Cells of one prefix length: the reverse of joinBlocks. */
function cellsOf({ length, high, low, values }: BlockColumns, bits: 32 | 48 | 64): Cells {
  if (bits === 32) return sortCells({ width: 1, length, keys: low.subarray(0, length), values })
  const keys = new Uint32Array(length * 2)
  for (let i = 0; i < length; i++) {
    keys[i * 2] = bits === 64 ? (high[i] as number) : ((high[i] as number) << 16) | ((low[i] as number) >>> 16)
    keys[i * 2 + 1] = bits === 64 ? (low[i] as number) : (low[i] as number) << 16
  }
  return sortCells({ width: 2, length, keys, values })
}
