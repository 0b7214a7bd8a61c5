// The monitor on a test clock: its schedule, results, and updates.

import { beforeEach, describe, expect, test } from 'vitest'
import type { Overlay } from '../../../../src/model/overlay.ts'
import { MOST_CONNECTIONS } from '../../../../src/watch/health/monitor.ts'
import { BAD_ANSWER, BROKEN, backend, check, GOOD_ANSWER, SILENT, service, World } from '../../../support/backends.ts'

let world: World
beforeEach(() => {
  world = new World()
})

const three = (more: Parameters<typeof check>[0] = {}): ReturnType<typeof service> =>
  service({
    a: backend({ check: check(more) }),
    b: backend({ check: check(more) }),
    c: backend({ check: check(more) }),
  })

/** The gaps between successive times. */
const gaps = (times: readonly number[]): number[] => times.slice(1).map((time, i) => time - (times[i] as number))

describe('the schedule', () => {
  test('spreads first checks over an interval, and keeps them spread', () => {
    world.update(three())
    const start = world.timer.now()
    world.timer.advance(20_000)
    const firsts = ['a', 'b', 'c'].map((name) => (world.startsOf(name)[0] as number) - start)
    expect(firsts).toEqual([0, 667, 1334])
    // The interval less the margin.
    for (const name of ['a', 'b', 'c']) {
      expect(world.startsOf(name).length).toBeGreaterThan(9)
      for (const gap of gaps(world.startsOf(name))) expect(gap).toBeCloseTo(1960)
    }
  })

  test('jitter moves starts, so that checks do not fall into step', () => {
    let drawn = 0
    world.random = () => (drawn = (drawn + 0.37) % 1)
    world.update(three({ jitterMs: 200 }))
    world.timer.advance(60_000)
    const seen = gaps(world.startsOf('a'))
    expect(Math.max(...seen)).toBeLessThanOrEqual(1960)
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(1760)
    expect(Math.max(...seen) - Math.min(...seen)).toBeGreaterThan(100)
  })

  test('abandons a hanging check at its timeout, never runs it twice at a time, and delays no other', () => {
    world.set('a', SILENT)
    world.update(three())
    world.timer.advance(10_000)
    expect(world.running).toBeLessThanOrEqual(1)
    for (const name of ['a', 'b', 'c']) {
      for (const gap of gaps(world.startsOf(name))) expect(gap).toBeCloseTo(1960)
    }
    expect(world.monitor.counters()).toMatchObject({ timeouts: 5, failures: 5, running: 1 })
  })

  test('a timeout as long as the interval does not delay the next check', () => {
    world.set('a', SILENT)
    world.update(service({ a: backend({ check: check({ timeoutMs: 2000 }) }) }))
    world.timer.advance(20_000)
    expect(world.startsOf('a').length).toBeGreaterThan(9)
    for (const gap of gaps(world.startsOf('a'))) expect(gap).toBeCloseTo(1960)
  })

  test('after a stall every check runs once, then returns to its place on the grid', () => {
    world.update(three())
    world.timer.advance(4500)
    const before = new Map(['a', 'b', 'c'].map((name) => [name, world.startsOf(name).at(-1) as number]))
    world.timer.stall(11_000)
    const resumed = world.timer.now()
    world.timer.advance(20_000)
    for (const name of ['a', 'b', 'c']) {
      const [first, ...rest] = world.startsOf(name).filter((time) => time >= resumed)
      expect(first).toBe(resumed)
      for (const gap of gaps([first as number, ...rest])) expect(gap).toBeGreaterThanOrEqual(980)
      for (const time of rest)
        expect((time - (before.get(name) as number)) / 1960).toBeCloseTo(
          Math.round((time - (before.get(name) as number)) / 1960),
        )
    }
    expect(world.monitor.counters().missed).toBeGreaterThan(0)
    expect(world.monitor.counters().lateness.maxMs).toBeGreaterThan(8000)
  })

  test('a late timeout does not overrule an answer that arrived in time', () => {
    world.set('a', { how: 'good', latency: 900 })
    world.update(service({ a: backend() }))
    world.timer.advance(100)
    world.timer.stall(5000)
    world.timer.advance(10)
    expect(world.monitor.counters()).toMatchObject({ checks: 1, failures: 0 })
  })

  test('limits sockets: further checks wait in line, and all run', () => {
    const names = Array.from({ length: MOST_CONNECTIONS + 10 }, (_, i) => `${i}`)
    for (const name of names) world.set(name, SILENT)
    world.update(
      service(Object.fromEntries(names.map((name) => [name, backend({ check: check({ timeoutMs: 2000 }) })]))),
    )
    let most = 0
    for (let i = 0; i < 60; i++) {
      world.timer.advance(100)
      most = Math.max(most, world.running)
    }
    expect(most).toBe(MOST_CONNECTIONS)
    expect(new Set(world.starts.map(({ backend: name }) => name)).size).toBe(names.length)
    world.monitor.stop()
    expect([world.running, world.timer.pending, world.monitor.counters().running]).toEqual([0, 0, 0])
  })
})

