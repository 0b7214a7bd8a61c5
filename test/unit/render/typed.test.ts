// The difference of a list as it was typed: small edits as a reader sees them, and for any edit that the samples together
// with the exact difference agree.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { AddressSet } from '../../../src/model/address.ts'
import { difference } from '../../../src/model/patch.ts'
import { countPrefixes } from '../../../src/model/prefixes.ts'
import { contains, subtract, union } from '../../../src/model/ranges.ts'
import { parseRange, wordsOf } from '../../../src/model/text.ts'
import { type Find, typedDelta } from '../../../src/render/typed.ts'
import { addresses } from '../../support/states.ts'

/** Finds entries in a file that has one on each line, as provenance does: the nearest, then the longest. */
function finder(entries: readonly string[]): Find {
  const read = entries.map((text, line) => {
    const range = parseRange(text)
    if (range === undefined) throw new Error(text)
    const { family, start, end } = range
    return { family, start: start.slice(0, wordsOf(family)), end: end.slice(0, wordsOf(family)), at: `f:${line + 1}` }
  })
  const size = ({ start, end }: { start: Uint32Array; end: Uint32Array }): number =>
    (end[0] as number) - (start[0] as number)
  return (family, [word = 0]) =>
    read
      .filter((one) => one.family === family && (one.start[0] as number) <= word && word <= (one.end[0] as number))
      .sort((a, b) => (b.start[0] as number) - (a.start[0] as number) || size(b) - size(a))[0]
}

const sidesOf = (before: AddressSet, after: AddressSet) => {
  const [v4, v6] = [difference(before.v4, after.v4), difference(before.v6, after.v6)]
  return { before, after, added: { v4: v4.added, v6: v6.added }, removed: { v4: v4.removed, v6: v6.removed } }
}

/** The lines of an edit from one file to another; `isLive`: the kernel has the first, not a file. */
function lines(before: readonly string[], after: readonly string[], isLive = true, most = 5): string[] {
  const sides = sidesOf(addresses(...before), addresses(...after))
  const typed = typedDelta(sides, { after: finder(after), before: isLive ? undefined : finder(before) }, most)
  return (['added', 'removed'] as const).flatMap((side) => {
    const sign = side === 'added' ? '+' : '-'
    const { samples, rest } = typed[side]
    const shown = samples.map(({ prefix, at, within, stays }) =>
      [`${sign}${prefix}`, at, within && `within ${within}`, stays && 'stays'].filter(Boolean).join(' '),
    )
    return rest > 0 ? [...shown, `${sign}${rest} more`] : shown
  })
}

test.each<[name: string, before: string[], after: string[], expected: string[]]>([
  [
    'an address becomes its network',
    ['198.51.100.42'],
    ['198.51.100.0/24'],
    ['+198.51.100.0/24 f:1', '-198.51.100.42 within 198.51.100.0/24'],
  ],
  [
    'a network becomes one address',
    ['198.51.100.0/24'],
    ['198.51.100.42'],
    ['+198.51.100.42 f:1 stays', '-198.51.100.0/24'],
  ],
  ['an address is added', ['10.0.0.0/8'], ['10.0.0.0/8', '192.0.2.1'], ['+192.0.2.1 f:2']],
  ['one of two networks that touch leaves', ['10.0.0.0/24', '10.0.1.0/24'], ['10.0.0.0/24'], ['-10.0.1.0/24']],
  ['a range as typed', [], ['192.0.2.10-192.0.2.50'], ['+192.0.2.10-192.0.2.50 f:1']],
  [
    'an address inside of a network that is typed besides stays',
    ['192.0.2.9'],
    ['192.0.2.0/24', '192.0.2.9'],
    ['+192.0.2.0/24 f:1'],
  ],
  [
    'more entries than are shown',
    [],
    Array.from({ length: 8 }, (_, i) => `10.0.${2 * i}.0/24`),
    [...Array.from({ length: 5 }, (_, i) => `+10.0.${2 * i}.0/24 f:${i + 1}`), '+3 more'],
  ],
])('%s', (_, before, after, expected) => {
  expect(lines(before, after)).toEqual(expected)
})

test('with the file before, removed entries have their lines and are as typed', () => {
  expect(lines(['10.0.0.0/24', '10.0.1.0/24'], ['10.0.0.0/24'], false)).toEqual(['-10.0.1.0/24 f:2'])
  expect(lines(['198.51.100.0/24'], ['198.51.100.42'], false)).toEqual([
    '+198.51.100.42 f:1 stays',
    '-198.51.100.0/24 f:1',
  ])
})

const entry = fc.tuple(fc.integer({ min: 20, max: 32 }), fc.integer({ min: 0, max: 0xfff })).map(([length, host]) => {
  const bits = 32 - length
  const word = (0x0a000000 + ((host >>> bits) << bits)) >>> 0
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}/${length}`
})

const covered = (texts: readonly string[]): AddressSet => addresses(...texts)

test('of any edit, the samples with the rest are the exact difference', () => {
  const files = fc.uniqueArray(entry, { maxLength: 12 })
  fc.assert(
    fc.property(files, files, fc.boolean(), fc.integer({ min: 1, max: 6 }), (before, after, isLive, most) => {
      const sides = sidesOf(covered(before), covered(after))
      const finders = { after: finder(after), before: isLive ? undefined : finder(before) }
      const { added, removed } = typedDelta(sides, finders, most)
      for (const { samples } of [added, removed]) expect(samples.length).toBeLessThanOrEqual(most)
      const of = (samples: typeof added.samples) => covered(samples.map(({ prefix }) => prefix)).v4
      // Added samples are in the new list, removed ones were in the old, and together with the rest nothing is missing.
      expect(subtract(of(added.samples), sides.after.v4).length).toBe(0)
      expect(subtract(of(removed.samples), sides.before.v4).length).toBe(0)
      expect(countPrefixes(subtract(sides.added.v4, of(added.samples)))).toBe(added.rest)
      expect(countPrefixes(subtract(sides.removed.v4, of(removed.samples)))).toBe(removed.rest)
      // With the file known, each added sample is one of its lines.
      for (const { prefix, at } of added.samples) {
        const line = after[Number(at?.slice(2)) - 1] as string
        expect(covered([line]).v4).toEqual(covered([prefix]).v4)
      }
      // An address that is within a new entry does not leave.
      for (const { prefix, within } of removed.samples) {
        if (within === undefined) continue
        const start = parseRange(prefix)?.start as Uint32Array
        expect(contains(sides.after.v4, start)).toBeGreaterThanOrEqual(0)
        expect(subtract(covered([prefix]).v4, union(covered([within]).v4, sides.after.v4)).length).toBe(0)
      }
    }),
    { numRuns: 300 },
  )
})
