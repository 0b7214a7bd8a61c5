// When the daemon fetches its sources, with a clock of the test.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Remote } from '../../../src/config/text/remote.ts'
import type { Group } from '../../../src/fetch/fetch.ts'
import { openStore } from '../../../src/fetch/store.ts'
import type { Fetched } from '../../../src/report/fetch.ts'
import type { WatchEvent } from '../../../src/report/watch.ts'
import { followSources } from '../../../src/watch/sources.ts'
import { createClock } from '../../support/clock.ts'

const HOUR = 3_600_000
const MINUTE = 60_000

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-sources-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const remote = (name: string, more: Partial<Remote> = {}): Remote => ({
  kind: 'url',
  name: `https://lists.example.org/${name}`,
  shown: `https://lists.example.org/${name}`,
  path: join(directory, name),
  at: { file: 'xdp.yaml', line: 4, column: 1, length: 1 },
  list: name,
  refreshMs: undefined,
  ca: undefined,
  maxBytes: 1024,
  maxShrink: 0.5,
  examine: () => ({ prefixes: 1 }),
  ...more,
})

/** A daemon's sources; `outcomes` by name of the source, `new` without an entry. */
function following(outcomes: ReadonlyMap<string, Partial<Fetched>> = new Map(), random = 0.5) {
  const clock = createClock()
  const store = openStore(directory, process.geteuid?.() ?? 0)
  const asked: (readonly [at: number, name: string])[] = []
  const events: WatchEvent[] = []
  const fetch = async ([{ kind, path, shown, list }]: Group): Promise<Fetched> => {
    asked.push([clock.now(), basename(path)])
    const { outcome = 'unchanged', validMs, problem } = outcomes.get(basename(path)) ?? {}
    const isFailed = outcome === 'failed'
    const failures = isFailed ? (store.note(path)?.failures ?? 0) + 1 : 0
    const tags = { sha256: undefined, etag: undefined, lastModified: undefined }
    store.annotate(path, {
      kind,
      source: shown,
      checkedAt: Math.floor(clock.now() / 1000),
      problem: undefined,
      failures,
      ...tags,
    })
    return { kind, source: shown, lists: [list], outcome, path, prefixes: 1, offered: 1, bytes: 0, problem, validMs }
  }
  const ports = { scheduler: clock, store, clock: clock.now, random: () => random, signal: undefined, fetch }
  const sources = followSources({ ...ports, emit: (event) => events.push(event) })
  return { sources, clock, store, asked, events }
}

const copy = (name: string): void => writeFileSync(join(directory, name), '192.0.2.1\n')

test('a source without a copy is fetched at once, then each hour, unless the config says otherwise', async () => {
  const { sources, clock, asked } = following()
  sources.follow([remote('a'), remote('b', { refreshMs: 6 * HOUR })])
  await clock.pass(0)
  expect(asked.map(([, name]) => name)).toEqual(['a', 'b'])
  await clock.pass(6 * HOUR)
  expect(asked.filter(([, name]) => name === 'a').map(([at]) => at)).toEqual(
    [0, 1, 2, 3, 4, 5, 6].map((hours) => hours * HOUR),
  )
  expect(asked.filter(([, name]) => name === 'b').map(([at]) => at)).toEqual([0, 6 * HOUR])
  await sources.close()
  expect(clock.waiting()).toBe(0)
})

test('periods differ by a tenth at most', async () => {
  for (const [random, period] of [
    [0, 0.9 * HOUR],
    [1, 1.1 * HOUR],
  ] as const) {
    const { sources, clock, asked } = following(new Map(), random)
    sources.follow([remote(`jitter-${random}`)])
    await clock.pass(1.1 * HOUR)
    expect(asked[1]?.[0]).toBeCloseTo(period)
    await sources.close()
  }
})

test('a restart asks no server that was asked a moment ago', async () => {
  const first = following()
  copy('a')
  first.sources.follow([remote('a')])
  await first.clock.pass(0)
  await first.sources.close()
  const second = following()
  second.sources.follow([remote('a')])
  await second.clock.pass(HOUR - 1)
  expect([first.asked.length, second.asked.length]).toEqual([1, 0])
  await second.clock.pass(1)
  expect(second.asked).toHaveLength(1)
  await second.sources.close()
})

test('a failure is a warning, is repeated after 1, 2, 4 minutes, and no sooner than the server wants', async () => {
  const [failure] = [{ code: 'E264', severity: 'error', message: 'no route', at: remote('a').at }] as const
  const outcomes = new Map<string, Partial<Fetched>>([['a', { outcome: 'failed', problem: failure }]])
  const { sources, clock, asked, events } = following(outcomes)
  sources.follow([remote('a')])
  await clock.pass(7 * MINUTE)
  expect(asked.map(([at]) => at / MINUTE)).toEqual([0, 1, 3, 7])
  expect(events[0]).toMatchObject({ event: 'warning', warnings: [{ code: 'W262', severity: 'warning' }] })
  outcomes.set('a', { outcome: 'failed', problem: failure, validMs: 5 * HOUR })
  await clock.pass(8 * MINUTE)
  expect(asked).toHaveLength(5)
  await clock.pass(5 * HOUR - 1)
  expect(asked).toHaveLength(5)
  outcomes.set('a', { outcome: 'updated' })
  await clock.pass(1)
  expect(events.at(-1)).toMatchObject({ event: 'fetched', outcome: 'updated', lists: ['a'] })
  await sources.close()
})

test('the answer about a host is asked for again when it ends, but not more than once a minute', async () => {
  const outcomes = new Map<string, Partial<Fetched>>([
    ['short', { validMs: 5000 }],
    ['long', { validMs: 3 * HOUR }],
    ['capped', { validMs: 3 * HOUR }],
  ])
  const { sources, clock, asked } = following(outcomes)
  sources.follow([
    remote('short', { kind: 'host' }),
    remote('long', { kind: 'host' }),
    remote('capped', { kind: 'host', refreshMs: HOUR }),
  ])
  await clock.pass(3 * HOUR)
  const times = (name: string): number[] => asked.filter(([, one]) => one === name).map(([at]) => at)
  expect(times('short').slice(0, 3)).toEqual([0, MINUTE, 2 * MINUTE])
  expect(times('long')).toEqual([0, 3 * HOUR])
  expect(times('capped')).toEqual([0, HOUR, 2 * HOUR, 3 * HOUR])
  await sources.close()
})

test('a source that the config names no more is not asked again, and has no facts', async () => {
  const { sources, clock, asked } = following()
  sources.follow([remote('a'), remote('b')])
  await clock.pass(0)
  sources.follow([remote('b')])
  await clock.pass(HOUR)
  expect(asked.map(([, name]) => name)).toEqual(['a', 'b', 'b'])
  expect(sources.facts().map(({ source }) => source)).toEqual(['https://lists.example.org/b'])
  await sources.close()
})

test('only sources without a copy are filled at the start', async () => {
  const { sources, asked } = following()
  copy('there')
  await sources.fill([remote('there'), remote('missing')])
  expect(asked.map(([, name]) => name)).toEqual(['missing'])
  await sources.close()
})
