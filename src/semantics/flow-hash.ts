// Reference model of the flow hash; bpf/include/flow.h implements it in C. The hash selects the slot of a service's
// table and the position in the flow table. It has no secret and no state, so that every balancer of a VIP sends a flow
// to the same backend.

import type { Address } from '../model/address.ts'
import type { FlowHash } from '../model/service.ts'

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

/** 64 bits. `source`: hash of the source address alone. */
export function flowHash({ source, sourcePort, destination, destinationPort, protocol }: Flow, kind: FlowHash): bigint {
  const [high, low] = halves(source)
  let hash = high * SOURCE_HIGH + low * SOURCE_LOW
  if (kind === 'five_tuple') {
    const [destinationHigh, destinationLow] = halves(destination)
    const ports = (BigInt(protocol) << 32n) | (BigInt(sourcePort) << 16n) | BigInt(destinationPort)
    hash += destinationHigh * DESTINATION_HIGH + destinationLow * DESTINATION_LOW + ports * PORTS
  }
  hash &= MASK
  hash = ((hash ^ (hash >> 30n)) * SECOND) & MASK
  hash = ((hash ^ (hash >> 27n)) * THIRD) & MASK
  return hash ^ (hash >> 31n)
}

/** Slot in a table of `size` slots: the low 32 bits of the hash, scaled. */
export const ringSlot = (hash: bigint, size: number): number => Number(((hash & 0xffffffffn) * BigInt(size)) >> 32n)
