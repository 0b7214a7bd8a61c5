// The schedule of a check: gaps never exceed the interval, and lateness does not move the grid.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { gapOf, nextStart } from '../../../../src/watch/health/pace.ts'
import { check } from '../../../support/backends.ts'

test('jitter makes gaps shorter and never longer than the interval', () => {
  const drawn = fc.record({
    intervalMs: fc.integer({ min: 100, max: 60_000 }),
    jitter: fc.double({ min: 0, max: 0.9, noNaN: true }),
    random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  })
  fc.assert(
    fc.property(drawn, ({ intervalMs, jitter, random }) => {
      const gap = gapOf(check({ intervalMs, jitterMs: jitter * intervalMs }), random)
      expect(gap).toBeLessThanOrEqual(intervalMs - 25)
      expect(gap).toBeGreaterThanOrEqual(1)
      expect(gap).toBeGreaterThanOrEqual(intervalMs * (1 - jitter) - Math.max(25, intervalMs / 50) - 1e-6)
    }),
  )
})

test.each([
  ['in time', { planned: 0, started: 0, ended: 3 }, { planned: 1000, missed: 0 }],
  ['a little late: keeps its place', { planned: 0, started: 400, ended: 410 }, { planned: 1000, missed: 0 }],
  ['half a gap late: skips one', { planned: 0, started: 501, ended: 510 }, { planned: 2000, missed: 1 }],
  ['very late: skips past places', { planned: 0, started: 5300, ended: 5310 }, { planned: 6000, missed: 5 }],
  ['very late, just before a place', { planned: 0, started: 5900, ended: 5910 }, { planned: 7000, missed: 6 }],
  ['as long as a gap: starts again at once', { planned: 0, started: 0, ended: 1000 }, { planned: 1000, missed: 0 }],
  [
    'longer than a gap: goes on at once, from there',
    { planned: 0, started: 0, ended: 1020 },
    { planned: 1020, missed: 0 },
  ],
  ['ended in a stall: back on the grid', { planned: 0, started: 0, ended: 3700 }, { planned: 4000, missed: 3 }],
])('%s', (_, run, expected) => {
  expect(nextStart({ ...run, patience: 1000 }, 1000)).toEqual(expected)
})

test('for any run, the next start is not in the past, at least half a gap away, and not later than necessary', () => {
  const drawn = fc.record({
    gap: fc.integer({ min: 10, max: 10_000 }),
    late: fc.integer({ min: 0, max: 30_000 }),
    took: fc.integer({ min: 0, max: 30_000 }),
    patience: fc.integer({ min: 1, max: 10_000 }),
  })
  fc.assert(
    fc.property(drawn, ({ gap, late, took, patience }) => {
      const run = { planned: 500, started: 500 + late, ended: 500 + late + took, patience }
      const { planned, missed } = nextStart(run, gap)
      expect(planned).toBeGreaterThanOrEqual(run.ended > run.started + gap ? run.ended : run.started + gap / 2)
      expect(planned).toBeLessThanOrEqual(Math.max(run.ended + gap, run.started + 1.5 * gap))
      expect(missed).toBeGreaterThanOrEqual(0)
    }),
  )
})
