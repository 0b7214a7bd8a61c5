// Estimates of distinct sources, from ranks as the program writes them (bpf/include/observe.h).

import { expect, test } from 'vitest'
import { distinctSources } from '../../../src/model/distinct.ts'

const REGISTERS = 256
const MASK = (1n << 64n) - 1n

/** The finalizer of splitmix64, as in bpf/include/flow.h. */
function mixed(number: bigint): bigint {
  let hash = number
  hash = ((hash ^ (hash >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK
  hash = ((hash ^ (hash >> 27n)) * 0x94d049bb133111ebn) & MASK
  return hash ^ (hash >> 31n)
}

function ranksOf(sources: Iterable<bigint>): Uint8Array {
  const ranks = new Uint8Array(REGISTERS)
  for (const source of sources) {
    const hash = mixed((source * 0x9e3779b97f4a7c15n) & MASK)
    const [number, rest] = [Number(hash % 256n), hash / 256n]
    const trailing = rest === 0n ? 63 : rest.toString(2).length - 1 - rest.toString(2).lastIndexOf('1')
    ranks[number] = Math.max(ranks[number] as number, trailing + 1)
  }
  return ranks
}

const counting = (first: bigint, count: number): bigint[] => Array.from({ length: count }, (_, i) => first + BigInt(i))

test('no source leaves no rank', () => {
  expect(distinctSources(new Uint8Array(REGISTERS))).toBe(0)
})

test('one source is one, however often it comes', () => {
  expect(distinctSources(ranksOf([0xc0000201n, 0xc0000201n, 0xc0000201n]))).toBe(1)
})

test.each([10, 100, 1000, 10_000, 100_000])(
  '%d addresses in a row are estimated within four standard errors',
  (count) => {
    for (const first of [0x0a000000n, 0xc6336400n, 0x20010db8n << 32n]) {
      const estimate = distinctSources(ranksOf(counting(first, count)))
      expect(Math.abs(estimate / count - 1)).toBeLessThan(0.26)
    }
  },
)

test('numbers have two digits', () => {
  expect(distinctSources(ranksOf(counting(1n, 12_345)))).toSatisfy((estimate: number) => estimate % 1000 === 0)
})
