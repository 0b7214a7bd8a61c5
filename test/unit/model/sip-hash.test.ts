// SipHash, by test vectors: of its authors (vectors_sip64 in vectors.h) for SipHash-2-4, of OpenSSL for SipHash-1-3.

import { expect, test } from 'vitest'
import { flowHash } from '../../../src/semantics/flow-hash.ts'
import { sipHash, sipKey } from '../../../src/semantics/sip-hash.ts'
import { address } from '../../support/services.ts'

const DIGITS = '000102030405060708090a0b0c0d0e0f'
/** Words of the bytes 0, 1, 2 … */
const words = (count: number): bigint[] =>
  Array.from({ length: count }, (_, i) => Buffer.from(Array.from({ length: 8 }, (__, at) => i * 8 + at))).map((bytes) =>
    bytes.readBigUInt64LE(),
  )

test.each([
  [0, [2, 4], '310e0edd47db6f72'],
  [1, [2, 4], '6224939a79f5f593'],
  [2, [2, 4], 'db9bc2577fcc2a3f'],
  [2, [1, 3], '668b907d1add4fcc'],
  [5, [1, 3], '3115e4993236d2c1'],
] as const)('of %i words with %j rounds', (count, rounds, expected) => {
  const result = Buffer.alloc(8)
  result.writeBigUInt64LE(sipHash(words(count), sipKey(DIGITS), rounds))
  expect(result.toString('hex')).toBe(expected)
})

test('a keyed hash depends on every field of a flow, and by source on the source alone', () => {
  const flow = {
    source: address('2001:db8::7'),
    sourcePort: 40000,
    destination: address('2001:db8::80'),
    destinationPort: 80,
    protocol: 6,
  }
  const others = [
    { ...flow, sourcePort: 40001 },
    { ...flow, destinationPort: 81 },
    { ...flow, protocol: 17 },
    { ...flow, destination: address('2001:db8:1::80') },
  ]
  const all = [flow, ...others, { ...flow, source: address('2001:db8::8') }]
  expect(new Set(all.map((one) => flowHash(one, 'five_tuple', DIGITS))).size).toBe(all.length)
  expect(new Set([flow, ...others].map((one) => flowHash(one, 'source', DIGITS))).size).toBe(1)
  expect(flowHash(flow, 'five_tuple', DIGITS)).not.toBe(flowHash(flow, 'five_tuple', DIGITS.replace('0f', '1f')))
  expect(flowHash(flow, 'five_tuple', DIGITS)).not.toBe(flowHash(flow, 'five_tuple'))
})
