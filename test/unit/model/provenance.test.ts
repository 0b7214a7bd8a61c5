import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Family } from '../../../src/model/address.ts'
import type { Entries } from '../../../src/model/desired.ts'
import { findEntry, originOf } from '../../../src/model/provenance.ts'
import { parseAddress, parseRange } from '../../../src/model/text.ts'

interface Row {
  readonly range: string
  readonly line: number
}

function entriesOf(family: Family, rows: readonly Row[]): Entries {
  const parsed = rows.map((row) => {
    const range = parseRange(row.range)
    if (range === undefined) throw new Error(row.range)
    return { ...row, ...range }
  })
  return {
    family,
    length: parsed.length,
    start: Uint32Array.from(parsed.flatMap(({ start }) => [...start])),
    end: Uint32Array.from(parsed.flatMap(({ end }) => [...end])),
    line: Uint32Array.from(parsed.map(({ line }) => line)),
  }
}

const lineOf = (entries: Entries, address: string): number | undefined => {
  const index = findEntry(entries, parseAddress(address)?.words ?? new Uint32Array(4))
  return index < 0 ? undefined : entries.line[index]
}

describe('findEntry', () => {
  const nested = entriesOf(4, [
    { range: '10.0.0.0/8', line: 1 },
    { range: '10.1.0.0/16', line: 2 },
    { range: '10.1.2.0/24', line: 3 },
    { range: '10.1.2.3', line: 4 },
    { range: '192.0.2.5-192.0.2.9', line: 5 },
  ])

  test.each([
    ['10.1.2.3', 4],
    ['10.1.2.4', 3],
    ['10.1.3.0', 2],
    ['10.2.0.0', 1],
    ['192.0.2.9', 5],
    ['192.0.2.10', undefined],
    ['9.255.255.255', undefined],
    ['11.0.0.0', undefined],
  ])('%s is on line %s', (address, line) => {
    expect(lineOf(nested, address)).toBe(line)
  })

  test('finds IPv6 entries', () => {
    const entries = entriesOf(6, [
      { range: '2001:db8::/32', line: 1 },
      { range: '2001:db8:0:1::/64', line: 2 },
    ])
    expect(lineOf(entries, '2001:db8:0:1::5')).toBe(2)
    expect(lineOf(entries, '2001:db8:0:2::5')).toBe(1)
    expect(lineOf(entries, '2001:db9::')).toBeUndefined()
  })

  test('reads few of ten thousand hosts to find the prefix in front of them', () => {
    const hosts = Array.from(
      { length: 10_000 },
      (_, at): Row => ({ range: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`, line: at + 2 }),
    )
    const entries = entriesOf(4, [{ range: '10.0.0.0/8', line: 1 }, ...hosts])
    let reads = 0
    const counted = (words: Uint32Array): Uint32Array =>
      new Proxy(words, {
        get(target, key) {
          reads++
          const value = Reflect.get(target, key)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    const seen = { ...entries, start: counted(entries.start), end: counted(entries.end) }
    const found = new Set<number | undefined>()
    const costs: number[] = []
    for (let round = 0; round < 100; round++) {
      reads = 0
      found.add(entries.line[findEntry(seen, Uint32Array.of(0x0aff0000 + (round & 255)))])
      costs.push(reads)
    }
    expect([...found]).toEqual([1])
    // The first lookups scan, one builds the index.
    expect(costs[0]).toBeGreaterThan(10_000)
    expect(costs.slice(-50).every((cost) => cost < 200)).toBe(true)
  })
})

test('lookups by index equal lookups by scan', () => {
  const bound = fc.nat(40)
  const range = fc.tuple(bound, bound).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 30 }), (ranges) => {
      const make = (): Entries => ({
        family: 4,
        length: ranges.length,
        start: Uint32Array.from(ranges, ([start]) => start),
        end: Uint32Array.from(ranges, ([, end]) => end),
        line: Uint32Array.from(ranges, (_, at) => at + 1),
      })
      const [few, many] = [make(), make()]
      for (let round = 0; round < 50; round++) findEntry(many, Uint32Array.of(0))
      const addresses = Array.from({ length: 42 }, (_, at) => Uint32Array.of(at))
      const looked = addresses.map((address) => findEntry(address[0] === 30 ? make() : few, address))
      expect(addresses.map((address) => findEntry(many, address))).toEqual(looked)
    }),
  )
})

const source = (file: number, set: number, v4: Entries) => ({ file, set, v4, v6: entriesOf(6, []) })

test('an origin has the file, the line and the entry as written', () => {
  const v4 = entriesOf(4, [{ range: '198.51.100.0/24', line: 7 }])
  const provenance = { files: ['lists/drop.txt'], lists: new Map([['spamhaus', [source(0, 0, v4)]]]) }
  const words = Uint32Array.of(0xc6336407)
  expect(originOf(provenance, 'spamhaus', 4, words)).toEqual({ at: 'lists/drop.txt:7', entry: '198.51.100.0/24' })
  expect(originOf(provenance, 'other', 4, words)).toBeUndefined()
})

test('finds the nearest entry over several files, and only those of the requested set', () => {
  const lists = new Map([
    [
      'some',
      [
        source(0, 0, entriesOf(4, [{ range: '10.0.0.0/8', line: 1 }])),
        source(1, 1, entriesOf(4, [{ range: '10.1.0.0/16', line: 2 }])),
        source(2, 0, entriesOf(4, [{ range: '10.1.2.0/24', line: 3 }])),
      ],
    ],
  ])
  const provenance = { files: ['a', 'b', 'c'], lists }
  const at = (address: string, set?: number): string | undefined =>
    originOf(provenance, 'some', 4, parseAddress(address)?.words as Uint32Array, 0, set)?.at
  expect([at('10.1.2.3'), at('10.1.3.3'), at('10.2.0.0')]).toEqual(['c:3', 'b:2', 'a:1'])
  expect([at('10.1.3.3', 0), at('10.1.2.3', 1), at('10.2.0.0', 1)]).toEqual(['a:1', 'b:2', undefined])
})
