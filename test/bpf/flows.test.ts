// The flow table, health, and counters: sequences of packets received on an attached interface.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  backendCounterCodec,
  ERROR_LIMIT,
  FLOW_ESTABLISHED,
  FLOW_SEEN,
  FLOW_TIME_WAIT,
  FLOWS_A_LINE,
  type FlowKeys,
  flowBudgetCodec,
  HEALTH_BACKEND_LINES,
  HEALTH_DOWN,
  LINE_SIZE,
  SERVICE_HEALTH,
  serviceCounterCodec,
  TICK_SHIFT,
} from '../../src/abi/generated.ts'
import { NONE } from '../../src/abi/packet.ts'
import { type Backend, backendSlotKey, type Service } from '../../src/model/service.ts'
import type { State } from '../../src/model/state.ts'
import { flowHash } from '../../src/semantics/flow-hash.ts'
import { compileImage } from '../../src/tables/image/image.ts'
import type { Source } from '../../src/tables/image/source.ts'
import { imageBytes } from '../../src/tables/layout/layout.ts'
import { DataPlane } from '../support/bpf.ts'
import { seal } from '../support/checksums.ts'
import { inDepth } from '../support/depth.ts'
import { ACK, ethernet, FIN, ipv4, packet, RST, raw, SYN, tcp, udp } from '../support/packets.ts'
import { FLOW_KEYS, placeOf } from '../support/place.ts'
import { address, backend, balancing, service } from '../support/services.ts'
import { slotsFor } from '../support/slots.ts'

const SLOT = 3
const FLOWS = 1024
/** Half of the entries that a CPU makes per tick: FLOW_LIMIT in src/tables/services/balance.ts. */
const HALF = 62_500
const META = { generation: 1, netns: 0n, objectDigest: new Uint8Array(16) }

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

const web = (...backends: readonly (Backend | string)[]): Service => service('web', '192.0.2.10 80', { backends })
const dns = (fields: Partial<Service>, ...backends: readonly (Backend | string)[]): Service => ({
  ...service('dns', '192.0.2.10 53', { backends, protocol: 'udp' }),
  ...fields,
})
const THREE = ['10.0.0.11', '10.0.0.12', '10.0.0.13'] as const
/** Slots of THREE. */
const ALL = [0, 1, 2]

const segment = (port: number, flags: number): Uint8Array =>
  seal(packet(ethernet(), ipv4({ destination: '192.0.2.10' }), tcp({ source: port, destination: 80, flags }), raw(4)))
const datagram = (port: number, source = '198.51.100.7'): Uint8Array =>
  seal(packet(ethernet(), ipv4({ source, destination: '192.0.2.10' }), udp({ source: port, destination: 53 }), raw(4)))

/** Sends frames as real traffic. */
async function send(...frames: readonly Uint8Array[]): Promise<void> {
  await plane.send(SLOT, frames)
}

/** The backend slots that a test run assigns to packets. */
const ask = async (...frames: readonly Uint8Array[]): Promise<number[]> =>
  (await plane.run(frames.map((frame) => ({ frame })))).map(({ explanation }) => explanation?.backend ?? NONE)

const reasons = async (...frames: readonly Uint8Array[]): Promise<unknown[]> =>
  (await plane.run(frames.map((frame) => ({ frame })))).map(({ explanation }) => explanation?.reason)

/** Loads services; backends that a later state lacks keep their slots in `slots`. */
async function load(services: readonly Service[], more: Partial<Source> = {}): Promise<State> {
  const state = balancing(services, { policy: { flows: FLOWS } })
  await plane.load(imageBytes(compileImage({ state, slots: slotsFor(state), meta: META, ...more })))
  return state
}

interface Entry {
  readonly line: number
  readonly place: number
  readonly word: bigint
}

async function entries(): Promise<Entry[]> {
  const lines = await plane.values('flows', FLOWS / FLOWS_A_LINE)
  return lines.flatMap((bytes, line) =>
    Array.from({ length: FLOWS_A_LINE }, (_, place) => ({
      line,
      place,
      word: new DataView(bytes.buffer).getBigUint64(place * 8, true),
    })).filter(({ word }) => word !== 0n),
  )
}

const backendIn = ({ word }: Entry): number => Number((word >> 16n) & 0xffffn)
const isEstablished = ({ word }: Entry): boolean => (word & BigInt(FLOW_ESTABLISHED)) !== 0n

/** Rewrites the entries of the map by `change`. */
async function rewrite(change: (word: bigint) => bigint): Promise<void> {
  const lines = await plane.values('flows', FLOWS / FLOWS_A_LINE)
  for (const bytes of lines) {
    const view = new DataView(bytes.buffer)
    for (let place = 0; place < FLOWS_A_LINE; place++) {
      const word = view.getBigUint64(place * 8, true)
      if (word !== 0n) view.setBigUint64(place * 8, change(word), true)
    }
  }
  await plane.setValues('flows', lines.entries())
}

