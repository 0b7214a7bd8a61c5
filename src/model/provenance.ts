// Maps an address of a list back to the line that added it.

import type { Family } from './address.ts'
import type { Entries, ListSource, Provenance } from './desired.ts'
import { compareBounds, sortedOrder, WIDTH } from './ranges.ts'
import { formatRange } from './text.ts'

/** The entry of a list that covers an address. */
export interface Origin {
  /** `file:line`, or the file where it has no lines. */
  readonly at: string
  /** The origin of the file in words, where its path does not say it. */
  readonly about: string | undefined
  /** The entry as address, prefix or range, in canonical form. */
  readonly entry: string
}

/**
 * Positions of entries sorted by first address, then last, then line. `enclosing` has for each the nearest earlier
 * entry that ends later, or -1. Every earlier entry that covers an address above the start of entry `i` is on the chain
 * that starts at `i`: the chain leaves out only entries that end before `i` does. Without the chain, a /8 in front of a
 * million hosts would cost a million steps.
 */
interface Index {
  readonly order: Uint32Array
  readonly enclosing: Int32Array
}

/** Scanning a million entries takes a millisecond; building their index takes two hundred. */
const LOOKS_BEFORE_INDEX = 32

const looks = new WeakMap<Entries, { count: number; index: Index | undefined }>()

function compareEntries({ start, end }: Entries, a: number, b: number, width: number): number {
  return (
    compareBounds(start, a * width, start, b * width, width) || compareBounds(end, a * width, end, b * width, width)
  )
}

function indexOf(entries: Entries): Index {
  const width = WIDTH[entries.family]
  const { end, length } = entries
  const order = sortedOrder(entries.start, width)
  for (let from = 0; from < length; ) {
    let to = from + 1
    const first = order[from] as number
    while (
      to < length &&
      compareBounds(entries.start, first * width, entries.start, (order[to] as number) * width, width) === 0
    )
      to++
    if (to - from > 1) order.subarray(from, to).sort((a, b) => compareEntries(entries, a, b, width) || a - b)
    from = to
  }
  const enclosing = new Int32Array(length)
  const endsBy = (a: number, b: number): boolean =>
    compareBounds(end, (order[a] as number) * width, end, (order[b] as number) * width, width) <= 0
  for (let at = 0; at < length; at++) {
    let earlier = at - 1
    while (earlier >= 0 && endsBy(earlier, at)) earlier = enclosing[earlier] as number
    enclosing[at] = earlier
  }
  return { order, enclosing }
}

function findByIndex(entries: Entries, { order, enclosing }: Index, words: Uint32Array, offset: number): number {
  const width = WIDTH[entries.family]
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBounds(entries.start, (order[middle] as number) * width, words, offset, width) <= 0) low = middle + 1
    else high = middle
  }
  for (let at = low - 1; at >= 0; at = enclosing[at] as number) {
    const entry = order[at] as number
    if (compareBounds(entries.end, entry * width, words, offset, width) >= 0) return entry
  }
  return -1
}

function findByLooking(entries: Entries, words: Uint32Array, offset: number): number {
  const width = WIDTH[entries.family]
  const { start, end, length } = entries
  let found = -1
  for (let entry = 0; entry < length; entry++) {
    const covers =
      compareBounds(start, entry * width, words, offset, width) <= 0 &&
      compareBounds(end, entry * width, words, offset, width) >= 0
    if (covers && (found < 0 || compareEntries(entries, entry, found, width) >= 0)) found = entry
  }
  return found
}

/**
 * Position of the entry that covers the address at word `offset` of `words`: the one that begins nearest to the
 * address; of several, the longest; of equal ones, the last. -1 = none.
 */
export function findEntry(entries: Entries, words: Uint32Array, offset = 0): number {
  const known = looks.get(entries) ?? { count: 0, index: undefined }
  looks.set(entries, known)
  if (++known.count > LOOKS_BEFORE_INDEX) known.index ??= indexOf(entries)
  return known.index ? findByIndex(entries, known.index, words, offset) : findByLooking(entries, words, offset)
}

interface Found {
  readonly source: ListSource
  readonly entries: Entries
  /** Position in `entries`. */
  readonly entry: number
}

/**
 * Finds the entry that adds the address at word `offset` of `words` to the list; undefined = none. `set`: search only
 * the entries of that set of the list.
 */
export function findOrigin(
  provenance: Pick<Provenance, 'lists'>,
  list: string,
  family: Family,
  words: Uint32Array,
  offset = 0,
  set?: number,
): Found | undefined {
  const width = WIDTH[family]
  let best: Found | undefined
  for (const source of provenance.lists.get(list) ?? []) {
    if (set !== undefined && source.set !== set) continue
    const entries = source[family === 4 ? 'v4' : 'v6']
    const entry = findEntry(entries, words, offset)
    if (entry < 0) continue
    const isNearer = (than: Found): boolean => {
      const first = compareBounds(entries.start, entry * width, than.entries.start, than.entry * width, width)
      return (first || compareBounds(entries.end, entry * width, than.entries.end, than.entry * width, width)) >= 0
    }
    if (best === undefined || isNearer(best)) best = { source, entries, entry }
  }
  return best
}

/** The place of a found entry as text. */
const placeOf = ({ files }: Pick<Provenance, 'files'>, { source, entries, entry }: Found): string => {
  const [file, line] = [files[source.file], entries.line[entry]]
  return line ? `${file}:${line}` : `${file}`
}

/** Finds the origin with its bounds. */
export function spanOf(
  provenance: Pick<Provenance, 'files' | 'lists'>,
  list: string,
  family: Family,
  words: Uint32Array,
  set?: number,
): { readonly start: Uint32Array; readonly end: Uint32Array; readonly at: string } | undefined {
  const found = findOrigin(provenance, list, family, words, 0, set)
  if (found === undefined) return undefined
  const { entries, entry } = found
  const [from, to] = [entry * WIDTH[family], (entry + 1) * WIDTH[family]]
  return { start: entries.start.slice(from, to), end: entries.end.slice(from, to), at: placeOf(provenance, found) }
}

/** Finds the origin as text: the line of the config, and the entry. */
export function originOf(
  provenance: Pick<Provenance, 'files' | 'lists'>,
  list: string,
  family: Family,
  words: Uint32Array,
  offset = 0,
  set?: number,
): Origin | undefined {
  const found = findOrigin(provenance, list, family, words, offset, set)
  if (found === undefined) return undefined
  const { source, entries, entry } = found
  return {
    at: placeOf(provenance, found),
    about: source.about,
    entry: formatRange(family, entries.start, entries.end, entry * WIDTH[family]),
  }
}
