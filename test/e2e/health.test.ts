// Checks, monitor, publisher and kernel together: real servers stop and start, and the health map follows.

import { createSocket, type Socket } from 'node:dgram'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { backendByte, bytesOfSlots, decodeOverlay, serviceByte } from '../../src/abi/health.ts'
import { readHealth, writeHealth } from '../../src/kernel/live/health.ts'
import type { HealthCheck } from '../../src/model/health.ts'
import type { Overlay } from '../../src/model/overlay.ts'
import { type HealthEvent, HealthMonitor } from '../../src/watch/health/monitor.ts'
import { makeProbe } from '../../src/watch/health/probes/probe.ts'
import { HealthPublisher } from '../../src/watch/health/publish.ts'
import { MONOTONIC } from '../../src/watch/time/scheduler.ts'
import { backend, service } from '../support/backends.ts'
import { DataPlane } from '../support/bpf.ts'
import { healthPaths } from '../support/health.ts'
import { policy } from '../support/lists.ts'
import { http, tcp, udp } from '../support/probes.ts'

const SLOTS = {
  services: new Map([['web', 7]]),
  backends: new Map([
    ['web/tcp', 64],
    ['web/http', 65],
    ['web/udp', 1000],
  ]),
}
const QUICK = { intervalMs: 300, jitterMs: 30, timeoutMs: 250, rise: 2, fall: 2 }

/** A server that can be stopped and started again on the same port. */
interface Backend {
  readonly port: number
  start(): Promise<void>
  stop(): Promise<void>
}

async function stream(make: () => Server): Promise<Backend> {
  let server = make()
  const listen = (port: number): Promise<void> => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address() as { port: number }
  return {
    port,
    start: () => {
      server = make()
      return listen(port)
    },
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

async function datagram(): Promise<Backend> {
  const bind = (port: number): Promise<Socket> =>
    new Promise((resolve) => {
      const made = createSocket('udp4')
      made.on('message', (data, from) => made.send(data, from.port, from.address))
      made.bind(port, '127.0.0.1', () => resolve(made))
    })
  let socket = await bind(0)
  const { port } = socket.address()
  return {
    port,
    start: async () => {
      socket = await bind(port)
    },
    stop: () => new Promise((resolve) => socket.close(resolve)),
  }
}

let plane: DataPlane
let backends: Readonly<Record<'tcp' | 'http' | 'udp', Backend>>
let monitor: HealthMonitor | undefined
let events: HealthEvent[]
beforeEach(async () => {
  plane = await DataPlane.open()
  await plane.loadState(policy('pass'))
  backends = {
    tcp: await stream(() => createServer((socket) => socket.on('error', () => undefined))),
    http: await stream(() => createHttpServer((_, response) => response.end('all is well'))),
    udp: await datagram(),
  }
  events = []
})
afterEach(async () => {
  monitor?.stop()
  await Promise.all(Object.values(backends).map((one) => one.stop().catch(() => undefined)))
  plane.close()
})

const checks = (): Readonly<Record<string, HealthCheck>> => ({
  tcp: { ...tcp(backends.tcp.port), ...QUICK },
  http: { ...http(backends.http.port, { body: 'well' }), ...QUICK },
  udp: { ...udp(backends.udp.port), ...QUICK, slowStartMs: 1000 },
})

/** Wires these parts like the daemon: reads the kernel's health, runs checks, writes results. */
async function start(): Promise<HealthMonitor> {
  const paths = healthPaths(plane)
  const bytes = await readHealth(paths, bytesOfSlots(SLOTS))
  const publisher = new HealthPublisher({
    scheduler: MONOTONIC,
    onSuperseded: () => events.push({ kind: 'unknown', service: '', backend: '', reason: 'superseded' }),
    onError: (error) => events.push({ kind: 'unknown', service: '', backend: '', reason: String(error) }),
  })
  const started = new HealthMonitor({
    scheduler: MONOTONIC,
    probe: makeProbe(MONOTONIC.now),
    random: Math.random,
    restored: decodeOverlay(bytes, SLOTS),
    onOverlay: (changed) => publisher.publish(changed),
    onEvent: (event) => events.push(event),
  })
  const members = Object.entries(checks()).map(([key, check]) => [key, backend({ check })])
  started.update(new Map([['web', service(Object.fromEntries(members), { fallback: 'drop' })]]))
  publisher.retarget({ slots: SLOTS, bytes, write: (wanted) => writeHealth(paths, 1, wanted) }, started.overlay())
  monitor = started
  return started
}

const live = async (): Promise<Overlay> =>
  decodeOverlay(await readHealth(healthPaths(plane), bytesOfSlots(SLOTS)), SLOTS)
const shares = async (): Promise<Record<string, number>> => Object.fromEntries((await live()).get('web')?.shares ?? [])

const POLL = { interval: 20 }

test('stopping and starting servers changes the health in the kernel', async () => {
  const first = await start()
  await expect.poll(() => first.report().every(({ state }) => state === 'up'), POLL).toBe(true)
  expect(await shares()).toEqual({ tcp: 1, http: 1, udp: 1 })

  await backends.http.stop()
  await expect.poll(shares, POLL).toEqual({ tcp: 1, http: 0, udp: 1 })
  await backends.tcp.stop()
  await backends.udp.stop()
  await expect.poll(async () => (await live()).get('web')?.mode, POLL).toBe('drop')
  expect(await shares()).toEqual({ tcp: 0, http: 0, udp: 0 })
  const raw = await readHealth(healthPaths(plane), [backendByte(64), serviceByte(7)])
  expect([...raw.values()]).toEqual([255, 2])

  // A restarted daemon continues from there, and writes only results of its checks.
  first.stop()
  const second = await start()
  expect(second.overlay()).toEqual(await live())
  await backends.udp.start()
  await expect.poll(async () => (await live()).get('web')?.mode, POLL).toBe('well')
  // A lone healthy backend takes everything; beside others it starts slowly.
  expect(await shares()).toEqual({ tcp: 0, http: 0, udp: 1 })
  await backends.tcp.start()
  await backends.http.start()
  await expect.poll(shares, POLL).toEqual({ tcp: 1, http: 1, udp: 1 })

  const changes = events.flatMap((event) =>
    event.kind === 'backend' ? [`${event.backend} ${event.up ? 'up' : `down: ${event.reason}`}`] : [],
  )
  expect(changes).toEqual(
    expect.arrayContaining(
      ['http', 'tcp', 'udp'].flatMap((name) => [`${name} down: connection refused`, `${name} up`]),
    ),
  )
  expect(events.filter(({ kind }) => kind === 'unknown')).toEqual([])
})
