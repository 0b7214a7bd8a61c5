// From an address of a list back to the line that put it there.

import type { Family } from './address.ts'
import type { Entries, Provenance } from './desired.ts'
import { compareBounds, lastAtOrBelow, WIDTH } from './ranges.ts'
import { formatRange } from './text.ts'

/** The entry of a list that covers an address. */
export interface Origin {
  /** `file:line`. */
  readonly at: string
  /** The entry as address, prefix or range, in canonical form. */
  readonly entry: string
}

/**
 * For each entry the nearest earlier one that ends later, or -1. Entries are sorted by first address, so an earlier
 * entry that covers an address which entry `i` lies below is always on the chain that starts at `i`: everything the
 * chain leaves out ends before `i` does. Without it, a /8 in front of a million hosts would cost a million steps.
 */
const enclosing = new WeakMap<Entries, Int32Array>()

function enclosingOf(entries: Entries): Int32Array {
  const known = enclosing.get(entries)
  if (known) return known
  const width = WIDTH[entries.family]
  const chain = new Int32Array(entries.length)
  for (let index = 0; index < entries.length; index++) {
    let earlier = index - 1
    while (earlier >= 0 && compareBounds(entries.end, earlier * width, entries.end, index * width, width) <= 0)
      earlier = chain[earlier] as number
    chain[index] = earlier
  }
  enclosing.set(entries, chain)
  return chain
}

/**
 * Index of an entry that covers the address at word `offset` of `words`, the one that begins nearest to it; -1 = none.
 * `set`: only entries of that set of the list.
 */
export function findEntry(entries: Entries, words: Uint32Array, offset = 0, set?: number): number {
  const width = WIDTH[entries.family]
  const chain = enclosingOf(entries)
  let index = lastAtOrBelow(entries, words, offset)
  while (index >= 0) {
    const covers = compareBounds(entries.end, index * width, words, offset, width) >= 0
    if (covers && (set === undefined || entries.set[index] === set)) return index
    index = covers ? index - 1 : (chain[index] as number)
  }
  return -1
}

/** Which line of the config put the address at word `offset` of `words` into the list; undefined = none did. */
export function originOf(
  provenance: Pick<Provenance, 'files' | 'lists'>,
  list: string,
  family: Family,
  words: Uint32Array,
  offset = 0,
  set?: number,
): Origin | undefined {
  const entries = provenance.lists.get(list)?.[family === 4 ? 'v4' : 'v6']
  if (entries === undefined) return undefined
  const index = findEntry(entries, words, offset, set)
  if (index < 0) return undefined
  return {
    at: `${provenance.files[entries.file[index] as number]}:${entries.line[index]}`,
    entry: formatRange(family, entries.start, entries.end, index * WIDTH[family]),
  }
}
