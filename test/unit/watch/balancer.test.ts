// The daemon's part in balancing: it follows the network, and checks the live backends.
import { expect, test } from 'vitest'
import { HEALTH_SERVICES } from '../../../src/abi/generated.ts'
import type { HealthBytes } from '../../../src/abi/health.ts'
import type { Served } from '../../../src/model/live.ts'
import { backendKey } from '../../../src/model/service.ts'
import type { HealthSummary, WatchEvent } from '../../../src/report/watch.ts'
import { runChecks } from '../../../src/watch/checks.ts'
import { bad, GOOD } from '../../../src/watch/health/standing.ts'
import { followHops } from '../../../src/watch/hops.ts'
import { check } from '../../support/backends.ts'
import { createClock, settle } from '../../support/clock.ts'
import { backend, balancing, service } from '../../support/services.ts'
import { slotsFor } from '../../support/slots.ts'
import { desired } from '../../support/states.ts'

const WEB = service('web', '192.0.2.10 80', { backends: ['10.0.0.11', '10.0.0.12'] })

function served(generation: number, one = WEB): Served {
  const state = balancing([one])
  return { generation, slots: slotsFor(state), leaving: [], services: state.services }
}

const WANTED = {
  ...desired(balancing([WEB])),
  health: new Map([
    [
      'web',
      {
        minHealthy: { kind: 'count', value: 1 } as const,
        fallback: 'drop' as const,
        checks: new Map(WEB.backends.map((one) => [backendKey(one), check({ address: one.address })])),
      },
    ],
  ]),
}

/** A health map in a kernel whose live generation is `state.generation`. */
function world() {
  const clock = createClock()
  const dead = new Set<string>()
  const bytes = new Map<number, number>()
  const events: WatchEvent[] = []
  const summaries: (HealthSummary | undefined)[] = []
  const state = { generation: 1, stale: 0, isBroken: false, writes: 0 }
  const checks = runChecks({
    scheduler: clock,
    map: {
      async read(numbers): Promise<HealthBytes> {
        if (state.isBroken) throw new Error('no map\nat all')
        return new Map(numbers.map((number) => [number, bytes.get(number) ?? 0]))
      },
      async write(generation, wanted) {
        if (generation < state.generation) return 'superseded'
        state.writes += wanted.size
        for (const [number, value] of wanted) bytes.set(number, value)
        return 'written'
      },
    },
    emit: (event) => events.push(event),
    onSummary: (summary) => summaries.push(summary),
    onStale: () => state.stale++,
    probe(_, { backend: key }, done) {
      done(dead.has(key) ? bad('connection refused') : GOOD)
      return () => undefined
    },
    random: () => 0,
    clock: () => 1_767_322_800_000,
  })
  const names = () =>
    events.splice(0).map((event) => ('backend' in event ? `${event.event} ${event.backend}` : event.event))
  return { clock, dead, bytes, checks, state, summaries, names, events }
}

test('writes, reports and counts a dying backend; a restart does not write a backend that is already down', async () => {
  const one = world()
  one.checks.serve(served(1), WANTED)
  await one.clock.pass(3000)
  expect([one.names(), one.state.writes]).toEqual([[], 0])
  one.dead.add('10.0.0.11')
  await one.clock.pass(7000)
  expect(one.bytes.get(0)).toBe(255)
  expect(one.names()).toEqual(['backend-down 10.0.0.11'])
  expect(one.summaries.at(-1)).toMatchObject({ checked: 2, down: 1, backends: [{ reason: 'connection refused' }] })
  await one.checks.close()

  const next = world()
  next.bytes.set(0, 255)
  next.dead.add('10.0.0.11')
  next.checks.serve(served(1), WANTED)
  await next.clock.pass(10_000)
  expect([next.names(), next.state.writes, next.checks.counters()?.writes]).toEqual([[], 0, 0])
  expect(next.summaries.at(-1)).toMatchObject({ down: 1, backends: [{ since: undefined }] })
  next.dead.add('10.0.0.12')
  await next.clock.pass(10_000)
  expect(next.bytes.get(HEALTH_SERVICES)).toBe(2)
  expect(next.events.find(({ event }) => event === 'service-health')).toMatchObject({ mode: 'drop', isFallback: true })
  await next.checks.close()
  expect(next.clock.waiting()).toBe(0)
})

test('notices an apply of another process at its next write, and writes known health to the new slots', async () => {
  const { clock, dead, bytes, checks, state } = world()
  checks.serve(served(1), WANTED)
  await clock.pass(3000)
  state.generation = 2
  dead.add('10.0.0.11')
  await clock.pass(7000)
  expect([state.stale, bytes.get(0)]).toEqual([1, undefined])
  checks.serve(served(2), WANTED)
  await settle()
  expect(bytes.get(0)).toBe(255)
  await checks.close()
})

test('reports an unreadable health map, and retries', async () => {
  const { clock, checks, state, names, events } = world()
  state.isBroken = true
  checks.serve(served(1), WANTED)
  await clock.pass(10)
  expect(events).toEqual([{ event: 'trouble', what: 'cannot read health from the kernel: no map' }])
  expect([names(), state.stale]).toEqual([['trouble'], 0])
  await clock.pass(1000)
  expect(state.stale).toBe(1)
  await checks.close()
})

test('without services reads no health and runs no checks', async () => {
  const { clock, checks, state, names } = world()
  state.isBroken = true
  checks.serve({ ...served(1), services: new Map() }, WANTED)
  await clock.pass(5000)
  expect([names(), checks.counters()]).toEqual([[], undefined])
  await checks.close()
})

/** Next hops in a network that changes when a test says so; a comparison takes `cost` milliseconds. */
function network(cost: number) {
  const clock = createClock()
  const state = { changed: false, looks: 0, requests: 0, wakeUps: 0 }
  const hops = followHops({
    scheduler: clock,
    haveChanged: () => {
      state.looks++
      return new Promise((resolve) => clock.after(cost, () => resolve(state.changed)))
    },
    request: async () => void state.requests++,
    onChange: () => state.wakeUps++,
  })
  return { clock, state, hops }
}

test('events without a changed next hop cost a small part of the time and do not wake the loop', async () => {
  const { clock, state, hops } = network(50)
  hops.touch()
  await clock.pass(1000)
  expect(state.looks).toBe(0)
  hops.follow(served(1))
  for (let i = 0; i < 1000; i++) {
    hops.touch()
    await clock.pass(10)
  }
  expect(state.looks).toBeGreaterThan(10)
  expect(state.looks).toBeLessThan(45)
  expect(state.wakeUps).toBe(0)
  state.changed = true
  hops.touch()
  await clock.pass(1000)
  expect(state.wakeUps).toBeGreaterThan(0)
  hops.stop()
})

test('an event during a comparison starts another one', async () => {
  const { clock, state, hops } = network(50)
  hops.follow(served(1))
  hops.touch()
  await clock.pass(60)
  hops.touch()
  state.changed = true
  await clock.pass(40)
  expect(state).toMatchObject({ looks: 1, wakeUps: 1 })
  await clock.pass(1000)
  expect(state.looks).toBe(2)
  hops.stop()
})

test('resolves backends without a next hop until they have one', async () => {
  const { clock, state, hops } = network(1)
  const lost = { ...WEB, backends: [backend('10.0.0.11', { nextHop: undefined })] }
  hops.follow(served(1, lost))
  await clock.pass(7000)
  expect(state.requests).toBe(3)
  hops.follow(served(2))
  await clock.pass(60_000)
  expect(state.requests).toBe(3)
  hops.stop()
  expect(clock.waiting()).toBe(0)
})
