// Maglev consistent hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
// §3.4): a table of a prime number of slots, filled so that every backend has its share to within a slot, and that few
// slots change hands when a backend comes or goes. The same backends and weights give the same table on every machine,
// in whatever order they are listed, so that several balancers agree without talking.

import { type Backend, backendKey, takesFlows } from './service.ts'

/** Slots of most services' tables; a prime (paper, §5.3: 65537). */
export const RING_SIZE = 65537
/** Slots for each backend at least, so that shares differ by less than 1 % (paper, §3.4). */
const SLOTS_A_BACKEND = 100
/** The next primes after powers of two, for more backends than RING_SIZE / SLOTS_A_BACKEND. */
const LARGER = [131101, 262147, 524309, 1048583, 2097169, 4194319, 8388617] as const

/** Slots of a table for so many backends. */
export function ringSize(backends: number): number {
  const wanted = backends * SLOTS_A_BACKEND
  if (wanted <= RING_SIZE) return RING_SIZE
  return LARGER.find((size) => size >= wanted) ?? (LARGER.at(-1) as number)
}

/** Murmur3's 32-bit finalizer over the characters of a text: two independent numbers from two seeds. */
function hashText(text: string, seed: number): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x5bd1e995)
    hash ^= hash >>> 15
  }
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Nothing of the table is of any backend. */
export const EMPTY_RING = new Uint32Array(0)

/**
 * The table of a service's backends: by slot the index in `backends`. Backends without weight or not active have no
 * slot; none at all give an empty table.
 *
 * Weights: in every round a backend adds its weight to its account and takes a slot for each full share of the largest
 * weight, so that a weight of 1 beside 100 takes one slot in every hundredth round.
 */
export function makeRing(
  backends: readonly Backend[],
  size = ringSize(backends.filter(takesFlows).length),
): Uint32Array {
  const takers = backends
    .map((backend, index) => ({ index, key: backendKey(backend), weight: takesFlows(backend) ? backend.weight : 0 }))
    .filter(({ weight }) => weight > 0)
    .map((taker) => ({ ...taker, turn: hashText(taker.key, 0x1b873593) }))
    .sort((a, b) => a.turn - b.turn || (a.key < b.key ? -1 : 1))
  if (takers.length === 0) return EMPTY_RING
  const most = Math.max(...takers.map(({ weight }) => weight))
  const ring = new Uint32Array(size).fill(0xffffffff)
  const skips = Float64Array.from(takers, ({ key }) => (hashText(key, 0x9747b28c) % (size - 1)) + 1)
  const next = Float64Array.from(takers, ({ key }) => hashText(key, 0x2f0b4c47) % size)
  const accounts = new Float64Array(takers.length)
  for (let filled = 0; ; ) {
    for (let taker = 0; taker < takers.length; taker++) {
      accounts[taker] = (accounts[taker] as number) + (takers[taker] as { weight: number }).weight
      if ((accounts[taker] as number) < most) continue
      accounts[taker] = (accounts[taker] as number) - most
      let slot = next[taker] as number
      while (ring[slot] !== 0xffffffff) slot = (slot + (skips[taker] as number)) % size
      ring[slot] = (takers[taker] as { index: number }).index
      next[taker] = (slot + (skips[taker] as number)) % size
      if (++filled === size) return ring
    }
  }
}

/** Slots by backend index. */
export function ringShares(ring: Uint32Array, backends: number): Uint32Array {
  const shares = new Uint32Array(backends)
  for (const index of ring) shares[index] = (shares[index] as number) + 1
  return shares
}
