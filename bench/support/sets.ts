// Random sets of addresses and workloads over them, equal in every run.

import type { Family, Ranges } from '../../src/model/address.ts'
import { contains, normalize } from '../../src/model/ranges.ts'

/** A uniform random 32-bit number. */
export type Random = () => number

/** A set, and functions that draw addresses inside and outside of it, into the given words. */
export interface Workload {
  readonly family: Family
  readonly set: Ranges
  /** Whether it contains only single addresses. */
  readonly hosts: boolean
  hit(words: Uint32Array): void
  miss(words: Uint32Array): void
}

/** xorshift128 (Marsaglia 2003). */
export function makeRandom(seed: number): Random {
  const state = Uint32Array.of(123456789, 362436069, 521288629, seed)
  return () => {
    const t = (state[0] as number) ^ ((state[0] as number) << 11)
    state.copyWithin(0, 1)
    state[3] = (state[2] as number) ^ ((state[2] as number) >>> 19) ^ t ^ (t >>> 8)
    return state[3] as number
  }
}

const below = (random: Random, limit: number): number => Math.floor((random() / 2 ** 32) * limit)

function pickFrom<T>(random: Random, weighted: readonly (readonly [number, T])[]): T {
  let left = random() / 2 ** 32
  for (const [weight, value] of weighted) {
    left -= weight
    if (left < 0) return value
  }
  return (weighted.at(-1) as readonly [number, T])[1]
}

function missing(set: Ranges, draw: (words: Uint32Array) => void): (words: Uint32Array) => void {
  return (words) => {
    do draw(words)
    while (contains(set, words) >= 0)
  }
}

/** `count` random IPv4 addresses; misses are random addresses too. */
export function hosts4(count: number, seed = 1): Workload {
  const random = makeRandom(seed)
  const addresses = Uint32Array.from({ length: count }, random)
  const set = normalize(4, addresses, addresses)
  return {
    family: 4,
    set,
    hosts: true,
    hit(words) {
      words[0] = addresses[below(random, count)] as number
    },
    miss: missing(set, (words) => {
      words[0] = random()
    }),
  }
}

/** 60 % hosts, 25 % /24, the rest from /8 to /31, each length 1.5 times as frequent as the previous one. */
const LENGTHS4: readonly (readonly [number, number])[] = [
  [0.6, 32],
  [0.25, 24],
  ...Array.from({ length: 24 }, (_, i) => [(0.15 * 0.5 * 1.5 ** i) / (1.5 ** 24 - 1), 8 + i] as const),
]

/** `count` IPv4 prefixes in the mixture of blocklists; misses are random addresses. */
export function mixed4(count: number, seed = 4): Workload {
  const random = makeRandom(seed)
  const start = new Uint32Array(count)
  const end = new Uint32Array(count)
  for (let i = 0; i < count; i++) {
    const hostBits = 2 ** (32 - pickFrom(random, LENGTHS4)) - 1
    const address = random()
    start[i] = address & ~hostBits
    end[i] = address | hostBits
  }
  const set = normalize(4, start, end)
  return {
    family: 4,
    set,
    hosts: false,
    hit(words) {
      const i = below(random, count)
      const host = (start[i] as number) ^ (end[i] as number)
      words[0] = (start[i] as number) | (random() & host)
    },
    miss: missing(set, (words) => {
      words[0] = random()
    }),
  }
}

/** Blocks of the regional registries that contain most allocations: first 16 bits; the bits below them vary. */
const REGISTRY_BLOCKS = [0x2001, 0x2400, 0x2404, 0x2600, 0x2604, 0x2800, 0x2a00, 0x2a02, 0x2a0a, 0x2c0f]
/** Prefixes per allocation, few enough that lists overlap little, and a minimum of allocations. */
const PREFIXES_AN_ALLOCATION = 20 / 3
const ALLOCATIONS = 15_000
/** Lengths in blocklists: single hosts, subnets, sites, customers, whole providers. */
const LENGTHS6 = [
  [0.35, 128],
  [0.3, 64],
  [0.2, 48],
  [0.08, 56],
  [0.03, 112],
  [0.02, 44],
  [0.02, 32],
] as const

/** A host somewhere in an allocation: sites and subnets are numbered from 0 upward or at random, and so are hosts. */
function drawHost6(random: Random, allocation: number, words: Uint32Array): void {
  const site = random() & 1 ? below(random, 256) : random() & 0xffff
  const subnet = random() & 1 ? below(random, 16) : random() & 0xffff
  const numbered = (random() & 1) === 1
  words[0] = allocation
  words[1] = (site << 16) | subnet
  words[2] = numbered ? 0 : random()
  words[3] = numbered ? below(random, 4096) : random()
}

/** Clears (or sets) the host bits of a prefix. */
function setHostBits(words: Uint32Array, length: number, ones: boolean): void {
  for (let word = 0; word < 4; word++) {
    const bits = Math.min(32, Math.max(0, length - word * 32))
    const mask = bits === 0 ? 0xffffffff : bits === 32 ? 0 : 0xffffffff >>> bits
    words[word] = ones ? (words[word] as number) | mask : (words[word] as number) & ~mask
  }
}

/** `count` IPv6 prefixes of mixed lengths inside allocations; misses are hosts inside the same allocations. */
export function mixed6(count: number, seed = 6): Workload {
  const random = makeRandom(seed)
  const total = Math.max(ALLOCATIONS, Math.round(count / PREFIXES_AN_ALLOCATION))
  const allocations = Uint32Array.from({ length: total }, () => {
    const block = REGISTRY_BLOCKS[below(random, REGISTRY_BLOCKS.length)] as number
    return block * 0x10000 + (random() & 0xffff)
  })
  const draw = (words: Uint32Array): void => drawHost6(random, allocations[below(random, total)] as number, words)
  const start = new Uint32Array(count * 4)
  const end = new Uint32Array(count * 4)
  for (let i = 0; i < count; i++) {
    const first = start.subarray(i * 4, i * 4 + 4)
    const last = end.subarray(i * 4, i * 4 + 4)
    const length = pickFrom(random, LENGTHS6)
    draw(first)
    last.set(first)
    setHostBits(first, length, false)
    setHostBits(last, length, true)
  }
  const set = normalize(6, start, end)
  return {
    family: 6,
    set,
    hosts: false,
    hit(words) {
      const i = below(random, count) * 4
      for (let word = 0; word < 4; word++) {
        const host = (start[i + word] as number) ^ (end[i + word] as number)
        words[word] = ((start[i + word] as number) | (host === 0 ? 0 : random() & host)) >>> 0
      }
    },
    miss: missing(set, draw),
  }
}
