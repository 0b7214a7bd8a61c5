// A partition divides an address space into ranges with one value each: a class, or, while tables are encoded or
// decoded, a reference to a tree. The sweep builds it from the ranges of all lists; cells.ts moves parts of it to hash
// tables and trees.

import type { Family, Ranges } from '../../model/address.ts'
import { compareBounds, WIDTH } from '../../model/ranges.ts'
import { formatAddress } from '../../model/text.ts'
import type { Sets } from './classes.ts'

/** Words of a bound: 1 = 32 bits, 2 = 64, 4 = 128. */
export type Width = 1 | 2 | 4

/** Range i extends from bound i to just before bound i + 1, or to the end of the space; bound 0 is 0. */
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
   * Starts a range with `value` at the bound at word `i` of `starts`; replaces the last bound if equal. Only the last
   * bound can be replaced.
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

/** Changes of membership: at bound i the part `parts[i]` begins or ends. Ascending. */
interface Events {
  readonly bounds: Uint32Array
  readonly parts: Uint32Array
}

/** Adds 2^bits to the bound at word `i`, in place; returns false on overflow of the address space. */
export function addToBound(bounds: Uint32Array, i: number, width: number, bits: number): boolean {
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
    // Only the last range can end at the end of the space; it has no second event.
    at += addToBound(bounds, at + width, width, 0) ? 2 * width : width
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

/** Merges recursively by halves: every event is copied log2(parts) times. */
function allEvents(parts: readonly Ranges[], from: number, to: number, width: number): Events {
  if (to - from === 0) return { bounds: new Uint32Array(0), parts: new Uint32Array(0) }
  if (to - from === 1) return eventsOf(parts[from] as Ranges, from)
  const middle = (from + to) >>> 1
  return mergeEvents(allEvents(parts, from, middle, width), allEvents(parts, middle, to, width), width)
}

/** Sweeps the ranges of one part alone, which already are a partition except for the gaps. */
function sweepAlone(ranges: Ranges, part: number, sets: Sets): Partition {
  const width = WIDTH[ranges.family]
  const { bounds, parts } = eventsOf(ranges, part)
  const node = sets.toggle(0, part)
  const known = sets.find(node)
  const value = known < 0 ? sets.create(node, () => formatAddress(ranges.family, bounds, 0)) : known
  const lead = bounds.subarray(0, width).some((word) => word !== 0) ? 1 : 0
  const starts = new Uint32Array(bounds.length + lead * width)
  starts.set(bounds, lead * width)
  const values = new Uint32Array(parts.length + lead)
  for (let i = lead; i < values.length; i += 2) values[i] = value
  return { width, length: values.length, starts, values }
}

/**
 * Partitions a family's space by the set of parts that cover an address; the values are those of `sets`.
 *
 * @param parts the ranges of every part, by part number
 * @throws errors of `sets.create`
 */
export function sweep(family: Family, parts: readonly Ranges[], sets: Sets): Partition {
  const width = WIDTH[family]
  const covering = parts.flatMap(({ length }, part) => (length > 0 ? [part] : []))
  const [only] = covering
  if (only !== undefined && covering.length === 1) return sweepAlone(parts[only] as Ranges, only, sets)
  const events = allEvents(parts, 0, parts.length, width)
  const builder = new PartitionBuilder(width, events.parts.length + 1)
  builder.push(new Uint32Array(width), 0, 0)
  let node = 0
  for (let i = 0; i < events.parts.length; i++) {
    node = sets.toggle(node, events.parts[i] as number)
    const at = i * width
    const next = i + 1 < events.parts.length && compareBounds(events.bounds, at, events.bounds, at + width, width) === 0
    if (next) continue
    const known = sets.find(node)
    const value = known < 0 ? sets.create(node, () => formatAddress(family, events.bounds, at)) : known
    builder.push(events.bounds, at, value)
  }
  return builder.finish()
}
