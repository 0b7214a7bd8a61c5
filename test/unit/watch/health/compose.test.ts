// From standings to shares: backends in use, slow start, and the fallbacks.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Fallback, MinHealthy } from '../../../../src/model/health.ts'
import { type Composition, compose, type Member } from '../../../../src/watch/health/compose.ts'
import { FRESH } from '../../../../src/watch/health/standing.ts'
import { backend, check } from '../../../support/backends.ts'

const NOW = 1_000_000
const NEVER = Number.NEGATIVE_INFINITY

/** `up`, or `down`, since a time before NOW. */
const member = (up: boolean, ago = Number.POSITIVE_INFINITY, more: Partial<Member['target']> = {}): Member => ({
  target: backend(more),
  standing: { up, proven: true, against: 0, since: NOW - ago },
})
const up = member(true)
const down = member(false, 60_000)
const slow = (ago: number): Member => member(true, ago, { check: check({ slowStartMs: 10_000 }) })

interface Wanted {
  readonly minHealthy?: MinHealthy
  readonly fallback?: Fallback
  readonly kept?: ReadonlySet<string>
}

const composed = (members: Readonly<Record<string, Member>>, wanted: Wanted = {}): Composition =>
  compose(
    { minHealthy: wanted.minHealthy ?? { kind: 'count', value: 1 }, fallback: wanted.fallback ?? 'drop' },
    new Map(Object.entries(members)),
    wanted.kept,
    NOW,
  )
const shares = ({ overlay }: Composition): Record<string, number> => Object.fromEntries(overlay.shares)

test('a backend that is up takes its share, one that is down takes none, an unchecked one counts as up', () => {
  const unchecked: Member = { target: backend({ check: undefined }), standing: FRESH }
  const composition = composed({ a: up, b: down, c: unchecked })
  expect(composition).toMatchObject({
    overlay: { mode: 'well' },
    healthy: 2,
    needed: 1,
    ramping: false,
    kept: undefined,
  })
  expect(shares(composition)).toEqual({ a: 1, b: 0, c: 1 })
})

describe('slow start', () => {
  test('a share grows with time while other backends take the rest', () => {
    const at = (ago: number): number | undefined => shares(composed({ a: up, b: slow(ago) }))['b']
    expect(at(0)).toBeCloseTo(0.01, 2)
    expect(at(5000)).toBeCloseTo(0.5, 2)
    expect(at(10_000)).toBe(1)
    expect(composed({ a: up, b: slow(9999) }).ramping).toBe(true)
    expect(composed({ a: up, b: slow(10_000) }).ramping).toBe(false)
  })

  test('shares are relative to the largest: a lone backend in slow start takes all', () => {
    expect(shares(composed({ a: down, b: slow(0) }))).toEqual({ a: 0, b: 1 })
    expect(shares(composed({ a: slow(2000), b: slow(1000) }))).toEqual({ a: 1, b: expect.closeTo(0.5, 2) })
    // A draining backend takes no new flows, so it cannot take the rest.
    const draining = member(true, Number.POSITIVE_INFINITY, { active: false })
    const unreachable = member(true, Number.POSITIVE_INFINITY, { reachable: false })
    expect(shares(composed({ a: draining, b: slow(0), c: unreachable }))).toEqual({ a: 1, b: 1, c: 1 })
  })
})

