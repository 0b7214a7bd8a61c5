// The health map in the loaded program: writes change exactly the requested bytes, even with concurrent writers, and a
// superseded generation can no longer write.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { HEALTH_OP, HEALTH_RECORDS, HEALTH_SERVICES, SERVICE_SLOTS } from '../../src/abi/generated.ts'
import { backendByte, decodeOverlay, encodeOverlay, type HealthBytes, serviceByte } from '../../src/abi/health.ts'
import { HEALTH } from '../../src/features/health.ts'
import { claimHealth, encodeHealth, readHealth, writeHealth } from '../../src/kernel/live/health.ts'
import { DataPlane, imageOf } from '../support/bpf.ts'
import { healthPaths, runHealth } from '../support/health.ts'
import { policy } from '../support/lists.ts'

const NUMBERS = HEALTH_SERVICES + SERVICE_SLOTS
const everyByte = Array.from({ length: NUMBERS }, (_, number) => number)

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
  await plane.loadState(policy('pass'))
})
afterAll(() => plane.close())
beforeEach(async () => {
  await writeHealth(healthPaths(plane), 1, new Map([...(await written()).keys()].map((number) => [number, 0])))
})

/** All bytes that are not zero. */
async function written(): Promise<HealthBytes> {
  const bytes = await readHealth(healthPaths(plane), everyByte)
  return new Map([...bytes].filter(([, value]) => value !== 0))
}

test('stores single bytes: the first, the last, neighbours in a line, of both kinds', async () => {
  const paths = healthPaths(plane)
  expect(await written()).toEqual(new Map())
  const first: HealthBytes = new Map([
    [backendByte(0), 255],
    [backendByte(1), 7],
    [backendByte(63), 63],
    [backendByte(64), 64],
    [backendByte(65535), 254],
    [serviceByte(0), 1],
    [serviceByte(SERVICE_SLOTS - 1), 3],
  ])
  expect(await writeHealth(paths, 1, first)).toBe('written')
  expect(await written()).toEqual(first)
  expect(await writeHealth(paths, 1, new Map([[backendByte(1), 0]]))).toBe('written')
  expect(await written()).toEqual(new Map([...first].filter(([number]) => number !== 1)))
})

test('stores every slot in one run, and with concurrent writers on every line', async () => {
  const paths = healthPaths(plane)
  const all = new Map(everyByte.map((number) => [number, 1 + (number % 255)]))
  expect(all.size).toBeGreaterThan(HEALTH_RECORDS)
  expect(await writeHealth(paths, 1, all)).toBe('written')
  expect(await written()).toEqual(all)
  const writers = [0, 1, 2, 3].map(
    (writer) => new Map(everyByte.filter((n) => n % 4 === writer).map((n) => [n, writer])),
  )
  await Promise.all(writers.map((bytes) => writeHealth(paths, 1, bytes)))
  const expected = everyByte.map((number) => [number, number % 4] as const).filter(([, value]) => value !== 0)
  expect(await written()).toEqual(new Map(expected))
})

test('reads an overlay back to within the resolution of a byte', async () => {
  const paths = healthPaths(plane)
  const slots = {
    services: new Map([
      ['web', 3],
      ['dns', 900],
      ['plain', 0],
    ]),
    backends: new Map([
      ['web/10.0.0.1:80', 70],
      ['web/10.0.0.2:80', 71],
      ['web/[2001:db8::1]:80', 65000],
      ['dns/10.0.0.1', 0],
    ]),
  }
  const overlay = new Map([
    [
      'web',
      {
        mode: 'well' as const,
        shares: new Map([
          ['10.0.0.1:80', 0],
          ['10.0.0.2:80', 0.5],
          ['[2001:db8::1]:80', 1],
          ['10.9.9.9:80', 0],
        ]),
      },
    ],
    ['dns', { mode: 'sorry' as const, shares: new Map([['10.0.0.1', 0.001]]) }],
    ['gone', { mode: 'drop' as const, shares: new Map([['10.0.0.1', 0]]) }],
  ])
  const bytes = encodeOverlay(overlay, slots)
  await writeHealth(paths, 1, bytes)
  const read = decodeOverlay(await readHealth(paths, everyByte), slots)
  expect([...read.keys()].sort()).toEqual(['dns', 'plain', 'web'])
  expect(read.get('plain')).toEqual({ mode: 'well', shares: new Map() })
  expect(read.get('dns')?.mode).toBe('sorry')
  // The smallest share above zero is one flow of 255.
  expect(read.get('dns')?.shares.get('10.0.0.1')).toBeCloseTo(1 / 255)
  expect(read.get('web')?.shares.get('10.0.0.1:80')).toBe(0)
  expect(read.get('web')?.shares.get('10.0.0.2:80')).toBeCloseTo(0.5, 2)
  expect(read.get('web')?.shares.get('[2001:db8::1]:80')).toBe(1)
})

test('a removed generation counts as superseded', async () => {
  const paths = {
    ...healthPaths(plane),
    programs: () => '/nowhere',
    program: () => `/nowhere/${HEALTH.programs.write}`,
  }
  expect(await writeHealth(paths, 1, new Map([[0, 1]]))).toBe('superseded')
})

test.each([
  ['a byte beyond the last', encodeHealth(HEALTH_OP.SET, [[NUMBERS, 1]])],
  ['the state of the map', encodeHealth(HEALTH_OP.SET, [[NUMBERS + 8, 1]])],
  [
    'fewer records than announced',
    encodeHealth(HEALTH_OP.SET, [
      [1, 0],
      [2, 0],
    ]).subarray(0, 72),
  ],
  [
    'more records than the maximum',
    encodeHealth(
      HEALTH_OP.SET,
      Array.from({ length: HEALTH_RECORDS + 1 }, () => [1, 1] as const),
    ),
  ],
])('refuses invalid data: %s', async (_, data) => {
  expect(await runHealth(plane.program('health_write'), data)).toBe('aborted')
  expect(await written()).toEqual(new Map())
})

test('a superseded generation can neither write nor claim the map back', async () => {
  const paths = healthPaths(plane)
  await claimHealth(paths, 1, new Map([[backendByte(5), 9]]))
  const older = plane.keep('health_write')
  await plane.load(imageOf(policy('pass'), undefined, 2))
  // Both may write until the newer one claims the map.
  expect(await runHealth(older, encodeHealth(HEALTH_OP.SET, [[5, 10]]))).toBe('pass')
  expect(await writeHealth(paths, 2, new Map([[backendByte(6), 20]]))).toBe('written')
  await claimHealth(paths, 2, new Map([[backendByte(5), 0]]))
  expect(await runHealth(older, encodeHealth(HEALTH_OP.SET, [[5, 11]]))).toBe('drop')
  expect(await runHealth(older, encodeHealth(HEALTH_OP.CLAIM, [[5, 12]]))).toBe('drop')
  expect(await written()).toEqual(new Map([[backendByte(6), 20]]))
  expect(await writeHealth(paths, 2, new Map([[backendByte(5), 1]]))).toBe('written')
})
