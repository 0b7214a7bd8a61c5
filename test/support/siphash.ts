// SipHash-c-d of 64-bit words (Aumasson and Bernstein, 2012), as bpf/include/siphash.h has it for c = 1 and d = 3.

const MASK = (1n << 64n) - 1n

const rotated = (word: bigint, bits: bigint): bigint => ((word << bits) | (word >> (64n - bits))) & MASK

/** `key`: two words. */
export function siphash(
  key: readonly [bigint, bigint],
  words: readonly bigint[],
  { compression, finalization }: { readonly compression: number; readonly finalization: number },
): bigint {
  let [v0, v1, v2, v3] = [
    key[0] ^ 0x736f6d6570736575n,
    key[1] ^ 0x646f72616e646f6dn,
    key[0] ^ 0x6c7967656e657261n,
    key[1] ^ 0x7465646279746573n,
  ]
  const rounds = (count: number): void => {
    for (let i = 0; i < count; i++) {
      v0 = (v0 + v1) & MASK
      v2 = (v2 + v3) & MASK
      v1 = rotated(v1, 13n) ^ v0
      v3 = rotated(v3, 16n) ^ v2
      v0 = rotated(v0, 32n)
      v2 = (v2 + v1) & MASK
      v0 = (v0 + v3) & MASK
      v1 = rotated(v1, 17n) ^ v2
      v3 = rotated(v3, 21n) ^ v0
      v2 = rotated(v2, 32n)
    }
  }
  for (const word of [...words, BigInt(words.length * 8) << 56n]) {
    v3 ^= word
    rounds(compression)
    v0 ^= word
  }
  v2 ^= 0xffn
  rounds(finalization)
  return v0 ^ v1 ^ v2 ^ v3
}
