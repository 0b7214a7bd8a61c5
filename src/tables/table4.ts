// The IPv4 table (struct table4): single addresses in a hash, everything else in a root with range lines, and before
// either a bitmap that answers for most addresses that are in no list.

import { HOST_PROBES, hostLineCodec, TABLE_FLAG, type Table4 } from '../abi/generated.ts'
import { type Cells, extractCells, insertCells, sortCells } from './cells.ts'
import { bucketOf, hashOf, isReachable, multiplierFrom, multiplierValue, place } from './hash.ts'
import { corrupt, filterShift, halves, hasBit, isFilter, LINE_WORDS, makeFilter, makeLines, setBit } from './lines.ts'
import { type Partition, PartitionBuilder } from './partition.ts'
import { decodeRoot, encodeRoot, type Root } from './root.ts'

const ADDRESS = hostLineCodec.offsets.address / 4
const CLASS = hostLineCodec.offsets.class / 2
const OVERFLOW = hostLineCodec.offsets.overflow / 4
const SLOTS = (hostLineCodec.offsets.class - hostLineCodec.offsets.address) / 4

/** Cells of a filter: at least this many for each entry, so that one miss in eight at most goes further. */
const CELLS_AN_ENTRY = 8
const MAX_CELL_BITS = 26

/** The table's sections; lengths are whole lines, 0 where there is nothing. */
export interface Sections4 {
  readonly hostFilter: Uint32Array
  readonly hosts: Uint32Array
  readonly rangeFilter: Uint32Array
  readonly root: Uint32Array
  readonly ranges: Uint32Array
}

/** What the settings say of the table, except where it lies. */
export type Shape4 = Pick<
  Table4,
  'multiplier' | 'host_lines' | 'host_filter_shift' | 'range_filter_shift' | 'root_shift' | 'flags'
>

interface Hosts {
  readonly multiplier: bigint
  readonly buckets: number
  readonly hosts: Uint32Array
  readonly filter: Uint32Array
  readonly filterShift: number
}

interface FilteredRoot extends Root {
  readonly filter: Uint32Array
  readonly filterShift: number
}

const NONE = new Uint32Array(0)
const NO_HOSTS: Hosts = { multiplier: 1n, buckets: 0, hosts: NONE, filter: NONE, filterShift: 31 }
const NO_RANGES: FilteredRoot = { shift: 16, root: NONE, ranges: NONE, filter: NONE, filterShift: 31 }

/** Compiles a partition of the IPv4 space into classes. */
export function compileTable4(partition: Partition): { shape: Shape4; sections: Sections4 } {
  const { rest, cells } = extractCells(partition, 0)
  const hasRanges = rest.length > 1 || rest.values[0] !== 0
  const hosts = cells.length > 0 ? encodeHosts(cells) : NO_HOSTS
  const ranges = hasRanges ? { ...encodeRoot(rest), ...encodeRangeFilter(rest) } : NO_RANGES
  return {
    shape: {
      multiplier: hosts.multiplier,
      host_lines: hosts.buckets,
      host_filter_shift: hosts.filterShift,
      range_filter_shift: ranges.filterShift,
      root_shift: ranges.shift,
      flags: (cells.length > 0 ? TABLE_FLAG.HOSTS : 0) | (hasRanges ? TABLE_FLAG.RANGES : 0),
    },
    sections: {
      hostFilter: hosts.filter,
      hosts: hosts.hosts,
      rangeFilter: ranges.filter,
      root: ranges.root,
      ranges: ranges.ranges,
    },
  }
}

function encodeHosts({ length, keys, values }: Cells): Hosts {
  const placed = place({ length, high: undefined, low: keys }, SLOTS, HOST_PROBES)
  const hosts = makeLines(placed.lines)
  const classes = halves(hosts)
  for (let i = 0; i < length; i++) {
    const at = placed.places[i] as number
    const line = Math.floor(at / SLOTS)
    const slot = at - line * SLOTS
    hosts[line * LINE_WORDS + ADDRESS + slot] = keys[i] as number
    classes[line * LINE_WORDS * 2 + CLASS + slot] = values[i] as number
  }
  for (let line = 0; line < placed.lines; line++) hosts[line * LINE_WORDS + OVERFLOW] = placed.overflow[line] as number
  const shift = filterShift(length, CELLS_AN_ENTRY, MAX_CELL_BITS)
  const filter = makeFilter(shift)
  for (const address of keys) setBit(filter, address >>> shift)
  return { multiplier: multiplierValue(placed.multiplier), buckets: placed.buckets, hosts, filter, filterShift: shift }
}

