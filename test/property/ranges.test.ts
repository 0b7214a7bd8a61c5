// Compares range arithmetic with sets of small numbers, moved to both edges and the middle of the address space.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Family, Ranges } from '../../src/model/address.ts'
import { difference, patch } from '../../src/model/patch.ts'
import { countPrefixes, prefixes } from '../../src/model/prefixes.ts'
import { contains, equals, normalize, normalizeAddresses, subtract, union } from '../../src/model/ranges.ts'

const SPAN = 64

/** Bound number `offset` of the window: at the start, across a word edge, or at the end of the space. */
function bound(family: Family, window: number, offset: number): number[] {
  if (family === 4) return [([0, 0x7fffffe0, 0x100000000 - SPAN][window] as number) + offset]
  const low = window === 1 ? 0xffffffe0 + offset : offset
  if (window === 0) return [0, 0, 0, offset]
  if (window === 2) return [0xffffffff, 0xffffffff, 0xffffffff, 0x100000000 - SPAN + offset]
  return low > 0xffffffff ? [7, 1, 0, low - 0x100000000] : [7, 0, 0xffffffff, low]
}

const arbitrary = fc.record({
  family: fc.constantFrom<Family>(4, 6),
  window: fc.nat(2),
  a: fc.array(fc.tuple(fc.nat(SPAN - 1), fc.nat(SPAN - 1)), { maxLength: 12 }),
  b: fc.array(fc.tuple(fc.nat(SPAN - 1), fc.nat(SPAN - 1)), { maxLength: 12 }),
})

type Input = { family: Family; window: number }
type Offsets = readonly (readonly [number, number])[]

function rangesOf({ family, window }: Input, offsets: Offsets): Ranges {
  const bounds = (pick: (...both: number[]) => number): Uint32Array =>
    Uint32Array.from(offsets.flatMap((pair) => bound(family, window, pick(...pair))))
  return normalize(family, bounds(Math.min), bounds(Math.max))
}

function membersOf({ family, window }: Input, ranges: Ranges): number[] {
  const members: number[] = []
  for (let offset = 0; offset < SPAN; offset++) {
    if (contains(ranges, Uint32Array.from(bound(family, window, offset))) >= 0) members.push(offset)
  }
  return members
}

const setOf = (offsets: Offsets): Set<number> =>
  new Set(offsets.flatMap(([x, y]) => Array.from({ length: Math.abs(x - y) + 1 }, (_, i) => Math.min(x, y) + i)))

const sorted = (set: Iterable<number>): number[] => [...set].sort((x, y) => x - y)

test('sets of ranges behave as sets of addresses', () => {
  fc.assert(
    fc.property(arbitrary, ({ a, b, ...input }) => {
      const [left, right] = [rangesOf(input, a), rangesOf(input, b)]
      const [leftSet, rightSet] = [setOf(a), setOf(b)]
      expect(membersOf(input, left)).toEqual(sorted(leftSet))
      expect(membersOf(input, union(left, right))).toEqual(sorted(new Set([...leftSet, ...rightSet])))
      expect(membersOf(input, subtract(left, right))).toEqual(sorted([...leftSet].filter((x) => !rightSet.has(x))))
      expect(equals(left, right)).toBe(sorted(leftSet).join() === sorted(rightSet).join())
      expect(equals(union(left, right), union(right, left))).toBe(true)
      expect(equals(union(subtract(left, right), union(left, right)), union(left, right))).toBe(true)
    }),
    { numRuns: 500 },
  )
})

test('a patch removes the gone addresses and adds the added ones', () => {
  fc.assert(
    fc.property(
      arbitrary,
      fc.array(fc.tuple(fc.nat(SPAN - 1), fc.nat(SPAN - 1)), { maxLength: 30 }),
      ({ a, b, ...input }, many) => {
        const [ranges, some, added] = [rangesOf(input, many), rangesOf(input, a), rangesOf(input, b)]
        const gone = subtract(ranges, subtract(ranges, some))
        const [patched, made] = [patch(ranges, gone, added), union(subtract(ranges, gone), added)]
        expect(equals(patched, made)).toBe(true)
        // Once `ranges` are counted, `patched` are counted by their difference, `made` are not.
        countPrefixes(ranges)
        expect(countPrefixes(patched)).toBe(countPrefixes(made))
        for (const [before, after] of [
          [ranges, patched],
          [patched, ranges],
        ] as const) {
          const { added: more, removed: less } = difference(before, after)
          expect([equals(more, subtract(after, before)), equals(less, subtract(before, after))]).toEqual([true, true])
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('single addresses in any order form the expected ranges', () => {
  const near = fc.tuple(fc.constantFrom(0, 0x7ffffff0, 0xffffffe0), fc.nat(31)).map(([base, low]) => base + low)
  fc.assert(
    fc.property(fc.array(fc.oneof(near, fc.nat({ max: 0xffffffff })), { maxLength: 200 }), (numbers) => {
      const words = Uint32Array.from(numbers)
      expect(normalizeAddresses(words)).toEqual(normalize(4, words, words))
      expect([...words]).toEqual(numbers)
    }),
    { numRuns: 300 },
  )
})

test('the prefixes of a set cover exactly the set', () => {
  fc.assert(
    fc.property(arbitrary, ({ a, ...input }) => {
      const ranges = rangesOf(input, a)
      const bits = input.family === 4 ? 32 : 128
      const found = [...prefixes(ranges)]
      expect(found.length).toBe(countPrefixes(ranges))
      const start = Uint32Array.from(found.flatMap(({ words }) => [...words]))
      const end = start.slice()
      found.forEach(({ length, words }, i) => {
        // The window is 64 addresses wide, so that only the last word has host bits.
        const last = (i + 1) * words.length - 1
        end[last] = (end[last] as number) + 2 ** (bits - length) - 1
      })
      expect(equals(normalize(input.family, start, end), ranges)).toBe(true)
    }),
    { numRuns: 500 },
  )
})