const tick = (): number => Number(process.hrtime.bigint() >> BigInt(TICK_SHIFT))
const seconds = (): number => Number(process.hrtime.bigint() / 1_000_000_000n)

/** Ages every entry: its last packet then came `passed` seconds ago. */
const ageBy = (passed: number): Promise<void> =>
  rewrite((word) => (word & ~BigInt(FLOW_SEEN)) | BigInt((tick() - Math.ceil(passed / 1.07)) & FLOW_SEEN))

test('counts flows with a packet in the last five minutes', async () => {
  plane.forget()
  await load([web(...THREE)])
  expect(await plane.count('flow_count')).toBe(0)
  await send(...Array.from({ length: 100 }, (_, i) => segment(1000 + i, SYN)))
  expect(await plane.count('flow_count')).toBe((await entries()).length)
  await ageBy(290)
  expect(await plane.count('flow_count')).toBe((await entries()).length)
  await ageBy(310)
  expect(await plane.count('flow_count')).toBe(0)
  await send(segment(1000, ACK))
  expect(await plane.count('flow_count')).toBe(1)
})

async function setHealth(shares: Readonly<Record<number, number>>, modes: Readonly<Record<number, number>> = {}) {
  const lines = new Map<number, Uint8Array>()
  const set = (line: number, at: number, value: number): void => {
    const bytes = lines.get(line) ?? new Uint8Array(LINE_SIZE)
    bytes[at] = value
    lines.set(line, bytes)
  }
  set(0, 0, 0)
  set(HEALTH_BACKEND_LINES, 0, 0)
  for (const [slot, share] of Object.entries(shares)) set(Math.floor(Number(slot) / 64), Number(slot) % 64, share)
  for (const [slot, mode] of Object.entries(modes)) set(HEALTH_BACKEND_LINES, Number(slot), mode)
  await plane.setValues('health', lines)
}

beforeEach(async () => {
  plane.forget()
  await setHealth({})
})

const PORTS = Array.from({ length: 60 }, (_, i) => 20000 + i * 7)
const others = (slot: number): number[] => ALL.filter((one) => one !== slot)

