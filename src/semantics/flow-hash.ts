// Reference model of the flow hash; bpf/include/flow.h and sip_hash.h implement it in C. The hash selects the slot of a
// service's table. It depends on the packet and the key of the config alone, so that every balancer of a VIP sends a flow
// to the same backend. The place of a flow in the tables of one instance is another function, with a secret of its own.

import type { Address } from '../model/address.ts'
import type { FlowHash } from '../model/service.ts'
import { sipHash, sipKey } from './sip-hash.ts'

/** Input of the hash. Ports in host order. */
export interface Flow {
  readonly source: Address
  readonly sourcePort: number
  readonly destination: Address
  readonly destinationPort: number
  /** IP protocol number. */
  readonly protocol: number
}

const MASK = (1n << 64n) - 1n
/**
 * Odd numbers without a simple ratio to 2^64: 2^64 / golden ratio, and the output of splitmix64 (Steele, Lea, Flood,
 * OOPSLA 2014) for seeds 1 to 4, made odd. One product each, so that the CPU computes them in parallel.
 */
const SOURCE_HIGH = 0x9e3779b97f4a7c15n
const SOURCE_LOW = 0x910a2dec89025cc1n
const DESTINATION_HIGH = 0x975835de1c9756cfn
const DESTINATION_LOW = 0x1d0b14e4db018fedn
const PORTS = 0x6e73e372e2338acbn
/** The multipliers of splitmix64's finalizer. */
const SECOND = 0xbf58476d1ce4e5b9n
const THIRD = 0x94d049bb133111ebn

/** The halves of an address: IPv4 as ::ffff:a.b.c.d. */
function halves({ family, words }: Address): readonly [bigint, bigint] {
  const word = (at: number): bigint => BigInt(words[at] as number)
  if (family === 4) return [0n, 0xffff00000000n | word(0)]
  return [(word(0) << 32n) | word(1), (word(2) << 32n) | word(3)]
}

/** The words that are hashed. */
function wordsOf({ source, sourcePort, destination, destinationPort, protocol }: Flow, kind: FlowHash): bigint[] {
  if (kind === 'source') return [...halves(source)]
  const scope = (BigInt(protocol) << 32n) | (BigInt(sourcePort) << 16n) | BigInt(destinationPort)
  return [...halves(source), ...halves(destination), scope]
}

const MULTIPLIERS = [SOURCE_HIGH, SOURCE_LOW, DESTINATION_HIGH, DESTINATION_LOW, PORTS]

/**
 * 64 bits.
 *
 * @param kind `source`: hash of the source address alone
 * @param key of the config: 32 hex digits; empty = none
 */
export function flowHash(flow: Flow, kind: FlowHash, key = ''): bigint {
  const words = wordsOf(flow, kind)
  if (key !== '') return sipHash(words, sipKey(key))
  let hash = words.reduce((sum, word, i) => sum + word * (MULTIPLIERS[i] as bigint), 0n) & MASK
  hash = ((hash ^ (hash >> 30n)) * SECOND) & MASK
  hash = ((hash ^ (hash >> 27n)) * THIRD) & MASK
  return hash ^ (hash >> 31n)
}

/** Slot in a table of `size` slots: the low 32 bits of the hash, scaled. */
export const ringSlot = (hash: bigint, size: number): number => Number(((hash & 0xffffffffn) * BigInt(size)) >> 32n)
