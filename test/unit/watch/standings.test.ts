// Streaks of checks that outlive the daemon.

import { expect, test } from 'vitest'
import { formatStandings, type KeptStandings, parseStandings } from '../../../src/kernel/host/standings.ts'
import { HealthMonitor } from '../../../src/watch/health/monitor.ts'
import { BAD_ANSWER, backend, check, service, World } from '../../support/backends.ts'
import { FakeTimer } from '../../support/timer.ts'

/** A monitor after a restart; its checks fail. */
function restarted(kept: KeptStandings, up: boolean, own = check()) {
  const timer = new FakeTimer()
  const downs: number[] = []
  const monitor = new HealthMonitor({
    scheduler: timer,
    probe: (_, __, done) => timer.after(1, () => done({ outcome: 'bad', reason: 'refused' })),
    random: () => 0,
    restored: new Map([['web', { mode: 'well', shares: new Map([['a', up ? 1 : 0]]) }]]),
    kept,
    onOverlay: () => undefined,
    onEvent: (event) => event.kind === 'backend' && downs.push(timer.now()),
  })
  let checks = 0
  monitor.update(new Map([['web', service({ a: backend({ check: own }) })]]))
  return {
    monitor,
    /** Number of results after which it went down, up to `most`. */
    falls(most: number): number | undefined {
      while (checks < most && downs.length === 0) {
        timer.advance(50)
        checks = monitor.report()[0]?.checks ?? 0
      }
      return downs.length > 0 ? checks : undefined
    },
  }
}

/** Standings of a daemon whose backend passed its checks, and then failed `failures` times. */
function standingsAfter(failures: number): KeptStandings {
  const world = new World()
  world.update(service({ a: backend() }))
  world.timer.advance(3000)
  if (failures > 0) world.set('a', BAD_ANSWER)
  world.timer.advance(2000 * failures)
  return world.monitor.standings()
}

test('a backend that was up falls after as many results as without the restart', () => {
  for (const failures of [0, 1, 2]) {
    const kept = standingsAfter(failures)
    expect([...kept.values()]).toMatchObject([{ up: true, against: failures }])
    expect(restarted(kept, true).falls(5)).toBe(3 - failures)
  }
})

test('without a record, under another check, and against the health map the first result decides', () => {
  const kept = standingsAfter(0)
  expect(restarted(new Map(), true).falls(5)).toBe(1)
  expect(restarted(kept, true, check({ port: 81 })).falls(5)).toBe(1)
  const down: KeptStandings = new Map([...kept].map(([key, one]) => [key, { ...one, up: false }]))
  expect(restarted(down, true).falls(5)).toBe(1)
})

test('a record is read as it was written, for a while', () => {
  const kept = standingsAfter(2)
  const text = formatStandings(kept, 1000)
  const read = (age: number): KeptStandings => parseStandings(text, () => age)
  expect(read(5000)).toEqual(kept)
  expect([...read(61_000).values()]).toMatchObject([{ up: true, against: 0 }])
  for (const age of [-1, 600_001]) expect(read(age).size).toBe(0)
})

test('a damaged record is no record', () => {
  const read = (text: string): number => parseStandings(text, () => 0).size
  for (const text of ['', '{', 'null', '[]', '{"format":2,"written":1,"backends":[]}', '{"format":1}']) {
    expect(read(text)).toBe(0)
  }
  const entries = [['a/b', true, 1, 'x'], ['a/c', 'yes', 1, 'x'], ['a/d', true, -1, 'x'], ['a/e', true, 1], null]
  expect(read(JSON.stringify({ format: 1, written: 1, backends: entries }))).toBe(1)
})
