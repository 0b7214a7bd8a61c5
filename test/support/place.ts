// Model of the places of flows in the tables of an instance (place_flow in bpf/include/flow.h), and the keys that the data
// planes of tests have.

import type { FlowKeys } from '../../src/abi/generated.ts'
import type { Flow } from '../../src/semantics/flow-hash.ts'

const MASK = (1n << 64n) - 1n
const HALF = (1n << 32n) - 1n

export const FLOW_KEYS: FlowKeys = {
  source_high: 0x0123456789abcdefn,
  source_low: 0xfedcba9876543210n,
  destination_high: 0x0f1e2d3c4b5a6978n,
  destination_low: 0x8796a5b4c3d2e1f0n,
  scope: 0x13579bdf02468acen,
}

const product = (number: bigint, key: bigint): bigint =>
  (((number >> 32n) + (key >> 32n)) & HALF) * ((number + key) & HALF)

const halves = ({ family, words }: Flow['source']): readonly [bigint, bigint] => {
  const word = (at: number): bigint => BigInt(words[at] as number)
  if (family === 4) return [0n, 0xffff00000000n | word(0)]
  return [(word(0) << 32n) | word(1), (word(2) << 32n) | word(3)]
}

/** The place of a flow of a service that hashes by five tuple. */
export function placeOf(flow: Flow, keys: FlowKeys = FLOW_KEYS): bigint {
  const [sourceHigh, sourceLow] = halves(flow.source)
  const [destinationHigh, destinationLow] = halves(flow.destination)
  const scope = (BigInt(flow.protocol) << 32n) | (BigInt(flow.sourcePort) << 16n) | BigInt(flow.destinationPort)
  let number =
    (product(sourceHigh, keys.source_high) +
      product(sourceLow, keys.source_low) +
      product(destinationHigh, keys.destination_high) +
      product(destinationLow, keys.destination_low) +
      product(scope, keys.scope)) &
    MASK
  number = ((number ^ (number >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
  number = ((number ^ (number >> 27n)) * 0x94d049bb133111ebn) & MASK
  return number ^ (number >> 31n)
}
