// Single IPv4 addresses in a hash with one line per bucket (struct host_line), and the bitmap in front of it.

import { HOST_PROBES, hostLineCodec } from '../../abi/generated.ts'
import { bucketOf, hashOf, isReachable, multiplierFrom, multiplierValue, place } from '../lines/hash.ts'
import {
  corrupt,
  filterShift,
  halves,
  hasBit,
  isFilter,
  LINE_WORDS,
  makeFilter,
  makeLines,
  setBit,
} from '../lines/lines.ts'
import { type Cells, sortCells } from '../ranges/cells.ts'

const ADDRESS = hostLineCodec.offsets.address / 4
const CLASS = hostLineCodec.offsets.class / 2
export const HOST_OVERFLOW = hostLineCodec.offsets.overflow / 4
export const HOST_SLOTS = (hostLineCodec.offsets.class - hostLineCodec.offsets.address) / 4

/** Index of a slot's address in the words of a section, and of its class in the 16-bit halves. */
export const addressAt = (line: number, slot: number): number => line * LINE_WORDS + ADDRESS + slot
export const classAt = (line: number, slot: number): number => line * LINE_WORDS * 2 + CLASS + slot

/** Minimum of bitmap cells per address, so that at most one miss in eight reaches the hash. */
const CELLS_AN_ENTRY = 8
const MAX_CELL_BITS = 26

export interface Hosts {
  readonly multiplier: bigint
  readonly buckets: number
  readonly count: number
  readonly words: Uint32Array
  readonly filter: Uint32Array
  readonly filterShift: number
}

const NONE = new Uint32Array(0)
export const NO_HOSTS: Hosts = { multiplier: 1n, buckets: 0, count: 0, words: NONE, filter: NONE, filterShift: 31 }

/** Builds a hash of addresses and their classes, none of them 0. */
export function encodeHosts({ length, keys, values }: Cells): Hosts {
  if (length === 0) return NO_HOSTS
  const placed = place({ length, high: undefined, low: keys }, HOST_SLOTS, HOST_PROBES)
  const words = makeLines(placed.lines)
  const classes = halves(words)
  for (let i = 0; i < length; i++) {
    const at = placed.places[i] as number
    const line = Math.floor(at / HOST_SLOTS)
    const slot = at - line * HOST_SLOTS
    words[addressAt(line, slot)] = keys[i] as number
    classes[classAt(line, slot)] = values[i] as number
  }
  for (let line = 0; line < placed.lines; line++)
    words[line * LINE_WORDS + HOST_OVERFLOW] = placed.overflow[line] as number
  const shift = filterShift(length, CELLS_AN_ENTRY, MAX_CELL_BITS)
  const filter = makeFilter(shift)
  for (const address of keys) setBit(filter, address >>> shift)
  return {
    multiplier: multiplierValue(placed.multiplier),
    buckets: placed.buckets,
    count: length,
    words,
    filter,
    filterShift: shift,
  }
}

/**
 * The addresses that a reader finds: without those hidden by the bitmap or out of reach of probing.
 *
 * @throws XdpError E113 if it is not a valid table
 */
export function decodeHosts(hosts: Hosts): Cells {
  const { words, filter, filterShift: shift, buckets } = hosts
  const multiplier = multiplierFrom(hosts.multiplier)
  const lines = words.length / LINE_WORDS
  if (lines !== buckets + HOST_PROBES - 1 || !isFilter(filter, shift)) {
    throw corrupt('the hash of hosts has the wrong size')
  }
  const classes = halves(words)
  const overflows = (line: number): boolean => words[line * LINE_WORDS + HOST_OVERFLOW] !== 0
  const found = new Uint32Array(lines * HOST_SLOTS)
  const values = new Uint32Array(lines * HOST_SLOTS)
  let length = 0
  for (let line = 0; line < lines; line++) {
    for (let slot = 0; slot < HOST_SLOTS; slot++) {
      const value = classes[classAt(line, slot)] as number
      if (value === 0) continue
      const address = words[addressAt(line, slot)] as number
      const bucket = bucketOf(hashOf(0, address, multiplier), buckets)
      if (!isReachable(bucket, line, HOST_PROBES, overflows) || !hasBit(filter, address >>> shift)) continue
      found[length] = address
      values[length++] = value
    }
  }
  return sortCells({ width: 1, length, keys: found.subarray(0, length), values })
}
