// A partition cuts the address space of one family into ranges of one value each: a class, or, on the way to a table,
// the reference to a tree. Compiling goes from all lists' ranges to a partition (sweep) and then moves what the hash
// tables take out of it (extractCells, coarsen); decoding goes back (insertCells, refine).

import type { Family, Ranges } from '../model/address.ts'
import { compareBounds, sortedOrder, WIDTH } from '../model/ranges.ts'
import { formatAddress } from '../model/text.ts'
import type { Classes } from './classes.ts'
import { corrupt } from './lines.ts'

/** Words of a bound: 1 = 32 bits, 2 = 64, 4 = 128. */
export type Width = 1 | 2 | 4

/** Range i is from bound i to just before bound i + 1 (or the end of the space); bound 0 is 0. */
export interface Partition {
  readonly width: Width
  readonly length: number
  /** `length * width` words, most significant first. */
  readonly starts: Uint32Array
  readonly values: Uint32Array
}

/** Collects the bounds of a partition in ascending order. */
export class PartitionBuilder {
  readonly width: Width
  #length = 0
  #starts: Uint32Array
  #values: Uint32Array

  constructor(width: Width, capacity = 16) {
    this.width = width
    this.#starts = new Uint32Array(Math.max(1, capacity) * width)
    this.#values = new Uint32Array(Math.max(1, capacity))
  }

