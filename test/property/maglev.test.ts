// Tables of services: their shares, and the slots that move when a backend comes, goes or gets another weight. Bounds
// are from the paper (Eisenbud et al., NSDI 2016, §5.3) and from measurements with similar hashes.

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Backend } from '../../src/model/service.ts'
import { type Flow, flowHash, ringSlot } from '../../src/semantics/flow-hash.ts'
import { makeRing, RING_SIZE, type Ring, ringOf, ringShares, ringSize } from '../../src/semantics/maglev.ts'
import { address, backend } from '../support/services.ts'

const many = (count: number, weight = 1): Backend[] =>
  Array.from({ length: count }, (_, i) => backend(`10.${i >>> 16}.${(i >>> 8) & 255}.${i & 255}`, { weight }))

/** Share of slots whose backend differs, by address: indexes shift when a backend goes. */
function moved(
  before: Ring,
  from: readonly Backend[],
  after: Ring,
  to: readonly Backend[],
  ignoring?: Backend,
): number {
  let count = 0
  for (let slot = 0; slot < before.length; slot++) {
    const [one, other] = [from[before[slot] as number], to[after[slot] as number]]
    if (one !== other && one !== ignoring) count++
  }
  return count / before.length
}

test('tables are equal in every build of this ABI, because images take over tables of older ones', () => {
  const backends = [...many(7), backend('2001:db8::1', { weight: 3 }), backend('10.0.0.9 8080', { weight: 100 })]
  const bytes = new Uint8Array(makeRing(backends).buffer)
  expect(createHash('sha256').update(bytes).digest('hex').slice(0, 16)).toBe('e0beb360e9b4dde5')
})

describe('shares', () => {
  test.each([1, 2, 3, 10, 100, 655])('%i equal backends differ by at most one slot, and fill the table', (count) => {
    const ring = makeRing(many(count))
    const shares = ringShares(ring, count)
    expect(ring).toHaveLength(RING_SIZE)
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(RING_SIZE)
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1)
  })

  test('a weight of 1 beside 100 gets 0.99 %, to within a slot', () => {
    const [light] = ringShares(makeRing([backend('10.0.0.1', { weight: 1 }), backend('10.0.0.2', { weight: 100 })]), 2)
    expect(Math.abs((light as number) - RING_SIZE / 101)).toBeLessThanOrEqual(1)
  })

  test('weights of any size and number give shares in proportion', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(1, 2, 3, 7, 50, 100, 1000), { minLength: 1, maxLength: 12 }), (weights) => {
        const backends = many(weights.length).map((one, i) => ({ ...one, weight: weights[i] as number }))
        const sum = weights.reduce((total, weight) => total + weight, 0)
        for (const [i, share] of ringShares(makeRing(backends), backends.length).entries()) {
          const wanted = (RING_SIZE * (weights[i] as number)) / sum
          // The slots left at the end are filled by turn.
          expect(Math.abs(share - wanted)).toBeLessThanOrEqual(1 + wanted * 0.02)
        }
      }),
      { numRuns: 20 },
    )
  })

  test('weights far above the number of slots are shared too', () => {
    const shares = ringShares(makeRing(many(10, 20_000)), 10)
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1)
  })

  test('multiplying all weights changes nothing', () => {
    const weights = [1, 2, 5, 9]
    const scaled = (by: number): Ring =>
      makeRing(many(4).map((one, i) => ({ ...one, weight: (weights[i] as number) * by })))
    expect(scaled(7)).toEqual(scaled(1))
  })

  test('a higher weight never has fewer slots', () => {
    let before = 0
    for (const weight of [1, 2, 3, 5, 8, 20, 50, 100, 1000]) {
      const backends = many(10).map((one, i) => (i === 0 ? { ...one, weight } : { ...one, weight: 10 }))
      const [share] = ringShares(makeRing(backends), 10)
      expect(share).toBeGreaterThanOrEqual(before)
      before = share as number
    }
  })

  test('backends with weight 0, drain or disabled count as absent; without any other the table is empty', () => {
    const others = many(5)
    const away = [
      backend('10.9.0.1', { weight: 0 }),
      backend('10.9.0.2', { state: 'drain' }),
      backend('10.9.0.3', { state: 'disabled' }),
    ]
    const ring = makeRing([...away, ...others])
    expect(Array.from(ring, (index) => index - away.length)).toEqual([...makeRing(others)])
    expect(makeRing(away)).toHaveLength(0)
    expect(makeRing([])).toHaveLength(0)
  })
})