describe('results', () => {
  test('a dead backend goes down after `fall` checks, and up again after `rise`', () => {
    world.update(three())
    world.timer.advance(10_000)
    expect([world.shares(), world.events]).toEqual([{ a: 1, b: 1, c: 1 }, []])
    world.set('b', BAD_ANSWER)
    world.timer.advance(10_000)
    expect(world.shares()).toEqual({ a: 1, b: 0, c: 1 })
    expect(world.events).toEqual([{ kind: 'backend', service: 'web', backend: 'b', up: false, reason: 'refused' }])
    world.set('b', GOOD_ANSWER)
    world.timer.advance(10_000)
    expect(world.shares()).toEqual({ a: 1, b: 1, c: 1 })
    expect(world.events.at(-1)).toEqual({ kind: 'backend', service: 'web', backend: 'b', up: true, reason: undefined })
    // One for all at the start, then one per change, within a millisecond of the result.
    expect(world.overlays.map(({ changed }) => changed.size)).toEqual([1, 1, 1])
  })

  test('emits a change with the result that makes it', () => {
    world.update(three({ fall: 1 }))
    world.timer.advance(5000)
    world.set('a', BAD_ANSWER)
    world.timer.advance(2000)
    expect(world.overlays.at(-1)?.changed.get('web')?.shares.get('a')).toBe(0)
    expect(world.overlays.at(-1)?.time).toBe((world.startsOf('a').at(-1) as number) + BAD_ANSWER.latency)
  })

  test('reports a check that cannot run once, and changes nothing', () => {
    world.set('a', BROKEN)
    world.update(three())
    world.timer.advance(20_000)
    expect(world.shares()).toEqual({ a: 1, b: 1, c: 1 })
    expect(world.events).toEqual([{ kind: 'unknown', service: 'web', backend: 'a', reason: 'no ports' }])
    expect(world.monitor.counters()).toMatchObject({ unknown: 11, failures: 0 })
    expect(world.monitor.report()[0]).toMatchObject({ state: 'unknown', reason: 'no ports', checks: 11 })
  })

  test('reports when too few are healthy, and when enough are again', () => {
    const wanted = { minHealthy: { kind: 'count', value: 2 }, fallback: 'sorry' } as const
    world.update(service({ a: backend(), b: backend() }, wanted))
    world.timer.advance(4000)
    world.set('a', SILENT)
    world.timer.advance(10_000)
    expect(world.web().mode).toBe('sorry')
    world.set('a', GOOD_ANSWER)
    world.timer.advance(10_000)
    expect(world.web().mode).toBe('well')
    const services = world.events.filter(({ kind }) => kind === 'service')
    expect(services).toEqual([
      { kind: 'service', service: 'web', mode: 'sorry', isFallback: true, healthy: 1, needed: 2 },
      { kind: 'service', service: 'web', mode: 'well', isFallback: false, healthy: 2, needed: 2 },
    ])
  })

  test('keep_last: a total failure keeps all backends in use, though checks notice it one by one', () => {
    world.update(three())
    world.timer.advance(10_000)
    for (const name of ['a', 'b', 'c']) world.set(name, BAD_ANSWER)
    world.timer.advance(20_000)
    expect([world.web().mode, world.shares()]).toEqual(['well', { a: 1, b: 1, c: 1 }])
    world.set('c', GOOD_ANSWER)
    world.timer.advance(5000)
    expect(world.shares()).toEqual({ a: 0, b: 0, c: 1 })
  })

  test('slow start: shares grow in steps, each emitted', () => {
    world.update(three({ slowStartMs: 10_000 }))
    // A backend that was never down has no slow start.
    expect(world.shares()).toEqual({ a: 1, b: 1, c: 1 })
    world.set('a', BAD_ANSWER)
    world.timer.advance(10_000)
    world.set('a', GOOD_ANSWER)
    const before = world.overlays.length
    world.timer.advance(20_000)
    const shares = world.overlays.slice(before).map(({ changed }) => changed.get('web')?.shares.get('a') as number)
    expect(shares.length).toBeGreaterThan(30)
    expect(shares[0]).toBeLessThan(0.02)
    expect(shares).toEqual([...shares].sort((a, b) => a - b))
    expect(shares.at(-1)).toBe(1)
    const after = world.overlays.length
    world.timer.advance(20_000)
    expect(world.overlays.length).toBe(after)
  })
})

