// Ranges derived from other ranges by a few removals and additions, with a record of the change: a diff need not scan a
// million ranges for it.

import type { Ranges } from './address.ts'
import { lastAtOrBelow, subtract, union, WIDTH } from './ranges.ts'

/** Ranges `from` to before `to`. */
function slice({ family, start, end }: Ranges, from: number, to: number): Ranges {
  const width = WIDTH[family]
  const words = (array: Uint32Array): Uint32Array => array.subarray(from * width, to * width)
  return { family, length: to - from, start: words(start), end: words(end) }
}

/** Derivation of ranges from `from`: `gone`, all of it part of them, was removed and `added` was added. */
export interface Patch {
  readonly from: Ranges
  readonly gone: Ranges
  readonly added: Ranges
  /** The ranges of the changed stretch, before and after. */
  readonly before: Ranges
  readonly after: Ranges
}

const patches = new WeakMap<Ranges, Patch>()

/** The derivation of ranges that `patch` made; undefined for others. */
export const patchOf = (ranges: Ranges): Patch | undefined => patches.get(ranges)

/**
 * Addresses in `ranges` and not in `gone`, which is part of them, or in `added`. Copies the ranges before and behind
 * the change in one go.
 */
export function patch(ranges: Ranges, gone: Ranges, added: Ranges): Ranges {
  if (gone.length + added.length === 0) return ranges
  const { family, length } = ranges
  const width = WIDTH[family]
  const parts = [gone, added].filter((part) => part.length > 0)
  // Changed ranges may now touch their neighbours, so the stretch includes one more range on each side.
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

/** The additions and removals that turn `before` into `after`. */
export function difference(before: Ranges, after: Ranges): { readonly added: Ranges; readonly removed: Ranges } {
  const known = patches.get(after)
  if (known?.from !== before) return { added: subtract(after, before), removed: subtract(before, after) }
  return { added: subtract(known.added, before), removed: subtract(known.gone, after) }
}