describe('moved slots', () => {
  test.each([
    [10, 0.005],
    [100, 0.01],
    [600, 0.01],
  ])('removing one of %i backends moves its share, and at most the given share of the others', (count, most) => {
    const backends = many(count)
    const before = makeRing(backends)
    for (const at of [0, 3, count - 1]) {
      const left = backends.toSpliced(at, 1)
      const after = makeRing(left, before.length)
      expect(moved(before, backends, after, left, backends[at])).toBeLessThanOrEqual(most)
      expect(moved(before, backends, after, left)).toBeLessThanOrEqual(1 / count + most)
    }
  })

  test('a backend that returns gets exactly its former slots', () => {
    const backends = many(50)
    const before = makeRing(backends)
    makeRing(backends.slice(1))
    expect(makeRing(backends)).toEqual(before)
  })

  test('halving a weight moves half of that share, and little else', () => {
    const backends = many(10, 100)
    const lighter = backends.with(0, backend('10.0.0.0', { weight: 50 }))
    const same = backends.with(0, lighter[0] as Backend)
    const share = moved(makeRing(backends), same, makeRing(lighter), lighter)
    expect(share).toBeGreaterThan(0.04)
    expect(share).toBeLessThan(0.06)
  })

  test('the order of backends changes nothing', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(many(40), { minLength: 2 }), (backends) => {
        const reversed = backends.toReversed()
        expect(moved(makeRing(backends), backends, makeRing(reversed), reversed)).toBe(0)
      }),
      { numRuns: 20 },
    )
  })
})

test('the table size is a prime, with at least a hundred slots per backend', () => {
  expect([1, 655, 656, 1310, 5000].map(ringSize)).toEqual([65537, 65537, 131101, 131101, 524309])
  for (const size of [655, 656, 40_000].map(ringSize)) {
    for (let factor = 2; factor * factor <= size; factor++) expect(size % factor).not.toBe(0)
  }
})

test('a cached table is returned again', () => {
  const [one, other] = [many(7), many(7)]
  expect(ringOf(one)).toBe(ringOf(other))
  expect(ringOf(one)).toEqual(makeRing(one))
  expect(ringOf(many(8))).not.toBe(ringOf(one))
})

describe('the flow hash', () => {
  const flows = (count: number): Flow[] =>
    Array.from({ length: count }, (_, i) => ({
      source: address(`10.${(i >>> 12) & 15}.${(i >>> 6) & 63}.${i & 63}`),
      sourcePort: 32768 + (i % 28000),
      destination: address('192.0.2.10'),
      destinationPort: 443,
      protocol: 6,
    }))

  test('spreads flows over backends like a fair die', () => {
    const count = 20_000
    const ring = makeRing(many(10))
    const hits = new Uint32Array(10)
    for (const flow of flows(count)) {
      const index = ring[ringSlot(flowHash(flow, 'five_tuple'), ring.length)] as number
      hits[index] = (hits[index] as number) + 1
    }
    // Five standard deviations of a binomial distribution.
    const most = 5 * Math.sqrt(count * 0.1 * 0.9)
    for (const hit of hits) expect(Math.abs(hit - count / 10)).toBeLessThan(most)
  })

  test('flips every bit with probability one half for every changed field', () => {
    const [base] = flows(1) as [Flow]
    const variants: Flow[] = [
      { ...base, sourcePort: base.sourcePort ^ 1 },
      { ...base, destinationPort: base.destinationPort ^ 0x8000 },
      { ...base, protocol: 17 },
      { ...base, source: address('10.0.0.1') },
      { ...base, destination: address('192.0.2.11') },
      { ...base, source: address('138.0.0.0') },
    ]
    const bits = (value: bigint): number => value.toString(2).replaceAll('0', '').length
    for (const variant of variants) {
      const differing = bits(flowHash(base, 'five_tuple') ^ flowHash(variant, 'five_tuple'))
      expect(differing).toBeGreaterThan(12)
      expect(differing).toBeLessThan(52)
    }
  })

  test('depends on the source alone, if by source', () => {
    const [one, other] = flows(2) as [Flow, Flow]
    const moved = { ...one, sourcePort: 1, destinationPort: 2, destination: address('192.0.2.99'), protocol: 17 }
    expect(flowHash(moved, 'source')).toBe(flowHash(one, 'source'))
    expect(flowHash(other, 'source')).not.toBe(flowHash(one, 'source'))
  })
})