describe('an update', () => {
  const down = (name: string): void => {
    world.set(name, BAD_ANSWER)
    world.timer.advance(10_000)
  }

  test('keeps standing and schedule of unchanged backends, and emits nothing', () => {
    world.update(three())
    down('a')
    const [last, reported] = [world.startsOf('b').at(-1) as number, world.overlays.length]
    // A reloaded config: equal, in new objects.
    world.update(three())
    world.timer.advance(3000)
    expect(world.shares()).toEqual({ a: 0, b: 1, c: 1 })
    expect(world.overlays.length).toBe(reported)
    expect(world.startsOf('b').filter((time) => time > last)[0]).toBeCloseTo(last + 1960)
  })

  test('of the weight or state of a backend keeps its check', () => {
    world.update(three())
    down('a')
    const checks = world.monitor.report().find(({ backend: name }) => name === 'a')?.checks
    world.update(service({ a: backend({ active: false }), b: backend(), c: backend() }))
    expect(world.monitor.report().find(({ backend: name }) => name === 'a')).toMatchObject({ state: 'down', checks })
  })

  test('of a check keeps the standing until the first result, which decides alone', () => {
    world.update(three())
    down('a')
    world.set('b', BAD_ANSWER)
    world.update(three({ timeoutMs: 500 }))
    expect(world.shares()).toEqual({ a: 0, b: 1, c: 1 })
    world.set('a', GOOD_ANSWER)
    world.timer.advance(2000)
    expect(world.shares()).toEqual({ a: 1, b: 0, c: 1 })
  })

  test('that adds a backend starts only its check; it is up until its first result', () => {
    world.update(three())
    world.timer.advance(5000)
    world.set('d', SILENT)
    const target = three()
    world.update({ ...target, backends: new Map([...target.backends, ['d', backend()]]) })
    expect(world.overlays.at(-1)?.changed.get('web')?.shares).toEqual(
      new Map(Object.entries({ a: 1, b: 1, c: 1, d: 1 })),
    )
    const added = world.timer.now()
    world.timer.advance(1500)
    expect(world.startsOf('d')).toEqual([added])
    expect(world.shares()).toEqual({ a: 1, b: 1, c: 1, d: 0 })
  })

  test('that removes a backend, its check or its service ends a running check', () => {
    world.set('a', SILENT)
    world.set('b', SILENT)
    world.update(three())
    world.timer.advance(1500)
    const without = service({ b: backend({ check: undefined }), c: backend() })
    world.update(without)
    world.timer.advance(4000)
    expect(world.startsOf('a')).toHaveLength(1)
    expect(world.shares()).toEqual({ b: 1, c: 1 })
    world.updateAll(new Map())
    expect([world.running, world.monitor.counters().running, world.monitor.overlay().size]).toEqual([0, 0, 0])
    const starts = world.starts.length
    world.timer.advance(60_000)
    expect([world.starts.length, world.timer.pending]).toEqual([starts, 0])
  })

  test('keeps checking a leaving backend, and keeps its standing if it returns', () => {
    world.update(three())
    world.timer.advance(5000)
    const target = three()
    const leaving = new Map([...target.backends, ['a', backend({ check: undefined, active: false, leaving: true })]])
    world.update({ ...target, backends: leaving })
    down('a')
    expect(world.shares()).toEqual({ a: 0, b: 1, c: 1 })
    const checks = world.startsOf('a').length
    world.update(three())
    expect(world.shares()).toEqual({ a: 0, b: 1, c: 1 })
    expect(world.startsOf('a')).toHaveLength(checks)
  })
})

describe('a restart of the daemon', () => {
  const restored: Overlay = new Map([
    [
      'web',
      {
        mode: 'well',
        shares: new Map([
          ['a', 0],
          ['b', 0.5],
          ['x', 0],
        ]),
      },
    ],
  ])

  test('continues from the health in the kernel', () => {
    world = new World(restored)
    world.update(three({ slowStartMs: 10_000 }))
    expect(world.shares()).toEqual({ a: 0, b: expect.closeTo(0.5, 2), c: 1 })
    world.timer.advance(1)
    // A backend that is down comes up after `rise`, as if the daemon had run all along.
    expect(world.startsOf('a')).toHaveLength(1)
    expect(world.shares()['a']).toBe(0)
    world.timer.advance(10_000)
    expect(world.shares()).toMatchObject({ b: 1, c: 1 })
    expect(world.shares()['a']).toBeGreaterThan(0.5)
    // The restored health counts only at the first update.
    world.update(service({ x: backend(), c: backend() }))
    expect(world.shares()).toEqual({ x: 1, c: 1 })
  })

  test('keeps a leaving backend down', () => {
    world = new World(restored)
    world.update(service({ a: backend({ check: undefined, active: false, leaving: true }), c: backend() }))
    expect(world.shares()).toEqual({ a: 0, c: 1 })
  })
})

test('services are independent, and each overlay is emitted alone', () => {
  const targets = new Map([
    ['web', three()],
    ['dns', service({ x: backend(), y: backend() }, { fallback: 'drop' })],
  ])
  world.updateAll(targets)
  world.timer.advance(5000)
  world.set('x', BAD_ANSWER)
  world.timer.advance(10_000)
  expect(world.overlays.at(-1)?.changed).toEqual(
    new Map([['dns', { mode: 'well', shares: new Map(Object.entries({ x: 0, y: 1 })) }]]),
  )
  world.set('y', BAD_ANSWER)
  world.timer.advance(10_000)
  expect(world.monitor.overlay().get('dns')?.mode).toBe('drop')
  expect(world.web().mode).toBe('well')
})
