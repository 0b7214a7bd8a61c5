// Cells: aligned blocks of 2^cellBits addresses that move from a partition to a hash table, with one value or with a
// tree of their content. Each step has its reverse; decoding takes these in the opposite order.

import { compareBounds, sortedOrder } from '../../model/ranges.ts'
import { addToBound, type Partition, PartitionBuilder, type Width } from '../classes/partition.ts'
import { corrupt } from '../lines/lines.ts'

/** Cells taken out of a partition: the content at `key`, 2^cellBits addresses of the partition wide. */
export interface Cells {
  readonly width: Width
  readonly length: number
  /** First address of each cell, ascending. */
  readonly keys: Uint32Array
  readonly values: Uint32Array
}

function trailingZeros(bounds: Uint32Array, i: number, width: number): number {
  for (let word = width - 1; word >= 0; word--) {
    const bits = bounds[i + word] as number
    if (bits !== 0) return (width - 1 - word) * 32 + 31 - Math.clz32(bits & -bits)
  }
  return width * 32
}

/** Whether range `i` is exactly one aligned cell that some list contains. `after` is scratch space for one bound. */
function isCell(
  { width, length, starts, values }: Partition,
  i: number,
  cellBits: number,
  after: Uint32Array,
): boolean {
  const at = i * width
  if (values[i] === 0 || ((starts[at + width - 1] as number) & (2 ** cellBits - 1)) !== 0) return false
  for (let word = 0; word < width; word++) after[word] = starts[at + word] as number
  const inside = addToBound(after, 0, width, cellBits)
  return i + 1 < length ? inside && compareBounds(after, 0, starts, at + width, width) === 0 : !inside
}

/**
 * Takes every range that is exactly one aligned cell, and not class 0, out of the partition. The gap goes to the
 * neighbour that then ends at the more aligned address, so that a prefix with a gap becomes a prefix again.
 */
export function extractCells(partition: Partition, cellBits: number): { rest: Partition; cells: Cells } {
  const { width, length, starts, values } = partition
  const rest = new PartitionBuilder(width, length)
  const keys = new Uint32Array(length * width)
  const taken = new Uint32Array(length)
  const scratch = new Uint32Array(width)
  let count = 0
  let hole = -1
  for (let i = 0; i < length; i++) {
    const at = i * width
    if (isCell(partition, i, cellBits, scratch)) {
      for (let word = 0; word < width; word++) keys[count * width + word] = starts[at + word] as number
      taken[count++] = values[i] as number
      if (hole < 0) hole = at
      continue
    }
    const early = hole >= 0 && trailingZeros(starts, hole, width) >= trailingZeros(starts, at, width)
    rest.push(starts, early ? hole : at, values[i] as number)
    hole = -1
  }
  if (rest.last === undefined) rest.push(new Uint32Array(width), 0, 0)
  return {
    rest: rest.finish(),
    cells: { width, length: count, keys: keys.subarray(0, count * width), values: taken.subarray(0, count) },
  }
}

/** Sorts cells by key. Throws XdpError E113 if two have one key. */
export function sortCells({ width, keys, values }: Cells): Cells {
  const order = sortedOrder(keys, width)
  const sortedKeys = new Uint32Array(keys.length)
  const sortedValues = new Uint32Array(order.length)
  for (let i = 0; i < order.length; i++) {
    const from = order[i] as number
    for (let word = 0; word < width; word++) sortedKeys[i * width + word] = keys[from * width + word] as number
    sortedValues[i] = values[from] as number
    if (i > 0 && compareBounds(sortedKeys, (i - 1) * width, sortedKeys, i * width, width) === 0) {
      throw corrupt('an entry occurs twice')
    }
  }
  return { width, length: order.length, keys: sortedKeys, values: sortedValues }
}

/** Puts cells back into a partition: the reverse of extractCells. */
export function insertCells(partition: Partition, cells: Cells, cellBits: number): Partition {
  const { width, length, starts, values } = partition
  const builder = new PartitionBuilder(width, length + 2 * cells.length)
  const after = new Uint32Array(width)
  let i = 0
  for (let cell = 0; cell < cells.length; cell++) {
    const at = cell * width
    while (i < length && compareBounds(starts, i * width, cells.keys, at, width) <= 0) {
      builder.push(starts, i * width, values[i] as number)
      i++
    }
    builder.push(cells.keys, at, cells.values[cell] as number)
    for (let word = 0; word < width; word++) after[word] = cells.keys[at + word] as number
    if (!addToBound(after, 0, width, cellBits)) return builder.finish()
    while (i < length && compareBounds(starts, i * width, after, 0, width) <= 0) i++
    builder.push(after, 0, values[i - 1] as number)
  }
  for (; i < length; i++) builder.push(starts, i * width, values[i] as number)
  return builder.finish()
}