describe('too few healthy', () => {
  test.each([
    [{ kind: 'count', value: 2 }, 2, 'drop'],
    [{ kind: 'count', value: 1 }, 1, 'well'],
    [{ kind: 'count', value: 0 }, 0, 'well'],
    [{ kind: 'share', value: 0.5 }, 2, 'drop'],
    [{ kind: 'share', value: 0.25 }, 1, 'well'],
    [{ kind: 'share', value: 0.26 }, 2, 'drop'],
  ] as const)('%o of four where one is healthy', (minHealthy, needed, mode) => {
    const composition = composed({ a: up, b: down, c: down, d: down }, { minHealthy })
    expect([composition.needed, composition.healthy, composition.overlay.mode]).toEqual([needed, 1, mode])
  })

  test('a min_healthy share counts active backends; unreachable ones are not healthy', () => {
    const draining = member(true, undefined, { active: false })
    const unreachable = member(true, undefined, { reachable: false })
    expect(composed({ a: up, b: draining }, { minHealthy: { kind: 'share', value: 1 } })).toMatchObject({
      needed: 1,
      healthy: 1,
    })
    expect(composed({ a: up, b: unreachable }, { minHealthy: { kind: 'share', value: 1 } })).toMatchObject({
      needed: 2,
      healthy: 1,
    })
  })

  test('drop and sorry keep the shares', () => {
    for (const fallback of ['drop', 'sorry'] as const) {
      const composition = composed({ a: up, b: down }, { minHealthy: { kind: 'count', value: 2 }, fallback })
      expect([composition.overlay.mode, shares(composition)]).toEqual([fallback, { a: 1, b: 0 }])
    }
  })

  test('a service without healthy backends and with min_healthy 0 is empty', () => {
    expect(composed({ a: down }, { minHealthy: { kind: 'count', value: 0 } }).overlay.mode).toBe('empty')
    expect(composed({}, { minHealthy: { kind: 'count', value: 0 } }).overlay.mode).toBe('empty')
  })
})

describe('backups', () => {
  const spare = (isUp: boolean): Member => member(isUp, undefined, { backup: true })
  const modes = (members: Readonly<Record<string, Member>>, wanted: Parameters<typeof composed>[1] = {}) => {
    const { overlay, healthy, needed } = composed(members, { fallback: 'backup', ...wanted })
    return [overlay.mode, healthy, needed]
  }
  const two = { kind: 'count', value: 2 } as const

  test('are used while no other backend is healthy, and do not count as healthy', () => {
    expect(modes({ a: up, b: down, x: spare(true) })).toEqual(['well', 1, 1])
    expect(modes({ a: down, b: down, x: spare(true) })).toEqual(['backup', 0, 1])
    expect(modes({ a: down, x: spare(false) })).toEqual(['empty', 0, 1])
    expect(modes({ x: spare(true) })).toEqual(['backup', 0, 1])
  })

  test('are used while fewer are healthy than must be; if no backup is, the others stay in use', () => {
    expect(modes({ a: up, b: down, x: spare(true) }, { minHealthy: two })).toEqual(['backup', 1, 2])
    expect(modes({ a: up, b: down, x: spare(false) }, { minHealthy: two })).toEqual(['well', 1, 2])
    const half = { kind: 'share', value: 0.5 } as const
    expect(modes({ a: up, b: down, x: spare(true), y: spare(true) }, { minHealthy: half })).toEqual(['well', 1, 1])
  })

  test('are not used while they are drained, or their next hop is unknown', () => {
    for (const lack of [{ active: false }, { reachable: false }])
      expect(modes({ a: down, x: member(true, undefined, { backup: true, ...lack }) })).toEqual(['empty', 0, 1])
    const drained = member(true, undefined, { active: false })
    expect(modes({ a: drained, x: spare(true) })).toEqual(['backup', 0, 1])
  })

  test('come before the sorry backend', () => {
    expect(modes({ a: down, x: spare(true) }, { fallback: 'sorry' })).toEqual(['backup', 0, 1])
    expect(modes({ a: down, x: spare(false) }, { fallback: 'sorry' })).toEqual(['sorry', 0, 1])
  })

  test('have shares apart from those of the others', () => {
    const ramping = member(true, 1000, { backup: true, check: check({ slowStartMs: 10_000 }) })
    expect(shares(composed({ a: up, x: ramping }, { fallback: 'backup' }))).toEqual({ a: 1, x: 1 })
    expect(shares(composed({ a: slow(1000), x: spare(true) }, { fallback: 'backup' }))).toEqual({ a: 1, x: 1 })
  })

  test('fallback on_empty leaves a service empty', () => {
    expect(composed({ a: up, b: down }, { fallback: 'on_empty', minHealthy: two }).overlay.mode).toBe('empty')
    expect(composed({ a: up, b: down }, { fallback: 'on_empty' }).overlay.mode).toBe('well')
  })
})

