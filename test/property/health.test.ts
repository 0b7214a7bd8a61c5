// Invariants for any settings, moment and kind of a backend's death: it leaves the overlay within fall × interval +
// timeout, and returns after enough good answers.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TcpCheck } from '../../src/model/health.ts'
import { detectionMs } from '../../src/watch/health/standing.ts'
import { type Answer, BAD_ANSWER, backend, check, SILENT, service, World } from '../support/backends.ts'

const schedules = fc
  .record({
    intervalMs: fc.integer({ min: 100, max: 5000 }),
    jitter: fc.double({ min: 0, max: 0.5, noNaN: true }),
    timeout: fc.double({ min: 0.05, max: 1, noNaN: true }),
    rise: fc.integer({ min: 1, max: 4 }),
    fall: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ intervalMs, jitter, timeout, rise, fall }) =>
    check({
      intervalMs,
      jitterMs: Math.round(intervalMs * jitter),
      timeoutMs: Math.max(1, Math.round(intervalMs * timeout)),
      rise,
      fall,
    }),
  )

const scenario = fc.record({
  checks: fc.array(schedules, { minLength: 1, maxLength: 3 }),
  /** Time to answer, as a share of the timeout. */
  latency: fc.double({ min: 0, max: 0.8, noNaN: true }),
  /** Milliseconds after the start. */
  death: fc.integer({ min: 0, max: 12_000 }),
  isSilent: fc.boolean(),
  seed: fc.integer({ min: 1, max: 2 ** 31 - 2 }),
})

/** Lehmer's generator (Park and Miller 1988). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % (2 ** 31 - 1)
    return state / (2 ** 31 - 1)
  }
}

const name = (i: number): string => `b${i}`

function worldOf(checks: readonly TcpCheck[], latency: number, seed: number): World {
  const world = new World()
  world.random = randomOf(seed)
  const target = service(Object.fromEntries(checks.map((one, i) => [name(i), backend({ check: one })])), {
    minHealthy: { kind: 'count', value: 0 },
  })
  for (const [i, { timeoutMs }] of checks.entries()) {
    world.set(name(i), { how: 'good', latency: Math.min(timeoutMs, 75) * latency })
  }
  world.update(target)
  return world
}

test('a backend that dies leaves the overlay within fall × interval + timeout', () => {
  fc.assert(
    fc.property(scenario, ({ checks, latency, death, isSilent, seed }) => {
      const world = worldOf(checks, latency, seed)
      const answer: Answer = isSilent ? SILENT : BAD_ANSWER
      world.timer.advance(death)
      const before = world.shares()
      for (const i of checks.keys()) world.set(name(i), answer)
      const died = world.timer.now()
      world.timer.advance(Math.max(...checks.map(detectionMs)))
      for (const [i, one] of checks.entries()) {
        expect(before[name(i)]).toBe(1)
        const out = world.overlays.find(({ changed }) => changed.get('web')?.shares.get(name(i)) === 0)
        expect((out?.time ?? Number.POSITIVE_INFINITY) - died).toBeLessThanOrEqual(detectionMs(one))
      }
    }),
    { numRuns: 300 },
  )
})

test('a backend that answers again returns after rise checks, and one that always answers never leaves', () => {
  fc.assert(
    fc.property(scenario, ({ checks, latency, death, isSilent, seed }) => {
      const world = worldOf(checks, latency, seed)
      const good = world.answers.get(name(0)) as Answer
      world.timer.advance(death)
      world.set(name(0), isSilent ? SILENT : BAD_ANSWER)
      world.timer.advance(detectionMs(checks[0] as TcpCheck))
      world.set(name(0), good)
      const returned = world.timer.now()
      const { rise, intervalMs, timeoutMs } = checks[0] as TcpCheck
      // One more check than `rise`: one may be about to fail.
      world.timer.advance((rise + 1) * intervalMs + timeoutMs)
      expect(world.shares()[name(0)]).toBe(1)
      const back = world.overlays.find(({ time }) => time >= returned)
      const answers = world
        .startsOf(name(0))
        .filter((time) => time + good.latency <= (back?.time ?? 0) && time >= returned)
      expect(answers.length).toBeGreaterThanOrEqual(rise - 1)
      for (const i of checks.keys()) {
        if (i > 0)
          expect(world.overlays.every(({ changed }) => changed.get('web')?.shares.get(name(i)) === 1)).toBe(true)
      }
    }),
  )
})

test('checks of a backend never overlap, and start between half of interval minus jitter and interval apart', () => {
  fc.assert(
    fc.property(scenario, ({ checks, latency, seed }) => {
      const world = worldOf(checks, latency, seed)
      world.set(name(0), SILENT)
      world.timer.advance(30_000)
      for (const [i, { intervalMs, jitterMs }] of checks.entries()) {
        const starts = world.startsOf(name(i))
        for (const [at, start] of starts.entries()) {
          if (at === 0) continue
          const gap = start - (starts[at - 1] as number)
          expect(gap).toBeLessThanOrEqual(intervalMs)
          expect(gap).toBeGreaterThanOrEqual((intervalMs - Math.max(25, intervalMs / 50) - jitterMs) / 2)
        }
      }
      expect(world.running).toBeLessThanOrEqual(checks.length)
    }),
  )
})