/**
 * Writes the tree of one cell's ranges and returns its value. `starts` has `count` bounds inside the cell, in as many
 * words as their bits need; the first bound is 0.
 */
export type WriteTree = (starts: Uint32Array, values: Uint32Array, count: number) => number

/** Receives the bound at word `i` of `starts`, where a range with the value `value` begins. */
export type Visit = (starts: Uint32Array, i: number, value: number) => void

/** Reads a tree's ranges in ascending order, the first at bound 0. */
export type ReadTree = (tree: number, visit: Visit) => void

const grown = (array: Uint32Array): Uint32Array<ArrayBuffer> => {
  const twice = new Uint32Array(array.length * 2)
  twice.set(array)
  return twice
}

/** The number of words that hold a position inside a cell, and the mask of its bits in the first of them. */
const insideCell = (cellBits: number): { words: number; mask: number } => ({
  words: Math.ceil(cellBits / 32),
  mask: cellBits % 32 === 0 ? 0xffffffff : 2 ** (cellBits % 32) - 1,
})

/** Replaces every cell with several values by a tree. */
export function gather(partition: Partition, cellBits: number, writeTree: WriteTree): Partition {
  const { width, length, starts, values } = partition
  const { words, mask } = insideCell(cellBits)
  const first = width - words
  const isBase = (i: number): boolean =>
    ((starts[i * width + first] as number) & mask) === 0 && (words === 1 || starts[i * width + first + 1] === 0)
  const isSameCell = (i: number, j: number): boolean =>
    compareBounds(starts, i * width, starts, j * width, first) === 0 &&
    (((starts[i * width + first] as number) ^ (starts[j * width + first] as number)) & ~mask) === 0
  const builder = new PartitionBuilder(width, length)
  const base = new Uint32Array(width)
  let lows = new Uint32Array(16 * words)
  let lowValues = new Uint32Array(16)
  for (let i = 0; i < length; ) {
    if (isBase(i)) {
      builder.push(starts, i * width, values[i++] as number)
      continue
    }
    const from = i
    let count = 1
    lows.fill(0, 0, words)
    lowValues[0] = values[i - 1] as number
    for (; i < length && isSameCell(i, from); i++) {
      if (count === lowValues.length) {
        lows = grown(lows)
        lowValues = grown(lowValues)
      }
      for (let word = 0; word < words; word++) lows[count * words + word] = starts[i * width + first + word] as number
      lows[count * words] = (lows[count * words] as number) & mask
      lowValues[count++] = values[i] as number
    }
    for (let word = 0; word < width; word++) base[word] = word > first ? 0 : (starts[from * width + word] as number)
    base[first] = (base[first] as number) & ~mask
    builder.push(base, 0, writeTree(lows, lowValues, count))
    if (addToBound(base, 0, width, cellBits)) builder.push(base, 0, values[i - 1] as number)
  }
  return builder.finish()
}

/** Replaces trees by their content: the reverse of gather. */
export function refine(
  partition: Partition,
  cellBits: number,
  isTree: (value: number) => boolean,
  readTree: ReadTree,
): Partition {
  const { width, length, starts, values } = partition
  const { words, mask } = insideCell(cellBits)
  const first = width - words
  const builder = new PartitionBuilder(width, length)
  const bound = new Uint32Array(width)
  for (let i = 0; i < length; i++) {
    const value = values[i] as number
    if (!isTree(value)) {
      builder.push(starts, i * width, value)
      continue
    }
    for (let word = 0; word < width; word++) bound[word] = starts[i * width + word] as number
    const upper = ((bound[first] as number) & ~mask) >>> 0
    readTree(value, (lows, low, lowValue) => {
      if (((lows[low] as number) & ~mask) !== 0) throw corrupt('a tree extends beyond its prefix')
      bound[first] = upper | (lows[low] as number)
      if (words > 1) bound[first + 1] = lows[low + 1] as number
      builder.push(bound, 0, lowValue)
    })
  }
  return builder.finish()
}

/** Halves the width of bounds; their lower halves are all zero. */
export function narrow({ width, length, starts, values }: Partition): Partition {
  const half = (width / 2) as Width
  const upper = new Uint32Array(length * half)
  for (let i = 0; i < length; i++) {
    for (let word = 0; word < half; word++) upper[i * half + word] = starts[i * width + word] as number
  }
  return { width: half, length, starts: upper, values }
}

/** Doubles the width of bounds: the reverse of narrow. */
export function widen({ width, length, starts, values }: Partition): Partition {
  const wide = new Uint32Array(length * width * 2)
  for (let i = 0; i < length; i++) {
    for (let word = 0; word < width; word++) wide[i * width * 2 + word] = starts[i * width + word] as number
  }
  return { width: (width * 2) as Width, length, starts: wide, values }
}
