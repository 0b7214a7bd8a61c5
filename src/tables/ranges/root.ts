// The direct root and its range lines (struct range_line): a partition of 32-bit keys, for IPv4 addresses and for the
// top 32 bits of IPv6 addresses.

import { rangeLineCodec } from '../../abi/generated.ts'
import { type Partition, PartitionBuilder } from '../classes/partition.ts'
import { corrupt, HIGH, LINE_WORDS, LineWriter, LOW, makeLines } from '../lines/lines.ts'

/** Entries of a range line. */
export const RANGE_ENTRIES = rangeLineCodec.size / 4
/** Entries hold 16 bits of the key, so that a root has at least 2^16 buckets. */
const MIN_ROOT_BITS = 16
const MAX_ROOT_BITS = 22
/** Half a line on average, so that most buckets need one line. */
const RANGES_A_BUCKET = 8

export interface Root {
  readonly shift: number
  /** Root words, 8 a line. */
  readonly root: Uint32Array
  /** Range lines. */
  readonly ranges: Uint32Array
}

export const NO_ROOT: Root = { shift: 16, root: makeLines(0), ranges: makeLines(0) }

/** Number of bits of a key that select the bucket, for this many ranges. */
export const rootBits = (ranges: number): number =>
  Math.min(MAX_ROOT_BITS, Math.max(MIN_ROOT_BITS, Math.ceil(Math.log2(ranges / RANGES_A_BUCKET))))

/** Encodes a partition of 32-bit keys whose values are classes. */
export function encodeRoot({ length, starts, values }: Partition): Root {
  const bits = rootBits(length)
  const shift = 32 - bits
  const root = makeLines(2 ** bits / 8)
  const lines = new LineWriter()
  const size = 2 ** shift
  let i = 0
  for (let bucket = 0; bucket < 2 ** bits; bucket++) {
    const base = bucket * size
    while (i + 1 < length && (starts[i + 1] as number) <= base) i++
    let last = i
    while (last + 1 < length && (starts[last + 1] as number) < base + size) last++
    if (last === i) {
      root[bucket * 2 + HIGH] = (values[i] as number) * 0x10000
      continue
    }
    const count = Math.ceil((last - i + 1) / RANGE_ENTRIES)
    root[bucket * 2 + LOW] = lines.lines
    root[bucket * 2 + HIGH] = count
    for (let first = i; first <= last; first += RANGE_ENTRIES) {
      const at = lines.add()
      for (let entry = 0; entry < RANGE_ENTRIES; entry++) {
        const range = Math.min(first + entry, last)
        const start = range === i ? 0 : (starts[range] as number) - base
        lines.words[at + entry] = start * 0x10000 + (values[range] as number)
      }
    }
  }
  return { shift, root, ranges: lines.finish() }
}

/** The reverse of encodeRoot. Throws XdpError E113 if the root is not valid. */
export function decodeRoot({ shift, root, ranges }: Root): Partition {
  const builder = new PartitionBuilder(1, 1024)
  const bound = new Uint32Array(1)
  if (shift > 16 || root.length !== (2 ** (32 - shift) / 8) * LINE_WORDS) throw corrupt('the root has the wrong size')
  let left = ranges.length / LINE_WORDS
  for (let bucket = 0; bucket * 2 < root.length; bucket++) {
    const high = root[bucket * 2 + HIGH] as number
    const count = high & 0xffff
    const first = root[bucket * 2 + LOW] as number
    bound[0] = bucket * 2 ** shift
    if (count === 0) {
      builder.push(bound, 0, high >>> 16)
      continue
    }
    // Each line belongs to one bucket. Without this limit a damaged root could keep the loop running forever.
    left -= count
    if (left < 0 || (first + count) * LINE_WORDS > ranges.length) throw corrupt(`root word ${bucket}`)
    readBucket(
      builder,
      bucket * 2 ** shift,
      2 ** shift,
      ranges.subarray(first * LINE_WORDS, (first + count) * LINE_WORDS),
    )
  }
  return builder.finish()
}

function readBucket(builder: PartitionBuilder, base: number, size: number, entries: Uint32Array): void {
  const bound = new Uint32Array(1)
  let last = -1
  for (const entry of entries) {
    const start = entry >>> 16
    if (start === last) continue
    if (start < last || start >= size || (last < 0 && start !== 0))
      throw corrupt(`the ranges of ${base} are not sorted`)
    last = start
    bound[0] = base + start
    builder.push(bound, 0, entry & 0xffff)
  }
}