/** Calls `visit` with first and last address of every range that is in some list. */
function forEachListed(
  { length, starts, values }: Partition,
  visit: (first: number, last: number, value: number) => void,
): void {
  for (let i = 0; i < length; i++) {
    const last = i + 1 < length ? (starts[i + 1] as number) - 1 : 0xffffffff
    if (values[i] !== 0) visit(starts[i] as number, last, values[i] as number)
  }
}

function encodeRangeFilter(ranges: Partition): Pick<FilteredRoot, 'filter' | 'filterShift'> {
  const shift = filterShift(ranges.length, CELLS_AN_ENTRY, MAX_CELL_BITS)
  const filter = makeFilter(shift)
  forEachListed(ranges, (first, last) => {
    for (let cell = first >>> shift; cell <= last >>> shift; cell++) setBit(filter, cell)
  })
  return { filter, filterShift: shift }
}

/**
 * The partition that a reader of the table sees: what the filters hide or probing cannot reach is not in it.
 *
 * @throws XdpError E113 where the sections are no table
 */
export function decodeTable4(shape: Shape4, sections: Sections4): Partition {
  const ranges = shape.flags & TABLE_FLAG.RANGES ? decodeRanges(shape, sections) : EMPTY
  return shape.flags & TABLE_FLAG.HOSTS ? insertCells(ranges, decodeHosts(shape, sections), 0) : ranges
}

const EMPTY: Partition = { width: 1, length: 1, starts: new Uint32Array(1), values: new Uint32Array(1) }

/** The ranges, without what lies in cells whose bit says that there are none. */
function decodeRanges(shape: Shape4, { rangeFilter, root, ranges }: Sections4): Partition {
  const { range_filter_shift: shift } = shape
  if (!isFilter(rangeFilter, shift)) throw corrupt('the filter of ranges has the wrong size')
  const all = decodeRoot({ shift: shape.root_shift, root, ranges })
  const builder = new PartitionBuilder(1, all.length)
  const bound = new Uint32Array(1)
  builder.push(bound, 0, 0)
  const size = 2 ** shift
  forEachListed(all, (first, last, value) => {
    for (let at = first; at <= last; at = (Math.floor(at / size) + 1) * size) {
      bound[0] = at
      builder.push(bound, 0, hasBit(rangeFilter, at >>> shift) ? value : 0)
    }
    if (last === 0xffffffff) return
    bound[0] = last + 1
    builder.push(bound, 0, 0)
  })
  return builder.finish()
}

function decodeHosts(shape: Shape4, { hosts, hostFilter }: Sections4): Cells {
  const { host_filter_shift: shift } = shape
  const multiplier = multiplierFrom(shape.multiplier)
  const lines = hosts.length / LINE_WORDS
  if (lines !== shape.host_lines + HOST_PROBES - 1 || !isFilter(hostFilter, shift)) {
    throw corrupt('the hash of hosts has the wrong size')
  }
  const classes = halves(hosts)
  const overflows = (line: number): boolean => hosts[line * LINE_WORDS + OVERFLOW] !== 0
  const found = new Uint32Array(lines * SLOTS)
  const values = new Uint32Array(lines * SLOTS)
  let length = 0
  for (let line = 0; line < lines; line++) {
    for (let slot = 0; slot < SLOTS; slot++) {
      const value = classes[line * LINE_WORDS * 2 + CLASS + slot] as number
      if (value === 0) continue
      const address = hosts[line * LINE_WORDS + ADDRESS + slot] as number
      const bucket = bucketOf(hashOf(0, address, multiplier), shape.host_lines)
      if (!isReachable(bucket, line, HOST_PROBES, overflows) || !hasBit(hostFilter, address >>> shift)) continue
      found[length] = address
      values[length++] = value
    }
  }
  return sortCells({ width: 1, length, keys: found.subarray(0, length), values })
}