describe('a known flow', () => {
  test('stays on its backend when backends are added, removed or get other weights', async () => {
    await load([web(...THREE)])
    const before = await ask(...PORTS.map((port) => segment(port, SYN)))
    expect(new Set(before)).toEqual(new Set(ALL))
    await send(...PORTS.map((port) => segment(port, SYN)), ...PORTS.map((port) => segment(port, ACK)))
    expect((await entries()).every(isEstablished)).toBe(true)
    const edited = [...THREE.map((at, i) => backend(at, { weight: i === 0 ? 100 : 1 })), backend('10.0.0.14')]
    await load([web(...edited)])
    expect(await ask(...PORTS.map((port) => segment(port, ACK)))).toEqual(before)
    // A SYN, which strangers can send too, moves none; and the ring decides for a new connection from an old port.
    expect(await ask(...PORTS.map((port) => segment(port, SYN)))).toEqual(before)
    const known = (await entries()).map(({ word }) => word)
    await send(...PORTS.map((port) => segment(port, SYN)))
    expect((await entries()).map(({ word }) => word)).toEqual(known)
    expect(await ask(...PORTS.map((port) => segment(port, ACK)))).toEqual(before)
    await ageBy(FLOW_TIME_WAIT - 100)
    expect(await ask(...PORTS.map((port) => segment(port, SYN)))).toEqual(before)
    await ageBy(FLOW_TIME_WAIT + 5)
    const renewed = await ask(...PORTS.map((port) => segment(port, SYN)))
    expect(renewed).not.toEqual(before)
    await send(...PORTS.map((port) => segment(port, SYN)))
    expect(await ask(...PORTS.map((port) => segment(port, ACK)))).toEqual(renewed)
  })

  test('is moved by a SYN while it is not established, and counts as a new one by each', async () => {
    await load([web(...THREE)])
    await send(...PORTS.map((port) => segment(port, SYN)))
    await load([web(...THREE, '10.0.0.14')])
    const before = await ask(...PORTS.map((port) => segment(port, ACK)))
    expect(await ask(...PORTS.map((port) => segment(port, SYN)))).not.toEqual(before)
    await send(...PORTS.map((port) => segment(port, ACK)), ...PORTS.map((port) => segment(port, SYN)))
    expect(await plane.sums('service_stats', 0, serviceCounterCodec)).toMatchObject({
      flows: 2 * PORTS.length,
      hits: 2 * PORTS.length,
      misses: PORTS.length,
    })
  })

  test.each([
    ['stays where a backend drains', { state: 'drain' }, true],
    ['leaves a disabled backend', { state: 'disabled' }, false],
    ['leaves a backend without a next hop', { nextHop: undefined }, false],
  ] as const)('with a SYN on an established connection: %s', async (_, fields, stays) => {
    await load([web(...THREE)])
    await send(...PORTS.map((port) => segment(port, SYN)), ...PORTS.map((port) => segment(port, ACK)))
    const before = await ask(...PORTS.map((port) => segment(port, ACK)))
    await load([web(backend('10.0.0.11', fields), '10.0.0.12', '10.0.0.13')])
    const now = await ask(...PORTS.map((port) => segment(port, SYN)))
    for (const [i, slot] of now.entries()) {
      if (before[i] !== 0 || stays) expect(slot).toBe(before[i])
      else expect(others(0)).toContain(slot)
    }
  })

  test('leaves a backend that is down with a SYN too', async () => {
    await load([web(...THREE)])
    await send(...PORTS.map((port) => segment(port, SYN)), ...PORTS.map((port) => segment(port, ACK)))
    await setHealth({ 0: HEALTH_DOWN })
    expect(await ask(...PORTS.map((port) => segment(port, SYN)))).not.toContain(0)
  })

  test('stays on a draining backend until the deadline', async () => {
    await load([web(...THREE)])
    const before = await ask(...PORTS.map((port) => segment(port, ACK)))
    await send(...PORTS.map((port) => segment(port, SYN)))
    const drained = web(backend('10.0.0.11', { state: 'drain' }), '10.0.0.12', '10.0.0.13')
    const key = backendSlotKey('web', drained.backends[0] as Backend)
    for (const [deadline, stays] of [
      [undefined, true],
      [seconds() + 100, true],
      [seconds(), false],
    ] as const) {
      await load([drained], { deadlines: deadline === undefined ? new Map() : new Map([[key, deadline]]) })
      const now = await ask(...PORTS.map((port) => segment(port, ACK)))
      for (const [i, slot] of now.entries()) {
        if (before[i] !== 0 || stays) expect(slot).toBe(before[i])
        else expect(others(0)).toContain(slot)
      }
    }
    expect(await ask(...PORTS.map((port) => segment(port, SYN)))).not.toContain(0)
  })

  test('stays on a leaving backend until the deadline', async () => {
    const state = await load([web(...THREE)])
    const before = await ask(...PORTS.map((port) => segment(port, ACK)))
    await send(...PORTS.map((port) => segment(port, SYN)))
    const left = web('10.0.0.12', '10.0.0.13')
    const leaver = backend('10.0.0.11')
    const slots = slotsFor(state)
    await load([left], { slots, leaving: [{ service: 'web', backend: leaver, deadline: seconds() + 100 }] })
    expect(await ask(...PORTS.map((port) => segment(port, ACK)))).toEqual(before)
    expect(await ask(...PORTS.map((port) => segment(port, SYN)))).not.toContain(0)
    await load([left], { slots })
    expect(await ask(...PORTS.map((port) => segment(port, ACK)))).not.toContain(0)
  })

  test.each([
    ['disabled', { state: 'disabled' }],
    ['without a next hop', { nextHop: undefined }],
  ] as const)('leaves a backend that is %s', async (_, fields) => {
    await load([web(...THREE)])
    const before = await ask(...PORTS.map((port) => segment(port, ACK)))
    await send(...PORTS.map((port) => segment(port, SYN)))
    await load([web(backend('10.0.0.11', fields), '10.0.0.12', '10.0.0.13')])
    const now = await ask(...PORTS.map((port) => segment(port, ACK)))
    for (const [i, slot] of now.entries()) {
      if (before[i] === 0) expect(others(0)).toContain(slot)
      else expect(slot).toBe(before[i])
    }
  })

  test('stays until it was idle for the timeout (UDP)', async () => {
    await load([dns({ udpTimeout: 300 }, ...THREE)])
    const before = await ask(...PORTS.map((port) => datagram(port)))
    await send(...PORTS.map((port) => datagram(port)))
    await load([dns({ udpTimeout: 300 }, ...THREE, '10.0.0.14')])
    await ageBy(200)
    expect(await ask(...PORTS.map((port) => datagram(port)))).toEqual(before)
    await ageBy(400)
    expect(await ask(...PORTS.map((port) => datagram(port)))).not.toEqual(before)
  })

  inDepth('stays however long it was idle (TCP)', async () => {
    await load([web(...THREE)])
    const before = await ask(...PORTS.map((port) => segment(port, ACK)))
    await send(...PORTS.map((port) => segment(port, SYN)))
    await load([web(...THREE, '10.0.0.14')])
    await ageBy(8000)
    expect(await ask(...PORTS.map((port) => segment(port, ACK)))).toEqual(before)
  })

  test('stays, though another service hashes by source too', async () => {
    const both = [dns({ hash: 'source' }, '10.0.0.11'), { ...web('10.0.0.21'), hash: 'source' as const }]
    await load(both)
    await send(datagram(1000), segment(1000, SYN))
    expect(new Set((await entries()).map(backendIn))).toEqual(new Set(ALL.slice(0, 2)))
    expect(await ask(datagram(2000), segment(2000, ACK))).toEqual([0, 1])
  })
})

