// Maglev consistent hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
// §3.4): a table with a prime number of slots, filled so that every backend gets its share to within a slot, and few
// slots change owner when a backend comes or goes. Equal sets of backends and weights give equal tables on every
// machine, in whatever order they are listed, so that several balancers agree without communication.

import { type Backend, backendKey, isInRing, isStandby } from '../model/service.ts'

/** Index of a backend for each slot. */
export type Ring = Uint16Array

/** Slots in the tables of most services; a prime (paper, §5.3: 65537). */
export const RING_SIZE = 65537
/** Minimum of slots per backend, so that shares differ by less than 1 % (paper, §3.4). */
const SLOTS_A_BACKEND = 100
/** Most backends with a table of the usual size. */
export const BACKENDS_A_RING = Math.floor(RING_SIZE / SLOTS_A_BACKEND)
/** The next primes after powers of two, for more backends than RING_SIZE / SLOTS_A_BACKEND. */
const LARGER = [131101, 262147, 524309, 1048583, 2097169, 4194319, 8388617] as const

/** Table size for a number of backends. */
export function ringSize(backends: number): number {
  const wanted = backends * SLOTS_A_BACKEND
  if (wanted <= RING_SIZE) return RING_SIZE
  return LARGER.find((size) => size >= wanted) ?? (LARGER.at(-1) as number)
}

/** Murmur3's 32-bit finalizer over the characters of a text: two seeds give two independent numbers. */
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

/** The table of a service without active backends. */
export const EMPTY_RING: Ring = new Uint16Array(0)

/**
 * Fills the table of a service's backends: for each slot an index into `backends`. The table for a given set of
 * backends must never change: an apply takes over tables from images that an older build wrote, so another fill
 * algorithm needs another ABI_VERSION. Backups and backends without weight or not active get no slot; without any other
 * backend the table is empty.
 *
 * Weights: in every round each backend adds its weight to its account and takes a slot for each full share of the
 * largest weight. A weight of 1 beside 100 takes one slot in every hundredth round.
 */
export function makeRing(
  backends: readonly Backend[],
  size: number = ringSize(backends.filter(isInRing).length),
): Ring {
  const takers = backends
    .map((backend, index) => ({ index, key: backendKey(backend), weight: isInRing(backend) ? backend.weight : 0 }))
    .filter(({ weight }) => weight > 0)
    .map((taker) => ({ ...taker, turn: hashText(taker.key, 0x1b873593) }))
    .sort((a, b) => a.turn - b.turn || (a.key < b.key ? -1 : 1))
  if (takers.length === 0) return EMPTY_RING
  return fill(new Uint16Array(size), {
    most: Math.max(...takers.map(({ weight }) => weight)),
    weights: Int32Array.from(takers, ({ weight }) => weight),
    steps: Int32Array.from(takers, ({ key }) => (hashText(key, 0x9747b28c) % (size - 1)) + 1 - size),
    next: Int32Array.from(takers, ({ key }) => hashText(key, 0x2f0b4c47) % size),
    indexes: Uint16Array.from(takers, ({ index }) => index),
  })
}

/** The backends that take slots, in the order of their turns. */
interface Takers {
  /** The largest weight. */
  readonly most: number
  readonly weights: Int32Array
  /** Step from a slot to the next one in the backend's preference, modulo the table size: less than zero. */
  readonly steps: Int32Array
  /** The next slot in the backend's preference. */
  readonly next: Int32Array
  readonly indexes: Uint16Array
}

/** The slot `step` away, without a branch that the CPU would mispredict half of the time. */
const stepFrom = (slot: number, step: number, size: number): number => {
  const at = slot + step
  return at + (size & (at >> 31))
}

/** The first vacant slot from `from` on, in steps of `step`. `taken`: one bit per slot. */
function findVacant(taken: Int32Array, from: number, step: number, size: number): number {
  let slot = from
  while ((((taken[slot >> 5] as number) >> (slot & 31)) & 1) !== 0) slot = stepFrom(slot, step, size)
  return slot
}

function fill(ring: Ring, { most, weights, steps, next, indexes }: Takers): Ring {
  const size = ring.length
  const taken = new Int32Array((size >> 5) + 1)
  const accounts = new Int32Array(weights.length)
  for (let filled = 0; ; ) {
    for (let taker = 0; taker < weights.length; taker++) {
      const account = (accounts[taker] as number) + (weights[taker] as number)
      accounts[taker] = account < most ? account : account - most
      if (account < most) continue
      const step = steps[taker] as number
      const slot = findVacant(taken, next[taker] as number, step, size)
      taken[slot >> 5] = (taken[slot >> 5] as number) | (1 << (slot & 31))
      ring[slot] = indexes[taker] as number
      next[taker] = stepFrom(slot, step, size)
      if (++filled === size) return ring
    }
  }
}

/** Capacity of `ringOf`'s cache in slots, over all tables: 128 MiB. */
const KEPT_SLOTS = 2 ** 26
const kept = new Map<string, Ring>()
let keptSlots = 0

/**
 * Cached makeRing, whose result depends only on keys and weights: comparing, compiling and explaining a state all need
 * the same tables. Callers must not write to the result.
 */
export function ringOf(backends: readonly Backend[]): Ring {
  const content = backends
    .map((backend) => (isInRing(backend) ? `${backendKey(backend)} ${backend.weight}` : ''))
    .join()
  const known = kept.get(content)
  const ring = known ?? makeRing(backends)
  kept.delete(content)
  kept.set(content, ring)
  if (known) return ring
  keptSlots += ring.length
  for (const [oldest, { length }] of kept) {
    if (keptSlots <= KEPT_SLOTS || oldest === content) break
    kept.delete(oldest)
    keptSlots -= length
  }
  return ring
}

/**
 * The table of a service's backups: that of a service in which backups and other backends have changed places. Services
 * have at most 655 backups, so it always has RING_SIZE slots.
 */
export const backupRingOf = (backends: readonly Backend[]): Ring =>
  backends.some(isStandby) ? ringOf(backends.map((backend) => ({ ...backend, backup: !backend.backup }))) : EMPTY_RING

/** Slots by backend index. */
export function ringShares(ring: Ring, backends: number): Uint32Array {
  const shares = new Uint32Array(backends)
  for (const index of ring) shares[index] = (shares[index] as number) + 1
  return shares
}
