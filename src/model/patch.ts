// Ranges that were made of others by taking a few out and putting a few in, and how: so that nobody need look through a
// million of them to see what the difference is.

import type { Ranges } from './address.ts'
import { lastAtOrBelow, subtract, union, WIDTH } from './ranges.ts'

/** Ranges `from` to before `to`. */
function slice({ family, start, end }: Ranges, from: number, to: number): Ranges {
  const width = WIDTH[family]
  const words = (array: Uint32Array): Uint32Array => array.subarray(from * width, to * width)
  return { family, length: to - from, start: words(start), end: words(end) }
}

/** How ranges were made of others: by `gone`, which was all in them, and `added`. */
export interface Patch {
  readonly from: Ranges
  readonly gone: Ranges
  readonly added: Ranges
  /** The stretch of ranges that changed, as it was and as it is. */
  readonly before: Ranges
  readonly after: Ranges
}

const patches = new WeakMap<Ranges, Patch>()

/** How ranges came to be; undefined: not by `patch`. */
export const patchOf = (ranges: Ranges): Patch | undefined => patches.get(ranges)

/**
 * Addresses in `ranges` and not in `gone`, which is part of them, or in `added`. What lies before and behind both is copied
 * in one go.
 */
export function patch(ranges: Ranges, gone: Ranges, added: Ranges): Ranges {
  if (gone.length + added.length === 0) return ranges
  const { family, length } = ranges
  const width = WIDTH[family]
  const parts = [gone, added].filter((part) => part.length > 0)
  // Neighbours of what changes may come to touch it, so one more on each side is looked at.
  const from = Math.max(0, Math.min(...parts.map(({ start }) => lastAtOrBelow(ranges, start, 0))))
  const ends = parts.map((part) => lastAtOrBelow(ranges, part.end, (part.length - 1) * width))
  const to = Math.min(length, Math.max(...ends) + 2)
  const before = slice(ranges, from, to)
  const middle = union(subtract(before, gone), added)
  const join = (old: Uint32Array, fresh: Uint32Array): Uint32Array => {
    const words = new Uint32Array((from + length - to) * width + fresh.length)
    words.set(old.subarray(0, from * width))
    words.set(fresh, from * width)
    words.set(old.subarray(to * width), from * width + fresh.length)
    return words
  }
  const start = join(ranges.start, middle.start)
  const made: Ranges = { family, length: start.length / width, start, end: join(ranges.end, middle.end) }
  patches.set(made, { from: ranges, gone, added, before, after: middle })
  return made
}

/** What must be added to and taken from one set to get the other. */
export function difference(before: Ranges, after: Ranges): { readonly added: Ranges; readonly removed: Ranges } {
  const known = patches.get(after)
  if (known?.from !== before) return { added: subtract(after, before), removed: subtract(before, after) }
  return { added: subtract(known.added, before), removed: subtract(known.gone, after) }
}
