import { describe, expect, test } from 'vitest'
import type { Family } from '../../../src/model/address.ts'
import type { Entries } from '../../../src/model/desired.ts'
import { findEntry, originOf } from '../../../src/model/provenance.ts'
import { compareBounds, WIDTH } from '../../../src/model/ranges.ts'
import { parseAddress, parseRange } from '../../../src/model/text.ts'

interface Row {
  readonly range: string
  readonly line: number
  readonly set?: number
}

function entriesOf(family: Family, rows: readonly Row[]): Entries {
  const width = WIDTH[family]
  const parsed = rows.map((row) => {
    const range = parseRange(row.range)
    if (range === undefined) throw new Error(row.range)
    return { ...row, ...range }
  })
  parsed.sort((a, b) => compareBounds(a.start, 0, b.start, 0, width) || compareBounds(a.end, 0, b.end, 0, width))
  return {
    family,
    length: parsed.length,
    start: Uint32Array.from(parsed.flatMap(({ start }) => [...start])),
    end: Uint32Array.from(parsed.flatMap(({ end }) => [...end])),
    file: Uint16Array.from(parsed.map(() => 0)),
    line: Uint32Array.from(parsed.map(({ line }) => line)),
    set: Uint16Array.from(parsed.map(({ set = 0 }) => set)),
  }
}

const lineOf = (entries: Entries, address: string, set?: number): number | undefined => {
  const index = findEntry(entries, parseAddress(address)?.words ?? new Uint32Array(4), 0, set)
  return index < 0 ? undefined : entries.line[index]
}

describe('findEntry', () => {
  const nested = entriesOf(4, [
    { range: '10.0.0.0/8', line: 1 },
    { range: '10.1.0.0/16', line: 2 },
    { range: '10.1.2.0/24', line: 3, set: 1 },
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
  ])('%s stands on line %s', (address, line) => {
    expect(lineOf(nested, address)).toBe(line)
  })

  test('looks only at the set asked for', () => {
    expect(lineOf(nested, '10.1.2.4', 0)).toBe(2)
    expect(lineOf(nested, '10.1.2.3', 1)).toBe(3)
    expect(lineOf(nested, '10.2.0.0', 1)).toBeUndefined()
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

  test('does not walk over a hundred thousand hosts to the prefix before them', () => {
    const hosts = Array.from(
      { length: 100_000 },
      (_, at): Row => ({ range: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`, line: at + 2 }),
    )
    const entries = entriesOf(4, [{ range: '10.0.0.0/8', line: 1 }, ...hosts])
    const found = new Set<number | undefined>()
    const started = performance.now()
    for (let round = 0; round < 100_000; round++)
      found.add(entries.line[findEntry(entries, Uint32Array.of(0x0aff0000 + (round & 255)))])
    expect(performance.now() - started).toBeLessThan(5000)
    expect([...found]).toEqual([1])
  })
})

test('an origin names file, line and the entry as written', () => {
  const v4 = entriesOf(4, [{ range: '198.51.100.0/24', line: 7 }])
  const provenance = { files: ['lists/drop.txt'], lists: new Map([['spamhaus', { v4, v6: entriesOf(6, []) }]]) }
  const words = Uint32Array.of(0xc6336407)
  expect(originOf(provenance, 'spamhaus', 4, words)).toEqual({ at: 'lists/drop.txt:7', entry: '198.51.100.0/24' })
  expect(originOf(provenance, 'other', 4, words)).toBeUndefined()
})
