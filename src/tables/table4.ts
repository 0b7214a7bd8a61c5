// The IPv4 table (struct table4): single addresses in a hash, everything else in a root with range lines, and a
// pre-check bitmap before both that answers for most addresses that are in no list.

import { HOST_PROBES, hostLineCodec, TABLE_FLAG, type Table4 } from '../abi/generated.ts'
import { bucketOf, hashOf, isReachable, multiplierFrom, multiplierValue, place } from './hash.ts'
import { bitmapWord, corrupt, halves, LINE_WORDS, makeLines } from './lines.ts'
import { type Cells, extractCells, insertCells, type Partition, PartitionBuilder, sortCells } from './partition.ts'
import { decodeRoot, encodeRoot } from './root.ts'

const ADDRESS = hostLineCodec.offsets.address / 4
const CLASS = hostLineCodec.offsets.class / 2
const OVERFLOW = hostLineCodec.offsets.overflow / 4
const SLOTS = (hostLineCodec.offsets.class - hostLineCodec.offsets.address) / 4

/** Cells of the pre-check: at least this many for each range, so that one miss in six at most goes further. */
const CELLS_A_RANGE = 6
const MIN_CELL_BITS = 14
const MAX_CELL_BITS = 26
const CELLS_A_WORD = 16

/** The table's sections; lengths are whole lines, 0 where there is nothing. */
export interface Sections4 {
  readonly precheck: Uint32Array
  readonly hosts: Uint32Array
  readonly root: Uint32Array
  readonly ranges: Uint32Array
}

/** What the settings say of the table, except where it lies. */
export type Shape4 = Pick<Table4, 'multiplier' | 'host_lines' | 'precheck_shift' | 'root_shift' | 'flags'>

const NONE = new Uint32Array(0)
const EMPTY: { shape: Shape4; sections: Sections4 } = {
  shape: { multiplier: 1n, host_lines: 0, precheck_shift: 31, root_shift: 16, flags: 0 },
  sections: { precheck: NONE, hosts: NONE, root: NONE, ranges: NONE },
}

/** Compiles a partition of the IPv4 space into classes. */
export function compileTable4(partition: Partition): { shape: Shape4; sections: Sections4 } {
  if (partition.length === 1 && partition.values[0] === 0) return EMPTY
  const { rest, cells } = extractCells(partition, 0)
  const hasRanges = rest.length > 1 || rest.values[0] !== 0
  const hosts = encodeHosts(cells)
  const root = hasRanges ? encodeRoot(rest) : { shift: 16, root: NONE, ranges: NONE }
  const precheck = encodePrecheck(cells, rest)
  return {
    shape: {
      multiplier: hosts.multiplier,
      host_lines: hosts.buckets,
      precheck_shift: precheck.shift,
      root_shift: root.shift,
      flags: (cells.length > 0 ? TABLE_FLAG.HOSTS : 0) | (hasRanges ? TABLE_FLAG.RANGES : 0),
    },
    sections: { precheck: precheck.words, hosts: hosts.words, root: root.root, ranges: root.ranges },
  }
}