describe('the flow table', () => {
  test('has one entry per flow, rewritten only if it changes', async () => {
    await load([web(...THREE)])
    await send(segment(5000, SYN), segment(5000, SYN), segment(5000, ACK), segment(5000, ACK))
    expect(await entries()).toHaveLength(1)
  })

  test('makes no entry for a FIN or RST of an unknown flow', async () => {
    await load([web(...THREE)])
    await send(segment(5000, RST), segment(5001, FIN | ACK))
    expect(await entries()).toEqual([])
    await send(segment(5002, ACK))
    expect(await entries()).toHaveLength(1)
  })

  test('makes no entry for test runs', async () => {
    await load([web(...THREE)])
    await plane.run([{ frame: segment(5000, SYN) }], 'filter')
    await ask(segment(5000, SYN))
    expect(await entries()).toEqual([])
  })

  inDepth('evicts an entry with a single packet before an established one from a full bucket', async () => {
    await load([web(...THREE)])
    const flood = Array.from({ length: 4000 }, (_, i) => segment(1024 + i, SYN))
    await send(...flood)
    expect(await entries()).toHaveLength(FLOWS)
    const held = (await entries()).slice(0, 8)
    // A full bucket: four are established, one of them idle for long; the others are old.
    await rewrite((word) => {
      const place = held.findIndex((entry) => entry.word === word)
      const seen = BigInt((tick() - (place === 0 ? 900 : 500)) & FLOW_SEEN)
      return (
        (word & ~BigInt(FLOW_SEEN | FLOW_ESTABLISHED)) |
        seen |
        (place >= 0 && place < 4 ? BigInt(FLOW_ESTABLISHED) : 0n)
      )
    })
    const kept = async (): Promise<number[]> => {
      const tags = new Set((await entries()).map(({ word }) => word >> 32n))
      return held.flatMap(({ word }, i) => (tags.has(word >> 32n) ? [i] : []))
    }
    await send(...Array.from({ length: 300 }, (_, i) => segment(30000 + i, SYN)))
    const rest = await kept()
    expect([0, 1, 2, 3].every((i) => rest.includes(i))).toBe(true)
    expect(rest.length).toBeLessThan(held.length)
  })

  test('makes no more entries per tick than a CPU may; the ring decides for the others', async () => {
    await load([web(...THREE)])
    const spent = new Uint8Array(flowBudgetCodec.size)
    flowBudgetCodec.encode({ tick: BigInt(tick()), flows: 2 ** 31, errors: 0 }, new DataView(spent.buffer))
    const budget = new DataView(spent.buffer)
    // If the tick ends meanwhile, all budgets are reset and must be spent again.
    for (let attempt = 0; attempt < 20; attempt++) {
      budget.setBigUint64(0, BigInt(tick()), true)
      await plane.setValue('flow_budget', 0, spent)
      await send(segment(6000 + attempt, SYN))
      if ((await plane.sums('service_stats', 0, serviceCounterCodec)).limited > 0) break
    }
    const counters = await plane.sums('service_stats', 0, serviceCounterCodec)
    expect(counters.limited).toBe(1)
    expect(counters.packets).toBe(counters.flows)
    expect(await entries()).toHaveLength(counters.flows - 1)
  })

  test('under a flood of SYNs a flow is remembered at its first acknowledgment, on the backend of its SYN', async () => {
    await load([web(...THREE)])
    const spent = new Uint8Array(flowBudgetCodec.size)
    const limited = async (): Promise<number> => (await plane.sums('service_stats', 0, serviceCounterCodec)).limited
    for (let attempt = 0; attempt < 20; attempt++) {
      const [from, before] = [7000 + attempt, await limited()]
      const known = (await entries()).length
      flowBudgetCodec.encode({ tick: BigInt(tick()), flows: HALF, errors: 0 }, new DataView(spent.buffer))
      await plane.setValue('flow_budget', 0, spent)
      const [first] = await ask(segment(from, SYN))
      await send(segment(from, SYN))
      if ((await limited()) === before) continue
      expect(await entries()).toHaveLength(known)
      await send(segment(from, ACK))
      expect(await entries()).toHaveLength(known + 1)
      expect(await ask(segment(from, ACK))).toEqual([first])
      return
    }
    expect.unreachable('every tick ended meanwhile')
  })
})

