// The live view beyond its golden screens: all sizes, number formats, and rates.

import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { renderLive, shareRows } from '../../../src/render/live.ts'
import type { Frame } from '../../../src/render/live-section.ts'
import { formatRate, formatShare } from '../../../src/render/numbers.ts'
import { ratesOf } from '../../../src/render/rates.ts'
import type { ReasonName } from '../../../src/report/reason.ts'
import type { BackendStatus, ServiceStatus } from '../../../src/report/result.ts'
import { attached, BALANCED, counted, stats } from '../../support/stats.ts'

const FRAME: Frame = {
  instance: 'default',
  stats: stats(),
  previous: stats(),
  seconds: 1,
  interval: '1s',
  error: undefined,
  columns: 80,
  rows: 24,
  color: false,
}
const show = (frame: Partial<Frame>): string => renderLive({ ...FRAME, ...frame }).join('\n')

describe('rates', () => {
  const count = (packets: number, bytes: number) => ({ packets, bytes })
  test.each([
    ['grow', count(10, 1000), count(30, 5000), 2, count(10, 2000)],
    ['stand still', count(10, 1000), count(10, 1000), 1, count(0, 0)],
    ['start from zero if a count is below the one before', count(10, 1000), count(4, 400), 2, count(2, 200)],
    ['are undefined at first', undefined, count(4, 400), 2, undefined],
    ['are undefined without time between', count(1, 1), count(4, 400), 0, undefined],
  ])('%s', (_, before, now, seconds, expected) => {
    expect(ratesOf(before, now, seconds)).toEqual(expected)
  })

  test.each([
    [0, '0'],
    [0.04, '0'],
    [0.5, '0.5'],
    [9.96, '10'],
    [12, '12'],
    [99.94, '99.9'],
    [999.4, '999'],
    [999.5, '1k'],
    [1234, '1.23k'],
    [12_345, '12.3k'],
    [350_000, '350k'],
    [1_000_000, '1M'],
    [14_880_952, '14.9M'],
    [1.48e11, '148G'],
  ])('%d is %s', (rate, text) => expect(formatRate(rate)).toBe(text))

  test('take at most six characters', () => {
    fc.assert(fc.property(fc.double({ min: 0, max: 9e17, noNaN: true }), (rate) => formatRate(rate).length <= 6))
  })

  test.each([
    [0, 0, '-'],
    [1, 3, '33.3%'],
    [0, 7, '0%'],
    [7, 7, '100%'],
  ])('%d of %d is %s', (part, whole, text) => expect(formatShare(part, whole)).toBe(text))
})

describe('rows', () => {
  test('go to sections in turn, with two extra lines per section', () => {
    expect(shareRows([1, 5, 1000], 20)).toEqual([1, 5, 8])
    expect(shareRows([1, 1, 1], 9)).toEqual([1, 1, 1])
    expect(shareRows([3, 3, 3], 7)).toEqual([2, 1, 0])
    expect(shareRows([0, 3, 0], 3)).toEqual([0, 1, 0])
    expect(shareRows([5], 2)).toEqual([0])
  })

  test('fill the room, and exceed neither it nor the rows of a section', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 5 }), fc.integer({ min: -3, max: 80 }), (wanted, room) => {
        const given = shareRows(wanted, room)
        const used = given.reduce((sum, rows) => sum + (rows > 0 ? rows + 2 : 0), 0)
        expect(used).toBeLessThanOrEqual(Math.max(0, room))
        given.forEach((rows, i) => {
          expect(rows).toBeLessThanOrEqual(wanted[i] as number)
          const costs = rows === 0 ? 3 : 1
          if (rows < (wanted[i] as number)) expect(room - used).toBeLessThan(costs)
        })
      }),
    )
  })
})

