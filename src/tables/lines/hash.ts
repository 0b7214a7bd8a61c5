// Hash tables with one cache line per bucket: the placement of keys. A full bucket overflows into the next lines, as
// many as the reader probes. Keys are up to 64 bits; the hash is the upper half of the low 64 bits of key * multiplier,
// as the reader computes it.

import { multiplyHigh } from './lines.ts'

/** An odd 64-bit number in two words. */
export interface Multiplier {
  readonly high: number
  readonly low: number
}

/**
 * Tried in this order, so that equal keys always give equal tables. The first is 2^64 / golden ratio (Knuth, The Art of
 * Computer Programming 6.4), which spreads arithmetic progressions; the others are the output of splitmix64 for seeds
 * 1, 2 and 3, made odd.
 */
export const MULTIPLIERS: readonly Multiplier[] = [
  { high: 0x9e3779b9, low: 0x7f4a7c15 },
  { high: 0x910a2dec, low: 0x89025cc1 },
  { high: 0x975835de, low: 0x1c9756cf },
  { high: 0x1d0b14e4, low: 0xdb018fed },
]

/** Target share of occupied slots: at most one key in twenty then lies outside its line. */
export const LOAD = 0.6

/** Keys as two columns of words; `high` undefined = all zero. */
export interface Keys {
  readonly length: number
  readonly high: Uint32Array | undefined
  readonly low: Uint32Array
}

export const hashOf = (high: number, low: number, multiplier: Multiplier): number =>
  (multiplyHigh(low, multiplier.low) + Math.imul(low, multiplier.high) + Math.imul(high, multiplier.low)) >>> 0

/** The line of a hash's bucket: `hash * buckets >> 32`. */
export const bucketOf = multiplyHigh

export interface Placement {
  readonly multiplier: Multiplier
  /** Number of lines that are buckets. The table has `probes - 1` further lines for overflow at its end. */
  readonly buckets: number
  /** Total number of lines. */
  readonly lines: number
  /** By key: line * slots + slot. */
  readonly places: Uint32Array
  /** By line: 1 = keys of this line's bucket lie in the next line. */
  readonly overflow: Uint8Array
}

/** Places keys in lines of `slots`, growing the table until every key lies within `probes` lines of its bucket. */
export function place(keys: Keys, slots: number, probes: number): Placement {
  let buckets = Math.max(1, Math.ceil(keys.length / (slots * LOAD)))
  while (true) {
    for (const multiplier of MULTIPLIERS) {
      const found = tryPlace(keys, slots, probes, multiplier, buckets)
      if (found) return found
    }
    buckets = Math.ceil(buckets * 1.25)
  }
}

/** Places keys in a table of this many buckets; undefined if one lies too far from its bucket. */
function tryPlace(
  keys: Keys,
  slots: number,
  probes: number,
  multiplier: Multiplier,
  buckets: number,
): Placement | undefined {
  const { high, low, length } = keys
  const lines = buckets + probes - 1
  const used = new Uint8Array(lines)
  const overflow = new Uint8Array(lines)
  const places = new Uint32Array(length)
  for (let i = 0; i < length; i++) {
    const bucket = bucketOf(hashOf(high ? (high[i] as number) : 0, low[i] as number, multiplier), buckets)
    let line = bucket
    while (used[line] === slots) {
      if (line - bucket === probes - 1) return undefined
      overflow[line++] = 1
    }
    const slot = used[line] as number
    places[i] = line * slots + slot
    used[line] = slot + 1
  }
  return { multiplier, buckets, lines, places, overflow }
}

/** Whether a reader that starts at `bucket` reaches `line`. */
export function isReachable(
  bucket: number,
  line: number,
  probes: number,
  overflows: (line: number) => boolean,
): boolean {
  if (line < bucket || line - bucket >= probes) return false
  for (let passed = bucket; passed < line; passed++) if (!overflows(passed)) return false
  return true
}

/** As __u64. */
export const multiplierValue = ({ high, low }: Multiplier): bigint => (BigInt(high) << 32n) | BigInt(low)

export const multiplierFrom = (value: bigint): Multiplier => ({
  high: Number(value >> 32n),
  low: Number(value & 0xffffffffn),
})