describe('health', () => {
  test('a backend that goes down moves only its own flows, and its return restores them', async () => {
    await load([web(...THREE)])
    const syns = PORTS.map((port) => segment(port, SYN))
    const before = await ask(...syns)
    await setHealth({ 1: HEALTH_DOWN })
    const now = await ask(...syns)
    for (const [i, slot] of now.entries()) expect(before[i] === 1 ? others(1) : [before[i]]).toContain(slot)
    await setHealth({})
    expect(await ask(...syns)).toEqual(before)
  })

  test('a backend that is down takes no new flow, whatever the hash', async () => {
    await load([web(backend('10.0.0.11'), backend('10.0.0.12'))])
    await setHealth({ 0: HEALTH_DOWN })
    const syns = Array.from({ length: 2000 }, (_, i) => segment(10000 + i, SYN))
    expect(new Set(await ask(...syns))).toEqual(new Set([1]))
  })

  test('a flow leaves a backend that is down', async () => {
    await load([web(...THREE)])
    const acks = PORTS.map((port) => segment(port, ACK))
    await send(...PORTS.map((port) => segment(port, SYN)))
    await setHealth({ 1: HEALTH_DOWN })
    expect(await ask(...acks)).not.toContain(1)
  })

  test('slow start: the share grows, and every accepted flow stays', async () => {
    await load([web(...THREE)])
    const syns = Array.from({ length: 300 }, (_, i) => segment(10000 + i, SYN))
    const whole = await ask(...syns)
    const own = whole.flatMap((slot, i) => (slot === 1 ? [i] : []))
    let taken: number[] = []
    for (const refused of [250, 200, 128, 60, 0]) {
      await setHealth({ 1: refused })
      const now = await ask(...syns)
      const takes = own.filter((i) => now[i] === 1)
      expect(taken.every((i) => takes.includes(i))).toBe(true)
      expect(Math.abs(takes.length / own.length - (256 - refused) / 256)).toBeLessThan(0.15)
      expect(now.filter((slot, i) => whole[i] !== 1 && slot !== whole[i])).toEqual([])
      taken = takes
    }
    expect(taken).toEqual(own)
  })

  test('a backend in slow start takes all flows if no other backend is healthy', async () => {
    await load([web(...THREE)])
    await setHealth({ 0: HEALTH_DOWN, 1: 254, 2: HEALTH_DOWN })
    expect(new Set(await ask(...PORTS.map((port) => segment(port, SYN))))).toEqual(new Set([1]))
  })

  test('finds the last healthy backend, however small its weight', async () => {
    await load([web(backend('10.0.0.11', { weight: 65535 }), backend('10.0.0.12', { weight: 1 }))])
    await setHealth({ 0: HEALTH_DOWN })
    expect(new Set(await ask(...PORTS.map((port) => segment(port, SYN))))).toEqual(new Set([1]))
    await setHealth({ 0: HEALTH_DOWN, 1: HEALTH_DOWN })
    expect(await reasons(segment(1, SYN))).toEqual(['no-backend'])
  })

  test('modes of a service: empty, fallback drop, fallback to the sorry backend', async () => {
    const sorry = backend('10.0.0.99')
    const whole = web(...THREE)
    await load([{ ...whole, sorry, onEmpty: 'pass' }])
    const [syn] = [segment(7000, SYN)]
    for (const [mode, expected] of [
      [SERVICE_HEALTH.WELL, ['balanced-away']],
      [SERVICE_HEALTH.EMPTY, ['balanced-away']],
      [SERVICE_HEALTH.FALLBACK_SORRY, ['balanced-away']],
      [SERVICE_HEALTH.FALLBACK_DROP, ['no-backend']],
    ] as const) {
      await setHealth({}, { 0: mode })
      expect(await reasons(syn)).toEqual(expected)
    }
    await setHealth({}, { 0: SERVICE_HEALTH.FALLBACK_SORRY })
    expect(await ask(syn)).toEqual([3])
    await setHealth({ 3: HEALTH_DOWN }, { 0: SERVICE_HEALTH.FALLBACK_SORRY })
    expect(await reasons(syn)).toEqual(['no-backend-pass'])
    // Known flows continue without a sorry backend.
    await setHealth({})
    await load([whole])
    await send(segment(7001, SYN))
    await setHealth({}, { 0: SERVICE_HEALTH.FALLBACK_DROP })
    expect(await reasons(segment(7001, ACK), segment(7002, ACK))).toEqual(['balanced-away', 'no-backend'])
    await setHealth({}, { 0: SERVICE_HEALTH.EMPTY })
    expect(await reasons(segment(7002, ACK))).toEqual(['no-backend'])
  })
})