test('fills a screen of any size exactly, and colour changes no text', () => {
  const name = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 39 })
  const packets = fc.nat(1e9)
  const look = fc.record({
    interfaces: fc.array(fc.record({ name, packets }), { maxLength: 8 }),
    lists: fc.array(fc.record({ name, packets }), { maxLength: 40 }),
  })
  const size = { columns: fc.integer({ min: 1, max: 200 }), rows: fc.integer({ min: 1, max: 70 }) }
  fc.assert(
    fc.property(look, look, fc.record(size), fc.option(fc.string()), (first, second, { columns, rows }, error) => {
      const [previous, now] = [first, second].map(({ interfaces, lists }) =>
        stats({
          interfaces: interfaces.map((one) => attached(one.name, { blocklist: one.packets, allowlist: 3 })),
          lists: lists.map((one) => counted(one.name, one.packets)),
          services: lists.slice(0, 3).map((one) => ({ ...BALANCED, service: { ...BALANCED.service, name: one.name } })),
        }),
      ) as [Frame['stats'], Frame['stats']]
      const frame = { ...FRAME, stats: now, previous, columns, rows, error: error ?? undefined }
      const lines = renderLive(frame)
      expect(lines).toHaveLength(rows)
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns)
      const coloured = renderLive({ ...frame, color: true })
      expect(coloured.map(stripVTControlCharacters)).toEqual(lines.map(stripVTControlCharacters))
    }),
  )
})

test('shows rates of services and backends, those that are down first', () => {
  const [first, ...rest] = BALANCED.backends as [BackendStatus, ...BackendStatus[]]
  const more = (one: { readonly packets: number; readonly bytes: number; readonly flows: number }) => ({
    packets: one.packets + 500,
    bytes: one.bytes + 50_000,
    flows: one.flows + 20,
  })
  const now: ServiceStatus = {
    ...BALANCED,
    ...more(BALANCED),
    hits: BALANCED.hits + 480,
    misses: BALANCED.misses + 20,
    backends: [{ ...first, ...more(first) }, ...rest],
  }
  const text = show({ stats: stats({ services: [now] }), previous: stats({ services: [BALANCED] }), rows: 40 })
  expect(text).toMatch(/^web +well +500 +400k +20 +96% +3$/m)
  expect(text).toMatch(/^web 10\.0\.0\.11 +up +500 +400k +20$/m)
  const places = ['web 10.0.0.13', 'web 10.0.0.11'].map((name) => text.indexOf(name))
  expect(places).toEqual(places.toSorted((a, b) => a - b))
})

test('sorts by current rate before total count', () => {
  const before = [counted('old', 1_000_000), counted('new', 0), counted('idle', 5)]
  const now = [counted('old', 1_000_000), counted('new', 10), counted('idle', 5)]
  const text = show({ stats: stats({ lists: now }), previous: stats({ lists: before }) })
  const places = ['new', 'old', 'idle'].map((name) => text.indexOf(`\n${name} `))
  expect(places).toEqual(places.toSorted((a, b) => a - b))
  expect(Math.min(...places)).toBeGreaterThan(0)
})

test('a new reason counts from zero, a new list has no rate yet', () => {
  const reasons = (found: Partial<Record<ReasonName, number>>) => stats({ interfaces: [attached('eth0', found)] })
  const text = show({ previous: reasons({ blocklist: 5 }), stats: reasons({ blocklist: 5, ban: 40 }) })
  expect(text).toMatch(/^ban +drop +40 /m)
  const lists = show({ previous: stats({ lists: [] }), stats: stats({ lists: [counted('fresh', 9)] }) })
  expect(lists).toMatch(/^fresh +blocklist +1,177 +- +- +9$/m)
})

test('names cannot steer the terminal', () => {
  const hostile = '\u001b[2Jx\u0007'
  const text = show({
    stats: stats({ lists: [counted(hostile, 1)], interfaces: [attached(hostile)], detached: [hostile] }),
  })
  expect(text).not.toContain('\u001b')
  expect(text).toContain('\ufffd[2Jx\ufffd')
})
