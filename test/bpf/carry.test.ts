// Counters and ports are copied to larger maps unchanged, and read back summed over the CPUs.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { anything } from '../../src/abi/answer.ts'
import { bpftool, hexBytes, keyBytes } from '../../src/abi/command.ts'
import {
  backendCounterCodec,
  SNAT_PORTS,
  type SnatPort,
  serviceCounterCodec,
  snatPortCodec,
} from '../../src/abi/generated.ts'
import { arrayMap, MMAPABLE, mapWords, type Paths, perCpuMap, pinPaths } from '../../src/abi/paths.ts'
import { BALANCER_MAPS } from '../../src/features/balancer.ts'
import type { Carrying } from '../../src/features/step.ts'
import { carry, loadCarry } from '../../src/kernel/execute/carry.ts'
import { readBalanceCounters } from '../../src/kernel/live/service-counters.ts'
import { askBpftool, runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { possibleCpus } from '../../src/kernel/tools/cpus.ts'
import { loadObject } from '../../src/kernel/tools/object.ts'
import { removePins } from '../../src/kernel/tools/pins.ts'

const mapsOf = (services: number, backends: number, pools: number) => ({
  serviceStats: perCpuMap('service_stats', serviceCounterCodec.size, services),
  backendStats: perCpuMap('backend_stats', backendCounterCodec.size, backends),
  snatPorts: arrayMap('snat_ports', snatPortCodec.size, pools * 2 * SNAT_PORTS, MMAPABLE),
})
const SMALL = mapsOf(64, 64, 1)
const LARGE = mapsOf(128, 1024, 2)
type Map = 'serviceStats' | 'backendStats' | 'snatPorts'
const MAPS: readonly Map[] = ['serviceStats', 'backendStats', 'snatPorts']

let directory: string
let paths: Paths
const cpus = (await possibleCpus()).reduce((sum, { count }) => sum + count, 0)

beforeAll(async () => {
  directory = mkdtempSync('/dev/shm/xdp-carry-')
  mkdirSync(join(directory, 'bpffs'))
  execFileSync('mount', ['-t', 'bpf', 'bpf', join(directory, 'bpffs')])
  paths = pinPaths(join(directory, 'bpffs'), 'x')
  for (const generation of [1, 2]) mkdirSync(paths.generation(generation), { recursive: true })
  await runBatch(
    MAPS.flatMap((map) => [
      bpftool('map', 'create', paths.ownMap(1, { name: BALANCER_MAPS[map] }), ...mapWords(SMALL[map])),
      bpftool('map', 'create', paths.ownMap(2, { name: BALANCER_MAPS[map] }), ...mapWords(LARGE[map])),
    ]),
  )
})
afterAll(() => {
  execFileSync('umount', [join(directory, 'bpffs')])
  rmSync(directory, { recursive: true })
})

const update = (pin: string, key: number, value: Uint8Array) =>
  bpftool('map', 'update', 'pinned', pin, 'key', ...keyBytes(key), 'value', 'hex', ...hexBytes(value))

/** Counts of one service: `base`, `base + 1` … in the order of its fields. */
function serviceCounts(base: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(serviceCounterCodec.size))
  for (let at = 0; at < serviceCounterCodec.size; at += 8) view.setBigUint64(at, base + BigInt(at / 8), true)
  return new Uint8Array(view.buffer)
}

const backendCounts = (base: bigint): Uint8Array => serviceCounts(base).slice(0, 24)

const PORT: SnatPort = {
  fraction: 0,
  asked: 0,
  answered: 0,
  owner: 0x123456789abcdef0n,
  seen: 77,
  ready: 1,
  client: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
  client_port: 0x5000,
  backend: 9,
  ifindex: 3,
  macs: Uint8Array.of(2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2),
  vlan: 100,
  state: 2,
}

function port(fields: Partial<SnatPort> = {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(snatPortCodec.size))
  snatPortCodec.encode({ ...PORT, ...fields }, view)
  return new Uint8Array(view.buffer)
}