describe('backups', () => {
  const spare = (text: string, fields: Partial<Backend> = {}): Backend => backend(text, { backup: true, ...fields })
  const five = () => web(...THREE, spare('10.0.0.14', { weight: 3 }), spare('10.0.0.15'))
  const [FOURTH, FIFTH] = [3, 4]
  const dead = { 0: HEALTH_DOWN, 1: HEALTH_DOWN, 2: HEALTH_DOWN }

  test('take no flow while another backend is healthy, and all flows by their weights when none is', async () => {
    await load([five()])
    const syns = Array.from({ length: 400 }, (_, i) => segment(10000 + i, SYN))
    const before = await ask(...syns)
    expect(new Set(before)).toEqual(new Set(ALL))
    await setHealth({ 0: HEALTH_DOWN, 2: HEALTH_DOWN })
    expect(new Set(await ask(...syns))).toEqual(new Set([1]))
    await setHealth(dead)
    const now = await ask(...syns)
    expect(new Set(now)).toEqual(new Set([FOURTH, FIFTH]))
    expect(Math.abs(now.filter((slot) => slot === FOURTH).length / now.length - 0.75)).toBeLessThan(0.08)
    await setHealth({ ...dead, [FOURTH]: HEALTH_DOWN })
    expect(new Set(await ask(...syns))).toEqual(new Set([FIFTH]))
    await setHealth({})
    expect(await ask(...syns)).toEqual(before)
  })

  test('take new flows at once in the mode of the fallback, though some backends are healthy', async () => {
    await load([five()])
    const syns = PORTS.map((port) => segment(port, SYN))
    await setHealth({}, { 0: SERVICE_HEALTH.FALLBACK_BACKUP })
    expect(new Set(await ask(...syns))).toEqual(new Set([FOURTH, FIFTH]))
    await setHealth({ [FOURTH]: HEALTH_DOWN, [FIFTH]: HEALTH_DOWN }, { 0: SERVICE_HEALTH.FALLBACK_BACKUP })
    expect(await reasons(segment(1, SYN))).toEqual(['no-backend'])
  })

  test('keep their flows when the others return; new flows go to the others', async () => {
    await load([five()])
    await setHealth(dead)
    const syns = PORTS.map((port) => segment(port, SYN))
    const acks = PORTS.map((port) => segment(port, ACK))
    await send(...syns)
    const kept = await ask(...acks)
    expect(new Set(kept)).toEqual(new Set([FOURTH, FIFTH]))
    await setHealth({})
    expect(await ask(...acks)).toEqual(kept)
    expect(new Set(await ask(...syns))).toEqual(new Set(ALL))
  })

  test('a backend that becomes a backup keeps its flows and takes no new ones', async () => {
    await load([web(...THREE)])
    await send(...PORTS.map((port) => segment(port, SYN)))
    const acks = PORTS.map((port) => segment(port, ACK))
    const before = await ask(...acks)
    await load([web(backend('10.0.0.11'), spare('10.0.0.12'), backend('10.0.0.13'))])
    expect(await ask(...acks)).toEqual(before)
    expect(await ask(...PORTS.map((port) => segment(port + 1, SYN)))).not.toContain(1)
  })
})

describe('several ports', () => {
  const both = (source: string, protocol: 'tcp' | 'udp', destination: number, flags = SYN): Uint8Array => {
    const port = 20000 + destination
    const header = protocol === 'tcp' ? tcp({ source: port, destination, flags }) : udp({ source: port, destination })
    return seal(packet(ethernet(), ipv4({ source, destination: '192.0.2.10' }), header, raw(4)))
  }
  const clients = Array.from({ length: 40 }, (_, i) => `198.51.100.${i + 1}`)
  const site = (...backends: readonly string[]): Service =>
    service('site', '192.0.2.10 80,443,8000-8099', { backends, protocols: ['tcp', 'udp'], hash: 'source' })
  const kinds = [
    ['tcp', 80],
    ['tcp', 443],
    ['udp', 443],
    ['tcp', 8050],
  ] as const

  test('hash: source sends all ports and protocols of a client to one backend, also after an edit', async () => {
    await load([site(...THREE)])
    const asked = await Promise.all(
      kinds.map(([protocol, port]) => ask(...clients.map((client) => both(client, protocol, port)))),
    )
    expect(new Set(asked[0])).toEqual(new Set(ALL))
    for (const one of asked) expect(one).toEqual(asked[0])
    await send(...clients.map((client) => both(client, 'tcp', 80)))
    await load([site(...THREE, '10.0.0.14', '10.0.0.15', '10.0.0.16')])
    const known = await ask(...clients.map((client) => both(client, 'tcp', 80, ACK)))
    expect(known).toEqual(asked[0])
    for (const [protocol, port] of [
      ['udp', 443],
      ['tcp', 8050],
    ] as const)
      expect(await ask(...clients.map((client) => both(client, protocol, port, ACK)))).toEqual(known)
  })

  test('counts all of them as one service, and takes no other port', async () => {
    await load([site(...THREE)])
    await send(
      ...kinds.map(([protocol, port]) => both('198.51.100.7', protocol, port)),
      both('198.51.100.7', 'tcp', 81),
    )
    expect(await plane.sums('service_stats', 0, serviceCounterCodec)).toMatchObject({ packets: 4 })
  })
})