describe('keep_last', () => {
  const keepLast = (members: Readonly<Record<string, Member>>, kept?: ReadonlySet<string>): Composition =>
    composed(members, { fallback: 'keep_last', minHealthy: { kind: 'count', value: 2 }, ...(kept ? { kept } : {}) })

  test('keeps backends that were up one detection time ago, because checks notice a common failure one by one', () => {
    // The detection time of check(): 3 × 2000 + 1000 ms.
    const composition = keepLast({ a: up, b: member(false, 0), c: member(false, 6999), d: member(false, 7000) })
    expect(composition.overlay.mode).toBe('well')
    expect(shares(composition)).toEqual({ a: 1, b: 1, c: 1, d: 0 })
    expect(composition.kept).toEqual(new Set(['a', 'b', 'c']))
  })

  test('keeps these backends despite later failures, and adds recovered ones', () => {
    const composition = keepLast({ a: down, b: member(false, 10), c: up }, new Set(['a', 'b']))
    expect(shares(composition)).toEqual({ a: 1, b: 1, c: 1 })
  })

  test('ends when enough are healthy', () => {
    const composition = keepLast({ a: down, b: up, c: up }, new Set(['a', 'b']))
    expect([composition.kept, shares(composition)]).toEqual([undefined, { a: 0, b: 1, c: 1 }])
  })

  test('ignores slow start', () => {
    expect(shares(keepLast({ a: slow(0), b: down }, new Set(['b'])))).toEqual({ a: 1, b: 1 })
  })

  test('does not bring back inactive backends, and is empty without active ones', () => {
    const draining = member(false, 0, { active: false })
    const unreachable = member(true, NEVER, { reachable: false })
    expect(keepLast({ a: draining, b: unreachable }, new Set(['a', 'b'])).overlay).toEqual({
      mode: 'empty',
      shares: new Map([
        ['a', 0],
        ['b', 1],
      ]),
    })
  })
})

test('for any standings, some backend takes every flow unless the mode says otherwise', () => {
  const drawn = fc.record({
    up: fc.boolean(),
    ago: fc.integer({ min: 0, max: 20_000 }),
    active: fc.boolean(),
    reachable: fc.boolean(),
    slowStartMs: fc.constantFrom(0, 10_000),
  })
  const options = fc.record({
    minHealthy: fc.oneof(
      fc.record({ kind: fc.constant('count' as const), value: fc.integer({ min: 0, max: 4 }) }),
      fc.record({ kind: fc.constant('share' as const), value: fc.double({ min: 0, max: 1, noNaN: true }) }),
    ),
    fallback: fc.constantFrom('drop', 'sorry', 'keep_last'),
  })
  fc.assert(
    fc.property(fc.array(drawn, { maxLength: 6 }), options, (backends, { minHealthy, fallback }) => {
      const members = Object.fromEntries(
        backends.map(({ up: isUp, ago, slowStartMs, ...rest }, i) => [
          `${i}`,
          member(isUp, ago, { ...rest, check: check({ slowStartMs }) }),
        ]),
      )
      const { overlay, healthy, needed, kept } = composed(members, { minHealthy, fallback })
      const takers = backends.filter(
        ({ active, reachable }, i) => active && reachable && overlay.shares.get(`${i}`) === 1,
      )
      if (overlay.mode === 'well') expect(takers.length).toBeGreaterThan(0)
      if (overlay.mode === 'empty') expect(takers).toEqual([])
      expect(kept !== undefined).toBe(healthy < needed && fallback === 'keep_last')
      expect(overlay.mode === 'drop' || overlay.mode === 'sorry').toBe(healthy < needed && fallback !== 'keep_last')
      for (const share of overlay.shares.values()) expect(share).toSatisfy((value: number) => value >= 0 && value <= 1)
      const used = backends.map((_, i) => (overlay.shares.get(`${i}`) as number) > 0)
      if (!kept) expect(used).toEqual(backends.map(({ up: isUp }) => isUp))
    }),
  )
})
