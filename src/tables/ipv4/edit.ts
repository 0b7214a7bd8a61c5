// Edits the IPv4 table: gives the addresses of each change the class that it maps their old class to.

import { Draft } from '../lines/buckets.ts'
import { clearBit, LINE_WORDS } from '../lines/lines.ts'
import { RangeTable } from '../ranges/edit.ts'
import { decodeRoot } from '../ranges/root.ts'
import { HostTable } from './edit-hosts.ts'
import { encodeRanges, type FilteredRoot, NO_RANGES, setCells, type Tables4 } from './table4.ts'

/** Addresses from `first` to `last`, and the mapping from their old class to the new one. */
export interface Change4 {
  readonly first: number
  readonly last: number
  readonly change: (value: number) => number
}

/** A bitmap with fewer cells per range line is rebuilt together with the root: too many misses would pass it. */
const CELLS_A_LINE = 4
/** Maximum size of a bitmap. */
const MOST_CELLS = 2 ** 26

interface Found {
  readonly address: number
  readonly value: number
}

/** The single addresses inside changes, with their new class. Changes are ascending. */
function hostsInside(hosts: HostTable, changes: readonly Change4[]): Found[] {
  const found: Found[] = []
  const total = changes.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  if (hosts.isCheaper(total)) {
    for (const { first, last, change } of changes) {
      for (let address = first; address <= last; address++) {
        const value = hosts.get(address)
        if (value !== 0) found.push({ address, value: change(value) })
      }
    }
    return found
  }
  hosts.forEach((address, value) => {
    let low = 0
    let high = changes.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((changes[middle] as Change4).last < address) low = middle + 1
      else high = middle
    }
    const inside = changes[low]
    if (inside && inside.first <= address) found.push({ address, value: inside.change(value) })
  })
  return found
}

/** Updates the bitmap for the changed stretches of ranges. */
function editFilter(
  table: RangeTable,
  before: FilteredRoot,
  changed: readonly (readonly [number, number])[],
): Uint32Array {
  const { filterShift: shift } = before
  const size = 2 ** shift
  const filter = new Draft(before.filter)
  for (const [first, last] of changed) {
    const words = filter.edit()
    const [from, to] = [first >>> shift, last >>> shift]
    for (let cell = from; cell <= to; cell++) clearBit(words, cell)
    table.forEach(from * size, (to + 1) * size - 1, (start, end, value) => {
      if (value !== 0) setCells(words, shift, start, end)
    })
  }
  return filter.words
}

function finishRanges(
  table: RangeTable,
  before: FilteredRoot,
  changed: readonly (readonly [number, number])[],
): FilteredRoot {
  if (changed.length === 0) return before
  const root = table.finish()
  if (root.root.length === 0) return NO_RANGES
  const cells = before.filter.length * 32
  const isCrowded = cells < MOST_CELLS && cells < (root.ranges.length / LINE_WORDS) * CELLS_A_LINE
  if (root.shift !== before.shift || before.root.length === 0 || isCrowded) return encodeRanges(decodeRoot(root))
  return { ...root, filter: editFilter(table, before, changed), filterShift: before.filterShift }
}

/** Applies changes, ascending and disjoint, to the tables. Unchanged sections stay the same arrays. */
export function editTable4(before: Tables4, changes: readonly Change4[]): Tables4 {
  const hosts = new HostTable(before.hosts)
  const ranges = new RangeTable(before.ranges)
  const changed: (readonly [number, number])[] = []
  const transform = (first: number, last: number, change: Change4['change']): void => {
    ranges.transform(first, last, change)
    changed.push([first, last])
  }
  /** Gives one address a class: an entry in the hash unless the ranges already give it that class. */
  const place = (address: number, value: number): void => {
    if (ranges.get(address) === value) hosts.delete(address)
    else if (value !== 0) hosts.set(address, value)
    else {
      hosts.delete(address)
      transform(address, address, () => 0)
    }
  }
  const wide = changes.filter(({ first, last }) => first < last)
  const inside = hostsInside(hosts, wide)
  for (const { first, last, change } of wide) transform(first, last, change)
  for (const { address, value } of inside) place(address, value)
  for (const { first: address, last, change } of changes) {
    if (address === last) place(address, change(hosts.get(address) || ranges.get(address)))
  }
  return { hosts: hosts.finish(), ranges: finishRanges(ranges, before.ranges, changed) }
}