function encodeHosts({ length, keys, values }: Cells): { multiplier: bigint; buckets: number; words: Uint32Array } {
  if (length === 0) return { multiplier: 1n, buckets: 0, words: NONE }
  const { multiplier, buckets, lines, places, overflow } = place(
    { length, high: undefined, low: keys },
    SLOTS,
    HOST_PROBES,
  )
  const words = makeLines(lines)
  const classes = halves(words)
  for (let i = 0; i < length; i++) {
    const at = places[i] as number
    const line = Math.floor(at / SLOTS)
    const slot = at - line * SLOTS
    words[line * LINE_WORDS + ADDRESS + slot] = keys[i] as number
    classes[line * LINE_WORDS * 2 + CLASS + slot] = values[i] as number
  }
  for (let line = 0; line < lines; line++) words[line * LINE_WORDS + OVERFLOW] = overflow[line] as number
  return { multiplier: multiplierValue(multiplier), buckets, words }
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

function encodePrecheck(hosts: Cells, rest: Partition): { shift: number; words: Uint32Array } {
  const bits = Math.ceil(Math.log2((hosts.length + rest.length) * CELLS_A_RANGE))
  const shift = 32 - Math.min(MAX_CELL_BITS, Math.max(MIN_CELL_BITS, bits))
  const words = new Uint32Array(2 ** (32 - shift) / CELLS_A_WORD)
  const mark = (cell: number, flag: number): void => {
    const word = bitmapWord(cell * 2)
    words[word] = (words[word] as number) | (flag << ((cell * 2) & 31))
  }
  for (const address of hosts.keys) mark(address >>> shift, TABLE_FLAG.HOSTS)
  forEachListed(rest, (first, last) => {
    for (let cell = first >>> shift; cell <= last >>> shift; cell++) mark(cell, TABLE_FLAG.RANGES)
  })
  return { shift, words }
}

/** Whether the pre-check lets a reader of `address` go on to the part that `flag` names. */
type Precheck = (address: number, flag: number) => boolean

/**
 * The partition that a reader of the table sees: what the pre-check hides or probing cannot reach is not in it.
 *
 * @throws XdpError E113 where the sections are no table
 */
export function decodeTable4(shape: Shape4, sections: Sections4): Partition {
  const { flags, precheck_shift: shift } = shape
  const nothing = new PartitionBuilder(1)
  nothing.push(new Uint32Array(1), 0, 0)
  if (flags === 0) return nothing.finish()
  if (shift > 31 || sections.precheck.length * CELLS_A_WORD !== Math.max(256, 2 ** (32 - shift))) {
    throw corrupt('the pre-check has the wrong size')
  }
  const precheck: Precheck = (address, flag) => {
    const bit = (address >>> shift) * 2
    return (((sections.precheck[bitmapWord(bit)] as number) >>> (bit & 31)) & flag) !== 0
  }
  const ranges =
    flags & TABLE_FLAG.RANGES
      ? visible(decodeRoot({ shift: shape.root_shift, root: sections.root, ranges: sections.ranges }), precheck, shift)
      : nothing.finish()
  return flags & TABLE_FLAG.HOSTS ? insertCells(ranges, decodeHosts(shape, sections.hosts, precheck), 0) : ranges
}

/** The ranges without the pre-check cells that say there are none. */
function visible(ranges: Partition, precheck: Precheck, shift: number): Partition {
  const builder = new PartitionBuilder(1, ranges.length)
  const bound = new Uint32Array(1)
  builder.push(bound, 0, 0)
  const size = 2 ** shift
  forEachListed(ranges, (first, last, value) => {
    for (let at = first; at <= last; at = (Math.floor(at / size) + 1) * size) {
      bound[0] = at
      builder.push(bound, 0, precheck(at, TABLE_FLAG.RANGES) ? value : 0)
    }
    if (last === 0xffffffff) return
    bound[0] = last + 1
    builder.push(bound, 0, 0)
  })
  return builder.finish()
}

function decodeHosts(shape: Shape4, words: Uint32Array, precheck: Precheck): Cells {
  const multiplier = multiplierFrom(shape.multiplier)
  const lines = words.length / LINE_WORDS
  if (lines !== shape.host_lines + HOST_PROBES - 1) throw corrupt('the host table has the wrong size')
  const classes = halves(words)
  const overflows = (line: number): boolean => words[line * LINE_WORDS + OVERFLOW] !== 0
  const found = new Uint32Array(lines * SLOTS)
  const values = new Uint32Array(lines * SLOTS)
  let length = 0
  for (let line = 0; line < lines; line++) {
    for (let slot = 0; slot < SLOTS; slot++) {
      const value = classes[line * LINE_WORDS * 2 + CLASS + slot] as number
      if (value === 0) continue
      const address = words[line * LINE_WORDS + ADDRESS + slot] as number
      const bucket = bucketOf(hashOf(0, address, multiplier), shape.host_lines)
      if (!isReachable(bucket, line, HOST_PROBES, overflows) || !precheck(address, TABLE_FLAG.HOSTS)) continue
      found[length] = address
      values[length++] = value
    }
  }
  return sortCells({ width: 1, length, keys: found.subarray(0, length), values })
}
