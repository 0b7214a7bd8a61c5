// The difference of a list as it was typed: the entries that an edit added, and those that it took the place of, in place
// of the prefixes of the exact difference. An address replaced by its network is one line each, not the eight prefixes
// around the address. `--full` and all counts are exact.

import type { AddressSet, Family, Ranges } from '../model/address.ts'
import { countPrefixes, prefixes } from '../model/prefixes.ts'
import { compareBounds, contains, lastAtOrBelow, normalize, subtract, WIDTH } from '../model/ranges.ts'
import { formatRange, prefixOf } from '../model/text.ts'

/** An entry as typed, or a range of the kernel. Bounds are copies. */
export interface Piece {
  readonly start: Uint32Array
  readonly end: Uint32Array
  /** `file:line`; undefined: not in a file. */
  readonly at: string | undefined
}

/** Finds the entry that covers an address; undefined: none. */
export type Find = (family: Family, words: Uint32Array) => Piece | undefined

export interface Sample {
  /** A prefix of the exact difference, or an entry as typed. */
  readonly prefix: string
  /** `file:line`; undefined: not in the file. */
  readonly at: string | undefined
  /** Of an entry that the list had: the new one that covers it, so that no address leaves. */
  readonly within?: string
  /** Of an entry whose addresses the list had: it is what remains of a wider one. */
  readonly stays?: boolean
}

/** Samples of one direction, and the number of exact prefixes that they leave out. */
export interface Samples {
  readonly samples: readonly Sample[]
  readonly rest: number
}

/** The addresses of a list under one scope, before and after. */
export interface Sides {
  readonly before: AddressSet
  readonly after: AddressSet
  readonly added: AddressSet
  readonly removed: AddressSet
}

const same = (left: Piece, right: Piece, width: number): boolean =>
  compareBounds(left.start, 0, right.start, 0, width) === 0 && compareBounds(left.end, 0, right.end, 0, width) === 0

function boundsOf({ family, start, end }: Ranges, index: number): Piece {
  const width = WIDTH[family]
  const [from, to] = [index * width, (index + 1) * width]
  return { start: start.slice(from, to), end: end.slice(from, to), at: undefined }
}

/** The address behind the bound; undefined behind the last one. */
function next(bound: Uint32Array): Uint32Array | undefined {
  const words = bound.slice()
  for (let word = words.length - 1; word >= 0; word--) {
    words[word] = (words[word] as number) + 1
    if (words[word] !== 0) return words
  }
  return undefined
}

/** The entries that cover the ranges, in ascending order: as typed where they are, else the ranges themselves. */
function* entriesOver(ranges: Ranges, find: Find): Generator<Piece> {
  const { family, length } = ranges
  const width = WIDTH[family]
  for (let index = 0; index < length; ) {
    const range = boundsOf(ranges, index)
    let cursor: Uint32Array | undefined = range.start
    while (cursor && compareBounds(cursor, 0, range.end, 0, width) <= 0) {
      const entry: Piece = find(family, cursor) ?? { start: cursor, end: range.end, at: undefined }
      yield entry
      // An entry may cover a million ranges, around addresses that were there before.
      const last = lastAtOrBelow(ranges, entry.end, 0)
      if (last > index) {
        index = last
        const inside = compareBounds(ranges.end, last * width, entry.end, 0, width) > 0
        cursor = inside ? next(entry.end) : undefined
        if (inside) range.end.set(ranges.end.subarray(last * width, (last + 1) * width))
      } else cursor = next(entry.end)
    }
    index++
  }
}

/** Distinct pieces, at most `most`. */
function take(pieces: Iterable<Piece>, most: number, width: number): Piece[] {
  const found: Piece[] = []
  if (most <= 0) return found
  for (const piece of pieces) {
    if (!found.some((one) => same(one, piece, width))) found.push(piece)
    if (found.length >= most) break
  }
  return found
}

/** The part of the ranges between two bounds. */
function clip(ranges: Ranges, { start, end }: Pick<Piece, 'start' | 'end'>): Ranges {
  const whole = { family: ranges.family, length: 1, start, end }
  return subtract(whole, subtract(whole, ranges))
}

const asRanges = (family: Family, pieces: readonly Piece[]): Ranges => {
  const join = (bound: 'start' | 'end') => Uint32Array.from(pieces.flatMap((piece) => [...piece[bound]]))
  return normalize(family, join('start'), join('end'))
}

/** The prefixes of a set, as pieces. */
function* prefixesOf(ranges: Ranges, find: Find | undefined): Generator<Piece> {
  const { family } = ranges
  for (const { words, length } of prefixes(ranges)) {
    const { start, end } = prefixOf({ family, words }, length)
    yield { start, end, at: find?.(family, start)?.at }
  }
}

function firstOf<T>(all: Iterable<T>, most: number): T[] {
  const found: T[] = []
  if (most <= 0) return found
  for (const one of all) {
    found.push(one)
    if (found.length >= most) break
  }
  return found
}

interface One {
  readonly before: Ranges
  readonly after: Ranges
  readonly added: Ranges
  readonly removed: Ranges
}

/** Finds entries in the file that is planned, and in the one before if that is known. */
export interface Finders {
  readonly after: Find
  readonly before: Find | undefined
}

