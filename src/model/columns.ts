// Serializes ranges as columns. Most ranges of a large list are single addresses, so their ends are not stored.

import type { Family, Ranges } from './address.ts'
import { compareBounds, sameWords, WIDTH } from './ranges.ts'

/** Number of columns of one set of ranges. */
export const RANGE_COLUMNS = 3

type Columns = readonly [start: Uint32Array, positions: Uint32Array, ends: Uint32Array]

const NONE = new Uint32Array(0)

/**
 * Returns the starts, the positions of ranges of more than one address, and the ends of those. Ranges may be in any
 * order.
 */
export function packRanges({ family, length, start, end }: Ranges): Columns {
  if (start === end || sameWords(start, end)) return [start, NONE, NONE]
  const width = WIDTH[family]
  const differs = (at: number): boolean => compareBounds(start, at * width, end, at * width, width) !== 0
  let count = 0
  for (let at = 0; at < length; at++) if (differs(at)) count++
  const positions = new Uint32Array(count)
  const ends = new Uint32Array(count * width)
  for (let at = 0, next = 0; at < length; at++) {
    if (!differs(at)) continue
    positions[next] = at
    for (let word = 0; word < width; word++) ends[next * width + word] = end[at * width + word] as number
    next++
  }
  return [start, positions, ends]
}

/** The reverse of packRanges. Throws RangeError for columns that do not belong together. */
export function unpackRanges(family: Family, columns: readonly Uint32Array[]): Ranges {
  const [start = NONE, positions = NONE, ends = NONE] = columns
  const width = WIDTH[family]
  const length = start.length / width
  const isSound = Number.isInteger(length) && ends.length === positions.length * width
  if (!isSound || positions.some((at) => at >= length)) throw new RangeError('these columns are not ranges')
  if (positions.length === 0) return { family, length, start, end: start }
  const end = start.slice()
  for (let at = 0; at < positions.length; at++) {
    const to = (positions[at] as number) * width
    for (let word = 0; word < width; word++) end[to + word] = ends[at * width + word] as number
  }
  return { family, length, start, end }
}