test.each([
  ['a reset', () => ({ ...web(), onEmpty: 'reject' as const }), segment(3000, SYN)],
  ['port unreachable', () => dns({ onEmpty: 'reject' }), datagram(3000)],
])('answers no packet with %s once a CPU has sent as many errors as it may in a tick', async (_, service, frame) => {
  await load([service()])
  await plane.attachTestRuns(SLOT)
  const verdict = async (): Promise<unknown> => (await plane.run([{ frame }], 'filter'))[0]?.verdict
  const budget = new Uint8Array(flowBudgetCodec.size)
  const spend = (errors: number): Promise<void> => {
    flowBudgetCodec.encode({ tick: BigInt(tick()), flows: 0, errors }, new DataView(budget.buffer))
    return plane.setValue('flow_budget', 0, budget)
  }
  // Another case may have spent it in this tick.
  await spend(0)
  expect(await verdict()).toBe('tx')
  let found: unknown
  // If the tick ends meanwhile, the budget is reset and must be spent again.
  for (let attempt = 1; attempt < 20 && found !== 'drop'; attempt++) {
    await spend(ERROR_LIMIT)
    found = await verdict()
  }
  // Later cases in this tick send errors too.
  await spend(0)
  await plane.attachTestRuns(0)
  expect(found).toBe('drop')
  const counters = await plane.sums('service_stats', 0, serviceCounterCodec)
  expect(counters).toMatchObject({ packets: 0, flows: 0, too_big: 0 })
  expect(counters.empty).toBeGreaterThanOrEqual(2)
  // Nothing is limited in test runs.
  expect(await verdict()).toBe('tx')
})

describe('counters', () => {
  test('count packets, bytes and flows by service and backend; hits and misses add up to all packets', async () => {
    await load([web(...THREE), dns({}, '10.0.0.21')])
    const frames = [segment(1, SYN), segment(1, ACK), segment(1, ACK), segment(2, ACK), segment(2, FIN | ACK)]
    await send(...frames, datagram(1), datagram(1), datagram(2))
    const size = (segment(1, SYN) as Uint8Array).length
    const [own, other] = [
      await plane.sums('service_stats', 1, serviceCounterCodec),
      await plane.sums('service_stats', 0, serviceCounterCodec),
    ]
    expect(own).toMatchObject({ packets: 5, bytes: 5 * size, flows: 1, hits: 3, misses: 2, empty: 0, limited: 0 })
    expect(other).toMatchObject({ packets: 3, flows: 2, hits: 1, misses: 2 })
    const slots = slotsFor(balancing([web(...THREE), dns({}, '10.0.0.21')])).backends
    const counts = await Promise.all(
      [...slots.values()].map((slot) => plane.sums('backend_stats', slot, backendCounterCodec)),
    )
    expect(counts.reduce((sum, { packets }) => sum + packets, 0)).toBe(8)
    expect(counts.reduce((sum, { flows }) => sum + flows, 0)).toBe(3)
  })

  test('count packets without a backend, skipped backends, and oversized packets', async () => {
    const lost = backend('10.0.0.11', { nextHop: undefined })
    await load([web(lost, '10.0.0.12'), dns({}, lost)])
    await send(...PORTS.map((port) => segment(port, SYN)), datagram(1))
    const long = seal(
      packet(
        ethernet(),
        ipv4({ destination: '192.0.2.10', dontFragment: true }),
        tcp({ source: 1, destination: 80 }),
        raw(1600),
      ),
    )
    await send(long)
    const counters = await plane.sums('service_stats', 1, serviceCounterCodec)
    expect(counters.packets).toBe(PORTS.length)
    expect(counters.unresolved).toBeGreaterThan(10)
    expect(counters.unresolved).toBeLessThan(PORTS.length)
    expect(counters.too_big).toBe(1)
    expect(await plane.sums('service_stats', 0, serviceCounterCodec)).toMatchObject({
      packets: 0,
      empty: 1,
      unresolved: 1,
    })
  })

  test('ignore test runs', async () => {
    await load([web(...THREE)])
    await ask(segment(1, SYN))
    await plane.run([{ frame: segment(1, SYN) }], 'filter')
    expect(await plane.sums('service_stats', 0, serviceCounterCodec)).toMatchObject({ packets: 0, misses: 0 })
  })
})