interface Line extends Piece, Pick<Sample, 'within' | 'stays'> {}

/** The entry before an edit, or the range of the kernel, that an address was part of. */
const hadIn =
  ({ before }: Pick<One, 'before'>, { before: old }: Finders): Find =>
  (family, words) => {
    const index = contains(before, words)
    return old?.(family, words) ?? (index < 0 ? undefined : boundsOf(before, index))
  }

/** Entries inside a new one that are looked at, of a million perhaps: those that are still typed are not shown. */
const MOST_LOOKS = 1000

/** Entries that may stay of a wider one, for the whole to be shown. */
const MOST_STAYS = 32

/** Entries that the list had inside a new one, and that are no entries of their own any more. */
function* absorbedBy(entry: Piece, one: One, finders: Finders): Generator<Line> {
  const { family } = one.before
  const width = WIDTH[family]
  const within = formatRange(family, entry.start, entry.end)
  let looks = 0
  for (const piece of entriesOver(clip(one.before, entry), hadIn(one, finders))) {
    if (++looks > MOST_LOOKS) return
    const isInside =
      compareBounds(piece.start, 0, entry.start, 0, width) >= 0 && compareBounds(piece.end, 0, entry.end, 0, width) <= 0
    const found = isInside ? finders.after(family, piece.start) : undefined
    if (isInside && !(found && same(found, piece, width))) yield { ...piece, within }
  }
}

/**
 * The lines for addresses that left an entry or range: the whole with the entries that stay of it, if these are fewer lines than the exact
 * prefixes, or if the whole was typed.
 */
function leftOf(
  whole: Piece,
  one: One,
  { after, before: old }: Finders,
  most: number,
): { gone: Line[]; stays: Line[] } {
  const { family } = one.removed
  const width = WIDTH[family]
  const gone = clip(one.removed, whole)
  const count = countPrefixes(gone)
  const bound = Math.min(count, MOST_STAYS)
  const kept = take(entriesOver(clip(one.after, whole), after), bound, width)
  const stays = kept.filter((piece) => {
    const had = old?.(family, piece.start)
    return had === undefined || !same(had, piece, width)
  })
  const isShort = kept.length < bound && 1 + stays.length < count
  if (old === undefined && !isShort) return { gone: firstOf(prefixesOf(gone, undefined), most), stays: [] }
  return { gone: [whole], stays: stays.map((piece) => ({ ...piece, stays: true })) }
}

/** Each line once: a new entry may also be what stays of another. */
function distinct(family: Family, lines: readonly Line[]): Line[] {
  const found: Line[] = []
  for (const line of lines) if (!found.some((one) => same(one, line, WIDTH[family]))) found.push(line)
  return found
}

function typedIn(one: One, finders: Finders, most: number): { readonly added: Samples; readonly removed: Samples } {
  const { family } = one.added
  const width = WIDTH[family]
  const entries = take(entriesOver(one.added, finders.after), most, width)
  const absorbed = entries.flatMap((entry) => firstOf(absorbedBy(entry, one, finders), most))
  const wholes = take(entriesOver(one.removed, hadIn(one, finders)), most, width)
  const left = wholes.map((whole) => leftOf(whole, one, finders, most))
  const added = distinct(family, [...entries, ...left.flatMap(({ stays }) => stays)]).slice(0, most)
  const removed = distinct(family, [...left.flatMap(({ gone }) => gone), ...absorbed]).slice(0, most)
  const side = (lines: readonly Line[], all: Ranges): Samples => ({
    samples: lines.map(({ start, end, at, within, stays }) => ({
      prefix: formatRange(family, start, end),
      at,
      ...(within !== undefined && { within }),
      ...(stays && { stays }),
    })),
    rest: countPrefixes(subtract(all, asRanges(family, lines))),
  })
  return { added: side(added, one.added), removed: side(removed, one.removed) }
}

/** Samples of both families, at most `most`. */
const joined = (left: Samples, right: Samples, most: number): Samples => {
  const shown = right.samples.slice(0, Math.max(0, most - left.samples.length))
  return { samples: [...left.samples, ...shown], rest: left.rest + right.rest + (right.samples.length - shown.length) }
}

/** The difference as typed, with at most `most` samples per direction. */
export function typedDelta(
  sides: Sides,
  finders: Finders,
  most: number,
): { readonly added: Samples; readonly removed: Samples } {
  const of = (family: 'v4' | 'v6') => {
    const { before, after, added, removed } = sides
    const one = { before: before[family], after: after[family], added: added[family], removed: removed[family] }
    return typedIn(one, finders, most)
  }
  const [v4, v6] = [of('v4'), of('v6')]
  return { added: joined(v4.added, v6.added, most), removed: joined(v4.removed, v6.removed, most) }
}

/** The exact difference in one direction, with at most `most` samples. */
export function exactDelta({ v4, v6 }: AddressSet, find: Find | undefined, most: number): Samples {
  const samples = ([v4, v6] as const).flatMap((ranges) =>
    firstOf(prefixesOf(ranges, find), most).map(({ start, end, at }) => ({
      prefix: formatRange(ranges.family, start, end),
      at,
    })),
  )
  const shown = samples.slice(0, most)
  return { samples: shown, rest: countPrefixes(v4) + countPrefixes(v6) - shown.length }
}