async function readPort(generation: number, line: number): Promise<SnatPort> {
  const pin = paths.ownMap(generation, { name: BALANCER_MAPS.snatPorts })
  const { value } = (await askBpftool(anything, 'map', 'lookup', 'pinned', pin, 'key', ...keyBytes(line))) as {
    value: string[]
  }
  return snatPortCodec.decode(new DataView(Uint8Array.from(value, Number).buffer))
}

const LAST_LINE = 2 * 65_536 - 1

test('carries counters and ports to the new maps, and nothing else', async () => {
  await runBatch([
    // A single value is written for every CPU.
    update(paths.ownMap(1, { name: BALANCER_MAPS.serviceStats }), 0, serviceCounts(1000n)),
    update(paths.ownMap(1, { name: BALANCER_MAPS.serviceStats }), 63, serviceCounts(2n ** 40n)),
    update(paths.ownMap(1, { name: BALANCER_MAPS.serviceStats }), 5, serviceCounts(7n)),
    update(paths.ownMap(1, { name: BALANCER_MAPS.backendStats }), 63, backendCounts(500n)),
    // Counts of the new generation stay.
    update(paths.ownMap(2, { name: BALANCER_MAPS.backendStats }), 63, backendCounts(10n)),
    update(paths.ownMap(1, { name: BALANCER_MAPS.snatPorts }), 1024, port()),
    update(paths.ownMap(1, { name: BALANCER_MAPS.snatPorts }), LAST_LINE, port({ client_port: 0x1234 })),
    update(paths.ownMap(1, { name: BALANCER_MAPS.snatPorts }), 2000, port({ ready: 0 })),
    update(paths.ownMap(1, { name: BALANCER_MAPS.snatPorts }), 3000, port()),
    update(paths.ownMap(2, { name: BALANCER_MAPS.snatPorts }), 3000, port({ owner: 5n, seen: 1 })),
  ])
  const carrying: readonly Carrying[] = MAPS.map((map): Carrying => {
    const both = {
      from: paths.ownMap(1, { name: BALANCER_MAPS[map] }),
      to: paths.ownMap(2, { name: BALANCER_MAPS[map] }),
    }
    return map === 'snatPorts'
      ? { map, ...both, ranges: [{ first: 0, count: 2 * 65_536 }] }
      : { map, ...both, slots: [0, 63] }
  })
  const { objects, carryPath } = await loadObject()
  await loadCarry(carryPath, paths.carry(2), carrying)
  await carry(
    paths.carry(2),
    carrying.filter(({ map }) => map === 'snatPorts'),
  )
  expect(await readPort(2, 1024)).toEqual(PORT)
  expect(await readPort(2, LAST_LINE)).toEqual({ ...PORT, client_port: 0x1234 })
  expect(await readPort(2, 2000), 'a line whose owner has not written it yet').toMatchObject({ owner: 0n, ready: 0 })
  expect(await readPort(2, 3000), 'a port with another owner in the new map').toMatchObject({ owner: 5n, seen: 1 })

  // Taken between the first copy and the switch.
  await runBatch([update(paths.ownMap(1, { name: BALANCER_MAPS.snatPorts }), 4000, port({ seen: 99 }))])
  await carry(paths.carry(2), carrying)
  await removePins(paths.carry(2))
  expect(await readPort(2, 4000)).toEqual({ ...PORT, seen: 99 })

  const names = ['serviceStats', 'backendStats'] as const
  await runBpftool(
    ...['prog', 'loadall', objects[0]?.path as string, paths.programs(2)],
    ...names.flatMap((map) => [
      'map',
      'name',
      LARGE[map].name,
      'pinned',
      paths.ownMap(2, { name: BALANCER_MAPS[map] }),
    ]),
  )
  const { services, backends } = await readBalanceCounters(paths, 2, [63, 0, 5], [0, 63])
  expect(services.get(0)).toMatchObject({ packets: 1000 * cpus, bytes: 1001 * cpus, icmp: 1011 * cpus })
  expect(services.get(63)).toMatchObject({ packets: 2 ** 40 * cpus })
  expect(services.get(5), 'a slot outside the request').toMatchObject({ packets: 0, icmp: 0 })
  expect(backends.get(63)).toEqual({ packets: 510 * cpus, bytes: 512 * cpus, flows: 514 * cpus })
  expect(backends.get(0)).toEqual({ packets: 0, bytes: 0, flows: 0 })
})