test('scheduler random spreads new flows, and known ones stay', async () => {
  await load([{ ...web(...THREE), scheduler: 'random' }])
  await send(...Array.from({ length: 60 }, (_, i) => segment(3000 + i, SYN)))
  const found = await entries()
  expect(new Set(found.map(backendIn))).toEqual(new Set(ALL))
  const first = await ask(...PORTS.map((port) => segment(port, ACK)))
  expect(await ask(...PORTS.map((port) => segment(port, ACK)))).toEqual(first)
})

describe('the place of a flow', () => {
  const VIP = address('192.0.2.10')
  /** Flows to the web service whose hash without a key has equal low 32 bits: in earlier tables they met in one bucket. */
  function meeting(count: number): number[] {
    const low = (source: number): number =>
      Number(
        flowHash(
          {
            source: { family: 4, words: Uint32Array.of(source) },
            sourcePort: 4000,
            destination: VIP,
            destinationPort: 80,
            protocol: 6,
          },
          'five_tuple',
        ) & BigInt(FLOWS / FLOWS_A_LINE - 1),
      )
    const found: number[] = []
    for (let source = 0x0a000000; found.length < count; source++) if (low(source) === 0) found.push(source)
    return found
  }
  const dotted = (source: number): string => [24, 16, 8, 0].map((shift) => (source >>> shift) & 255).join('.')
  const from = (source: number): Uint8Array =>
    seal(
      packet(
        ethernet(),
        ipv4({ source: dotted(source), destination: '192.0.2.10' }),
        tcp({ source: 4000, destination: 80, flags: SYN }),
        raw(4),
      ),
    )

  test('is by the keys of the instance alone: flows chosen to meet spread over the table', async () => {
    await load([web(...THREE)])
    const chosen = meeting(48)
    await send(...chosen.map(from))
    const lines = new Set((await entries()).map(({ line }) => line))
    // 48 flows in 128 buckets leave 88 of them empty on average; fewer than 20 used ones have a chance below 1 in 10^9.
    expect(lines.size).toBeGreaterThan(20)
    expect(new Set(chosen.map((source) => Number(placeOfSource(source) & 127n)))).toEqual(lines)
  })

  const placeOfSource = (source: number): bigint =>
    placeOf({
      source: { family: 4, words: Uint32Array.of(source) },
      sourcePort: 4000,
      destination: VIP,
      destinationPort: 80,
      protocol: 6,
    })

  test('is another one under other keys', async () => {
    const linesWith = async (keys: FlowKeys): Promise<string> => {
      plane.forget()
      await load([web(...THREE)])
      await plane.setFlowKeys(keys)
      await send(...Array.from({ length: 8 }, (_, i) => from(0x0a000001 + i)))
      return (await entries()).map(({ line, word }) => `${line} ${word >> 32n}`).join()
    }
    const first = await linesWith(FLOW_KEYS)
    expect(await linesWith(FLOW_KEYS)).toBe(first)
    expect(await linesWith({ ...FLOW_KEYS, source_low: FLOW_KEYS.source_low + 1n })).not.toBe(first)
  })
})

describe('the choice of a backend', () => {
  const KEY = '000102030405060708090a0b0c0d0e0f'
  const choices = async (key: string): Promise<number[]> => {
    plane.forget()
    const state = balancing([web(...THREE)], { policy: { flows: FLOWS, hash_key: key } })
    await plane.load(imageBytes(compileImage({ state, slots: slotsFor(state), meta: META })))
    await plane.setFlowKeys({ ...FLOW_KEYS, scope: BigInt(Date.now()) })
    return ask(...PORTS.map((port) => segment(port, SYN)))
  }

  test('is by the key of the config, on every instance alike, and not by the instance', async () => {
    const [keyed, plain] = [await choices(KEY), await choices('')]
    expect(await choices(KEY)).toEqual(keyed)
    expect(await choices('')).toEqual(plain)
    expect(keyed).not.toEqual(plain)
    expect(await choices(KEY.replace('00', '01'))).not.toEqual(keyed)
  })

  test('by another key leaves known flows alone', async () => {
    await load([web(...THREE)])
    const before = await ask(...PORTS.map((port) => segment(port, ACK)))
    await send(...PORTS.map((port) => segment(port, SYN)), ...PORTS.map((port) => segment(port, ACK)))
    const state = balancing([web(...THREE)], { policy: { flows: FLOWS, hash_key: KEY } })
    await plane.load(imageBytes(compileImage({ state, slots: slotsFor(state), meta: META })))
    expect(await ask(...PORTS.map((port) => segment(port, ACK)))).toEqual(before)
  })
})