  /**
   * From the bound at word `i` of `starts` on, the value is `value`; a bound equal to the last one replaces it. The
   * last given bound may be taken back by this, but none before it.
   */
  push(starts: Uint32Array, i: number, value: number): void {
    const { width } = this
    if (this.#length > 0 && compareBounds(this.#starts, (this.#length - 1) * width, starts, i, width) === 0)
      this.#length--
    if (this.#length > 0 && this.#values[this.#length - 1] === value) return
    if (this.#length === this.#values.length) this.#grow()
    for (let word = 0; word < width; word++) this.#starts[this.#length * width + word] = starts[i + word] as number
    this.#values[this.#length++] = value
  }

  /** The value of the last range; undefined before the first push. */
  get last(): number | undefined {
    return this.#length === 0 ? undefined : this.#values[this.#length - 1]
  }

  #grow(): void {
    const starts = new Uint32Array(this.#starts.length * 2)
    const values = new Uint32Array(this.#values.length * 2)
    starts.set(this.#starts)
    values.set(this.#values)
    this.#starts = starts
    this.#values = values
  }

  finish(): Partition {
    return {
      width: this.width,
      length: this.#length,
      starts: this.#starts.subarray(0, this.#length * this.width),
      values: this.#values.subarray(0, this.#length),
    }
  }
}

/** Where membership changes: at bound i the part `parts[i]` begins or stops to cover. Ascending. */
interface Events {
  readonly bounds: Uint32Array
  readonly parts: Uint32Array
}

/** Adds 2^bits to the bound at word `i`, in place; false where that leaves the address space. */
function add(bounds: Uint32Array, i: number, width: number, bits: number): boolean {
  let carry = 2 ** (bits % 32)
  for (let word = width - 1 - (bits >>> 5); word >= 0; word--) {
    const sum = (bounds[i + word] as number) + carry
    bounds[i + word] = sum
    if (sum <= 0xffffffff) return true
    carry = 1
  }
  return false
}

function eventsOf(ranges: Ranges, part: number): Events {
  const width = WIDTH[ranges.family]
  const bounds = new Uint32Array(ranges.length * 2 * width)
  let at = 0
  for (let i = 0; i < ranges.start.length; i += width) {
    for (let word = 0; word < width; word++) {
      bounds[at + word] = ranges.start[i + word] as number
      bounds[at + width + word] = ranges.end[i + word] as number
    }
    // Only the last range can end where the space does; it has no second event.
    at += add(bounds, at + width, width, 0) ? 2 * width : width
  }
  return { bounds: bounds.subarray(0, at), parts: new Uint32Array(at / width).fill(part) }
}

function mergeEvents(a: Events, b: Events, width: number): Events {
  const length = a.parts.length + b.parts.length
  const bounds = new Uint32Array(length * width)
  const parts = new Uint32Array(length)
  let i = 0
  let j = 0
  for (let at = 0; at < length; at++) {
    const takeA =
      j === b.parts.length ||
      (i < a.parts.length && compareBounds(a.bounds, i * width, b.bounds, j * width, width) <= 0)
    const from = takeA ? a : b
    const index = takeA ? i++ : j++
    for (let word = 0; word < width; word++) bounds[at * width + word] = from.bounds[index * width + word] as number
    parts[at] = from.parts[index] as number
  }
  return { bounds, parts }
}

/** Merges halves of halves: every event is copied log2(parts) times. */
function allEvents(parts: readonly Ranges[], from: number, to: number, width: number): Events {
  if (to - from === 0) return { bounds: new Uint32Array(0), parts: new Uint32Array(0) }
  if (to - from === 1) return eventsOf(parts[from] as Ranges, from)
  const middle = (from + to) >>> 1
  return mergeEvents(allEvents(parts, from, middle, width), allEvents(parts, middle, to, width), width)
}

/**
 * The partition of a family's space by the set of parts that cover an address, each set a class.
 *
 * @param parts the ranges of every part, by part number
 * @throws XdpError E202, E204 as Classes.create
 */
export function sweep(family: Family, parts: readonly Ranges[], classes: Classes): Partition {
  const width = WIDTH[family]
  const events = allEvents(parts, 0, parts.length, width)
  const builder = new PartitionBuilder(width, events.parts.length + 1)
  builder.push(new Uint32Array(width), 0, 0)
  let node = 0
  for (let i = 0; i < events.parts.length; i++) {
    node = classes.toggle(node, events.parts[i] as number)
    const at = i * width
    const next = i + 1 < events.parts.length && compareBounds(events.bounds, at, events.bounds, at + width, width) === 0
    if (next) continue
    const known = classes.find(node)
    const value = known < 0 ? classes.create(node, () => formatAddress(family, events.bounds, at)) : known
    builder.push(events.bounds, at, value)
  }
  return builder.finish()
}

/** Cells that were taken out of a partition: what lies at `key`, 2^cellBits addresses of the partition wide. */
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

/** Whether range `i` is exactly one aligned cell that is in some list. `after` is scratch of one bound. */
function isCell(
  { width, length, starts, values }: Partition,
  i: number,
  cellBits: number,
  after: Uint32Array,
): boolean {
  const at = i * width
  if (values[i] === 0 || ((starts[at + width - 1] as number) & (2 ** cellBits - 1)) !== 0) return false
  for (let word = 0; word < width; word++) after[word] = starts[at + word] as number
  const inside = add(after, 0, width, cellBits)
  return i + 1 < length ? inside && compareBounds(after, 0, starts, at + width, width) === 0 : !inside
}

/**
 * Takes every range that is exactly one aligned cell, and not class 0, out of the partition. The hole goes to the
 * neighbour that thereby ends at the rounder address, so that a prefix with a hole becomes a prefix again.
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

/** Cells in ascending order. Throws XdpError E113 where two have one key. */
export function sortCells({ width, keys, values }: Cells): Cells {
  const order = sortedOrder(keys, width)
  const sortedKeys = new Uint32Array(keys.length)
  const sortedValues = new Uint32Array(order.length)
  for (let i = 0; i < order.length; i++) {
    const from = order[i] as number
    for (let word = 0; word < width; word++) sortedKeys[i * width + word] = keys[from * width + word] as number
    sortedValues[i] = values[from] as number
    if (i > 0 && compareBounds(sortedKeys, (i - 1) * width, sortedKeys, i * width, width) === 0) {
      throw corrupt('an entry is there twice')
    }
  }
  return { width, length: order.length, keys: sortedKeys, values: sortedValues }
}

/** Puts cells over a partition: the reverse of extractCells. */
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
    if (!add(after, 0, width, cellBits)) return builder.finish()
    while (i < length && compareBounds(starts, i * width, after, 0, width) <= 0) i++
    builder.push(after, 0, values[i - 1] as number)
  }
  for (; i < length; i++) builder.push(starts, i * width, values[i] as number)
  return builder.finish()
}

/** Writes the tree of one cell's ranges, `count` bounds of which the first is 0, and returns its value. */
export type WriteTree = (starts: Uint32Array, values: Uint32Array, count: number) => number

/** Takes the bound at word `i` of `starts`, from which on the value is `value`. */
export type Visit = (starts: Uint32Array, i: number, value: number) => void

/** Reads a tree's ranges in ascending order, the first at bound 0. */
export type ReadTree = (tree: number, visit: Visit) => void

const grown = (array: Uint32Array): Uint32Array<ArrayBuffer> => {
  const twice = new Uint32Array(array.length * 2)
  twice.set(array)
  return twice
}

/** The partition in half as wide bounds: cells of the upper half that hold several values get a tree over the lower. */
export function coarsen(partition: Partition, writeTree: WriteTree): Partition {
  const { width, length, starts, values } = partition
  const half = (width / 2) as Width
  const builder = new PartitionBuilder(half, length)
  const bound = new Uint32Array(half)
  const zero = new Uint32Array(half)
  let lows = new Uint32Array(16 * half)
  let lowValues = new Uint32Array(16)
  for (let i = 0; i < length; ) {
    const at = i * width
    if (compareBounds(starts, at + half, zero, 0, half) === 0) {
      builder.push(starts, at, values[i++] as number)
      continue
    }
    let count = 1
    lows.fill(0, 0, half)
    lowValues[0] = values[i - 1] as number
    for (; i < length && compareBounds(starts, i * width, starts, at, half) === 0; i++) {
      if (count === lowValues.length) {
        lows = grown(lows)
        lowValues = grown(lowValues)
      }
      for (let word = 0; word < half; word++) lows[count * half + word] = starts[i * width + half + word] as number
      lowValues[count++] = values[i] as number
    }
    builder.push(starts, at, writeTree(lows, lowValues, count))
    for (let word = 0; word < half; word++) bound[word] = starts[at + word] as number
    if (add(bound, 0, half, 0)) builder.push(bound, 0, values[i - 1] as number)
  }
  return builder.finish()
}

/** The partition in twice as wide bounds, trees replaced by what they hold: the reverse of coarsen. */
export function refine(partition: Partition, isTree: (value: number) => boolean, readTree: ReadTree): Partition {
  const { width, length, starts, values } = partition
  const builder = new PartitionBuilder((width * 2) as Width, length)
  const bound = new Uint32Array(width * 2)
  for (let i = 0; i < length; i++) {
    for (let word = 0; word < width; word++) bound[word] = starts[i * width + word] as number
    bound.fill(0, width)
    const value = values[i] as number
    if (!isTree(value)) {
      builder.push(bound, 0, value)
      continue
    }
    readTree(value, (lows, low, lowValue) => {
      for (let word = 0; word < width; word++) bound[width + word] = lows[low + word] as number
      builder.push(bound, 0, lowValue)
    })
  }
  return builder.finish()
}
