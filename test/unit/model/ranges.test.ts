import { expect, test } from 'vitest'
import type { Ranges } from '../../../src/model/address.ts'
import { countPrefixes, prefixes } from '../../../src/model/prefixes.ts'
import { contains, EMPTY4, EMPTY6, equals, normalize, subtract, union } from '../../../src/model/ranges.ts'

type Pair = readonly [number, number]

const of4 = (...pairs: readonly Pair[]): Ranges =>
  normalize(
    4,
    Uint32Array.from(pairs, ([start]) => start),
    Uint32Array.from(pairs, ([, end]) => end),
  )

const pairs4 = (ranges: Ranges): number[][] =>
  Array.from({ length: ranges.length }, (_, i) => [ranges.start[i] as number, ranges.end[i] as number])

const words6 = (value: bigint): number[] => [96n, 64n, 32n, 0n].map((shift) => Number((value >> shift) & 0xffffffffn))

const of6 = (...pairs: readonly (readonly [bigint, bigint])[]): Ranges =>
  normalize(
    6,
    Uint32Array.from(pairs.flatMap(([start]) => words6(start))),
    Uint32Array.from(pairs.flatMap(([, end]) => words6(end))),
  )

const value6 = (words: Uint32Array, index: number): bigint =>
  [0, 1, 2, 3].reduce((value, word) => (value << 32n) | BigInt(words[index * 4 + word] as number), 0n)

const pairs6 = (ranges: Ranges): bigint[][] =>
  Array.from({ length: ranges.length }, (_, i) => [value6(ranges.start, i), value6(ranges.end, i)])

const ALL4 = 0xffffffff
const ALL6 = (1n << 128n) - 1n

test('normalize sorts ranges, and joins those that overlap, nest, touch or repeat', () => {
  const ranges = of4([30, 40], [1, 1], [2, 3], [35, 38], [39, 50], [1, 1], [60, 60])
  expect(pairs4(ranges)).toEqual([
    [1, 3],
    [30, 50],
    [60, 60],
  ])
})

test('normalize keeps one-address gaps, and both edges of the space', () => {
  expect(pairs4(of4([ALL4, ALL4], [0, 0], [2, 2]))).toEqual([
    [0, 0],
    [2, 2],
    [ALL4, ALL4],
  ])
  expect(pairs4(of4([0, ALL4], [5, 6]))).toEqual([[0, ALL4]])
  expect(pairs4(of4([ALL4, ALL4], [0, ALL4 - 1]))).toEqual([[0, ALL4]])
})

test('normalize joins IPv6 ranges across word edges and does not wrap at the end of the space', () => {
  const edge = 1n << 64n
  expect(
    pairs6(of6([edge, edge], [0n, edge - 1n], [ALL6, ALL6], [edge * 2n, edge * 2n], [1n << 32n, (1n << 33n) - 1n])),
  ).toEqual([
    [0n, edge],
    [edge * 2n, edge * 2n],
    [ALL6, ALL6],
  ])
})

test('normalize of nothing is the empty set of its family', () => {
  expect(equals(of4(), EMPTY4)).toBe(true)
  expect(equals(of6(), EMPTY6)).toBe(true)
})

test('union and subtract meet at shared edges', () => {
  expect(pairs4(union(of4([1, 5], [20, 30]), of4([6, 9], [25, 40])))).toEqual([
    [1, 9],
    [20, 40],
  ])
  expect(pairs4(subtract(of4([0, 10], [20, 30], [40, 50]), of4([0, 0], [5, 5], [10, 25], [30, 30], [35, 60])))).toEqual(
    [
      [1, 4],
      [6, 9],
      [26, 29],
    ],
  )
  expect(pairs4(subtract(of4([0, ALL4]), of4([0, 0], [ALL4, ALL4])))).toEqual([[1, ALL4 - 1]])
  expect(subtract(of4([0, ALL4]), of4([0, ALL4])).length).toBe(0)
  expect(pairs6(subtract(of6([0n, ALL6]), of6([1n << 64n, 1n << 64n])))).toEqual([
    [0n, (1n << 64n) - 1n],
    [(1n << 64n) + 1n, ALL6],
  ])
})

test('contains finds the range of an address at, before and after every edge', () => {
  const ranges = of4([5, 9], [11, 11], [ALL4 - 1, ALL4])
  const at = (address: number): number => contains(ranges, Uint32Array.of(address))
  expect([0, 4, 5, 9, 10, 11, 12, ALL4 - 2, ALL4 - 1, ALL4].map(at)).toEqual([-1, -1, 0, 0, -1, 1, -1, -1, 2, 2])
  expect(contains(of6([1n << 96n, ALL6]), Uint32Array.of(9, 9, 1, 0, 0, 0), 2)).toBe(0)
  expect(contains(EMPTY6, new Uint32Array(4))).toBe(-1)
})

test('a range is covered by the smallest set of prefixes', () => {
  const cover = (ranges: Ranges): string[] => [...prefixes(ranges)].map(({ words, length }) => `${words}/${length}`)
  expect(cover(of4([1, 6]))).toEqual(['1/32', '2/31', '4/31', '6/32'])
  expect(cover(of4([0, ALL4]))).toEqual(['0/0'])
  expect(cover(of4([8, 15], [17, 17]))).toEqual(['8/29', '17/32'])
  expect(cover(of6([0n, ALL6]))).toEqual(['0,0,0,0/0'])
  expect(cover(of6([ALL6, ALL6]))).toEqual([`${ALL4},${ALL4},${ALL4},${ALL4}/128`])
  expect(cover(of6([1n << 80n, (1n << 81n) - 1n]))).toEqual(['0,65536,0,0/48'])
  expect(countPrefixes(of4([1, 6], [8, 15]))).toBe(5)
  expect(countPrefixes(of4([1, ALL4 - 1]))).toBe(62)
  expect(countPrefixes(of6([1n, ALL6 - 1n]))).toBe(254)
  expect(countPrefixes(EMPTY4)).toBe(0)
})
