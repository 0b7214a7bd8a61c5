// SipHash (Aumasson, Bernstein: SipHash: a fast short-input PRF, INDOCRYPT 2012) of whole 64-bit words, as the balancer
// uses it: bpf/include/sip_hash.h implements it too.

const MASK = (1n << 64n) - 1n

const rotated = (number: bigint, bits: bigint): bigint => ((number << bits) | (number >> (64n - bits))) & MASK

/** A key of 128 bits as two little-endian numbers. */
export type SipKey = readonly [low: bigint, high: bigint]

/** The key of 32 hex digits, which are its bytes. */
export function sipKey(digits: string): SipKey {
  const bytes = Buffer.from(digits, 'hex')
  return [bytes.readBigUInt64LE(0), bytes.readBigUInt64LE(8)]
}

/**
 * @param words the input: 8 bytes each, little-endian
 * @param rounds per word and at the end; SipHash-1-3 by default
 */
export function sipHash(
  words: readonly bigint[],
  [low, high]: SipKey,
  rounds: readonly [each: number, last: number] = [1, 3],
): bigint {
  let [v0, v1, v2, v3] = [
    low ^ 0x736f6d6570736575n,
    high ^ 0x646f72616e646f6dn,
    low ^ 0x6c7967656e657261n,
    high ^ 0x7465646279746573n,
  ]
  const round = (times: number): void => {
    for (let i = 0; i < times; i++) {
      v0 = (v0 + v1) & MASK
      v1 = rotated(v1, 13n) ^ v0
      v0 = rotated(v0, 32n)
      v2 = (v2 + v3) & MASK
      v3 = rotated(v3, 16n) ^ v2
      v0 = (v0 + v3) & MASK
      v3 = rotated(v3, 21n) ^ v0
      v2 = (v2 + v1) & MASK
      v1 = rotated(v1, 17n) ^ v2
      v2 = rotated(v2, 32n)
    }
  }
  const [each, last] = rounds
  for (const word of [...words, (BigInt(words.length * 8) << 56n) & MASK]) {
    v3 ^= word
    round(each)
    v0 ^= word
  }
  v2 ^= 0xffn
  round(last)
  return v0 ^ v1 ^ v2 ^ v3
}
