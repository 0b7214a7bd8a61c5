import { expect, test } from 'vitest'
import { RATES, rateMaps } from '../../../src/features/rates.ts'
import { compileImage } from '../../../src/tables/image/image.ts'
import { slotsFor } from '../../support/slots.ts'
import { rateLimit, state } from '../../support/states.ts'

const META = { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) }
const BUCKETS = 65_536

const fillOf = (used: number, ...limits: ReturnType<typeof rateLimit>[]) => {
  const wanted = state({ rateLimits: limits })
  const { buckets } = rateMaps(compileImage({ state: wanted, slots: slotsFor(wanted), meta: META }))
  const generation = { ownMaps: new Map([[buckets.name, { entries: buckets.entries }]]) }
  const facts = { generation, services: [], slots: {}, rateLimits: limits }
  return RATES.gauges.fill(used, facts as unknown as Parameters<typeof RATES.gauges.fill>[1])
}

test('the capacity of the buckets is that of the limits that share them by keys', () => {
  const [one, two, three] = ['a', 'b', 'c'].map((name, position) => rateLimit(name, { position }))
  if (!one || !two || !three) throw new Error('three limits')
  const row = (used: number, capacity: number) => [{ name: 'rate_buckets', used, capacity }]
  expect(fillOf(7, one)).toEqual(row(7, BUCKETS))
  expect(fillOf(7, one, two, three)).toEqual(row(7, 3 * BUCKETS))
  expect(fillOf(BUCKETS + 1, one, { ...two, per: 'all' })).toEqual(row(BUCKETS, BUCKETS))
  expect(fillOf(1, { ...one, per: 'all' })).toEqual([])
  expect(fillOf(0)).toEqual([])
  expect(fillOf(0, { ...one, buckets: 1024 }, { ...two, buckets: 1024 })).toEqual(row(0, 2048))
})
