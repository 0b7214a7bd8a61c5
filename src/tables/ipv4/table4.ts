// The IPv4 table (struct table4): single addresses in a hash, everything else in a root with range lines. A bitmap in
// front of each answers for most addresses that no list contains.

import { TABLE_FLAG, type Table4 } from '../../abi/generated.ts'
import { type Partition, PartitionBuilder } from '../classes/partition.ts'
import { corrupt, filterShift, hasBit, isFilter, makeFilter, setBit } from '../lines/lines.ts'
import { extractCells, insertCells } from '../ranges/cells.ts'
import { decodeRoot, encodeRoot, NO_ROOT, type Root } from '../ranges/root.ts'
import { decodeHosts, encodeHosts, type Hosts } from './hosts.ts'

/** Minimum of bitmap cells per range. */
const CELLS_A_RANGE = 8
const MAX_CELL_BITS = 26

/** The table's sections; lengths are whole lines, 0 if empty. */
export interface Sections4 {
  readonly hostFilter: Uint32Array
  readonly hosts: Uint32Array
  readonly rangeFilter: Uint32Array
  readonly root: Uint32Array
  readonly ranges: Uint32Array
}

/** The table's part of the settings, without positions. */
export type Shape4 = Pick<
  Table4,
  'multiplier' | 'host_lines' | 'host_count' | 'host_filter_shift' | 'range_filter_shift' | 'root_shift' | 'flags'
>

/** A root with range lines, and the bitmap in front of it. */
export interface FilteredRoot extends Root {
  readonly filter: Uint32Array
  readonly filterShift: number
}

export interface Tables4 {
  readonly hosts: Hosts
  readonly ranges: FilteredRoot
}

export const NO_RANGES: FilteredRoot = { ...NO_ROOT, filter: new Uint32Array(0), filterShift: 31 }

/** Packs a compiled table: its sections, and their description in the settings. */
export const packTable4 = ({ hosts, ranges }: Tables4): { shape: Shape4; sections: Sections4 } => ({
  shape: {
    multiplier: hosts.multiplier,
    host_lines: hosts.buckets,
    host_count: hosts.count,
    host_filter_shift: hosts.filterShift,
    range_filter_shift: ranges.filterShift,
    root_shift: ranges.shift,
    flags: (hosts.buckets > 0 ? TABLE_FLAG.HOSTS : 0) | (ranges.root.length > 0 ? TABLE_FLAG.RANGES : 0),
  },
  sections: {
    hostFilter: hosts.filter,
    hosts: hosts.words,
    rangeFilter: ranges.filter,
    root: ranges.root,
    ranges: ranges.ranges,
  },
})

/** The reverse of packTable4. */
export const unpackTable4 = (shape: Shape4, { hostFilter, hosts, rangeFilter, root, ranges }: Sections4): Tables4 => ({
  hosts: {
    multiplier: shape.multiplier,
    buckets: shape.host_lines,
    count: shape.host_count,
    words: hosts,
    filter: hostFilter,
    filterShift: shape.host_filter_shift,
  },
  ranges: { shift: shape.root_shift, root, ranges, filter: rangeFilter, filterShift: shape.range_filter_shift },
})

/** Compiles a partition of the IPv4 space into classes. */
export function compileTable4(partition: Partition): { shape: Shape4; sections: Sections4 } {
  const { rest, cells } = extractCells(partition, 0)
  const hasRanges = rest.length > 1 || rest.values[0] !== 0
  return packTable4({ hosts: encodeHosts(cells), ranges: hasRanges ? encodeRanges(rest) : NO_RANGES })
}

/** Calls `visit` with the first and last address of every range that some list contains. */
function forEachListed(
  { length, starts, values }: Partition,
  visit: (first: number, last: number, value: number) => void,
): void {
  for (let i = 0; i < length; i++) {
    const last = i + 1 < length ? (starts[i + 1] as number) - 1 : 0xffffffff
    if (values[i] !== 0) visit(starts[i] as number, last, values[i] as number)
  }
}

/** Sets the bits of the cells of addresses `first` to `last`. */
export function setCells(filter: Uint32Array, shift: number, first: number, last: number): void {
  for (let cell = first >>> shift; cell <= last >>> shift; cell++) setBit(filter, cell)
}

/** Builds a root for a partition of the IPv4 space, with its bitmap. */
export function encodeRanges(partition: Partition): FilteredRoot {
  const shift = filterShift(partition.length, CELLS_A_RANGE, MAX_CELL_BITS)
  const filter = makeFilter(shift)
  forEachListed(partition, (first, last) => setCells(filter, shift, first, last))
  return { ...encodeRoot(partition), filter, filterShift: shift }
}

/**
 * The partition that a reader of the table sees: without entries hidden by the filters or out of reach of probing.
 *
 * @throws XdpError E113 if the sections are not a valid table
 */
export function decodeTable4(shape: Shape4, sections: Sections4): Partition {
  const { hosts, ranges } = unpackTable4(shape, sections)
  const partition = shape.flags & TABLE_FLAG.RANGES ? decodeRanges(ranges) : EMPTY
  return shape.flags & TABLE_FLAG.HOSTS ? insertCells(partition, decodeHosts(hosts), 0) : partition
}

const EMPTY: Partition = { width: 1, length: 1, starts: new Uint32Array(1), values: new Uint32Array(1) }

/** Decodes the ranges, without those in cells whose bit is clear. */
function decodeRanges({ filter, filterShift: shift, ...root }: FilteredRoot): Partition {
  if (!isFilter(filter, shift)) throw corrupt('the filter of ranges has the wrong size')
  const all = decodeRoot(root)
  const builder = new PartitionBuilder(1, all.length)
  const bound = new Uint32Array(1)
  builder.push(bound, 0, 0)
  const size = 2 ** shift
  forEachListed(all, (first, last, value) => {
    for (let at = first; at <= last; at = (Math.floor(at / size) + 1) * size) {
      bound[0] = at
      builder.push(bound, 0, hasBit(filter, at >>> shift) ? value : 0)
    }
    if (last === 0xffffffff) return
    bound[0] = last + 1
    builder.push(bound, 0, 0)
  })
  return builder.finish()
}