test('more slots than one run takes are read in several', async () => {
  const slots = Array.from({ length: 700 }, (_, i) => i)
  await runBatch(
    slots.map((slot) =>
      update(paths.ownMap(2, { name: BALANCER_MAPS.backendStats }), slot, backendCounts(BigInt(slot))),
    ),
  )
  const { backends } = await readBalanceCounters(paths, 2, [], slots)
  for (const slot of slots) expect(backends.get(slot)?.packets).toBe(slot * cpus)
})

test('refuses a slot outside the map', async () => {
  await expect(readBalanceCounters(paths, 2, [128], [])).rejects.toThrow('E108')
  const { carryPath } = await loadObject()
  const both = {
    from: paths.ownMap(1, { name: BALANCER_MAPS.backendStats }),
    to: paths.ownMap(2, { name: BALANCER_MAPS.backendStats }),
  }
  const carrying: readonly Carrying[] = [{ map: 'backendStats', ...both, slots: [64] }]
  await loadCarry(carryPath, paths.carry(2), carrying)
  await expect(carry(paths.carry(2), carrying)).rejects.toThrow('E108')
})

test('raises buckets of rate limits to what has passed in either map', async () => {
  const pins = ['rates-1', 'rates-2'].map((name) => join(directory, 'bpffs', name)) as [string, string]
  const line = (...values: readonly bigint[]): Uint8Array =>
    new Uint8Array(BigUint64Array.from({ length: 8 }, (_, i) => values[i] ?? 0n).buffer)
  const [few, many] = [8192 + 8, 4 * 8192 + 8]
  await runBatch([
    bpftool('map', 'create', pins[0], ...mapWords(arrayMap('rate_buckets', 64, few, MMAPABLE))),
    bpftool('map', 'create', pins[1], ...mapWords(arrayMap('rate_buckets', 64, many, MMAPABLE))),
    update(pins[0], 0, line(2n ** 60n, 7n, 0n, 5n)),
    update(pins[1], 0, line(3n, 8n, 2n, 5n)),
    update(pins[0], 8199, line(1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n)),
    update(pins[1], 8200, line(9n)),
  ])
  const carrying: readonly Carrying[] = [
    { map: 'rateBuckets', from: pins[0], to: pins[1], ranges: [{ first: 0, count: few }] },
  ]
  mkdirSync(paths.generation(3), { recursive: true })
  await loadCarry((await loadObject()).carryPath, paths.carry(3), carrying)
  await carry(paths.carry(3), carrying)
  await removePins(paths.carry(3))
  const read = async (key: number): Promise<bigint[]> => {
    const { value } = (await askBpftool(anything, 'map', 'lookup', 'pinned', pins[1], 'key', ...keyBytes(key))) as {
      value: string[]
    }
    return [...new BigUint64Array(Uint8Array.from(value, Number).buffer)]
  }
  expect(await read(0)).toEqual([2n ** 60n, 8n, 2n, 5n, 0n, 0n, 0n, 0n])
  expect(await read(8199)).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n])
  expect((await read(8200))[0]).toBe(9n)
  const clearing: readonly Carrying[] = [
    { map: 'freedBuckets', from: pins[1], to: pins[1], ranges: [{ first: 1, count: 8199 }] },
  ]
  await loadCarry((await loadObject()).carryPath, paths.carry(3), clearing)
  await carry(paths.carry(3), clearing)
  await removePins(paths.carry(3))
  expect(await read(0)).toEqual([2n ** 60n, 8n, 2n, 5n, 0n, 0n, 0n, 0n])
  expect(await read(8199)).toEqual(Array(8).fill(0n))
  expect((await read(8200))[0]).toBe(9n)
})
