// Sources that exceed a rate limit with `ban`: which of them the data plane reports, and that forged sources neither make it
// report others nor take the place of a source that goes on.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { RATE_BUCKETS_A_LINE, RATE_UNITS, rateCounterCodec } from '../../src/abi/generated.ts'
import type { Paths } from '../../src/abi/paths.ts'
import { countLimitBans, readOffenders } from '../../src/kernel/live/offenders.ts'
import type { RateLimit } from '../../src/model/rate-limit.ts'
import type { State } from '../../src/model/state.ts'
import { formatAddress } from '../../src/model/text.ts'
import { DataPlane } from '../support/bpf.ts'
import { allow, policy, scope } from '../support/lists.ts'
import { ethernet, ipv4, ipv6, packet, raw, udp } from '../support/packets.ts'

const SLOT = 5
const BUCKETS = 1024

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.apart()
})
afterAll(() => plane.close())

const stateWith = (fields: Partial<RateLimit> = {}): State => {
  const limit: RateLimit = {
    name: 'a',
    position: 0,
    scope: scope('any'),
    per: 'source',
    prefix: { v4: 32, v6: 64 },
    packets: { perSecond: 1, burst: 3 },
    action: 'drop',
    ban: { forMs: 600_000, afterMs: 3000 },
    buckets: BUCKETS,
    ...fields,
  }
  return { ...policy('pass', allow('friends', ['192.0.2.0/24', scope('any')])), rateLimits: new Map([['a', limit]]) }
}

async function load(state: State): Promise<void> {
  plane.forget()
  await plane.loadState(state)
}

const from = (source: string, bytes = 20): Uint8Array =>
  packet(ethernet(), source.includes(':') ? ipv6({ source }) : ipv4({ source }), udp(), raw(bytes))
const send = (source: string, count: number): Promise<unknown> =>
  plane.send(
    SLOT,
    Array.from({ length: count }, () => from(source)),
  )

/** Sources that have exceeded the limit in slot 0 for so many milliseconds. */
const reported = async (ms: number): Promise<string[]> => {
  const paths = { program: (_: number, name: string) => plane.program(name) } as Paths
  const found = await readOffenders(paths, 1, new Map([[0, ms]]))
  return found.map(({ source: { family, words } }) => formatAddress(family, words)).sort()
}

/** Sends from a source until it is reported; how often. */
async function sendUntilReported(source: string, ms: number): Promise<string[]> {
  for (;;) {
    await send(source, 3)
    const found = await reported(ms)
    if (found.length > 0) return found
  }
}

test('reports a source that goes on beyond the rate, by its prefix, and begins again with its time', async () => {
  await load(stateWith({ prefix: { v4: 24, v6: 56 } }))
  await send('198.51.100.7', 3)
  expect(await reported(1)).toEqual([])
  expect(await sendUntilReported('198.51.100.7', 100)).toEqual(['198.51.100.0'])
  expect(await reported(100)).toEqual([])
  expect(await sendUntilReported('198.51.100.9', 100)).toEqual(['198.51.100.0'])
  expect(await sendUntilReported('2001:db8:5:ff12::9', 100)).toEqual(['2001:db8:5:ff00::'])
})

test('observe reports alike; no slot that nothing is asked of, no test run, and no source of an allowlist', async () => {
  await load(stateWith({ action: 'observe' }))
  expect(await sendUntilReported('198.51.100.7', 50)).toEqual(['198.51.100.7'])
  await send('198.51.100.7', 5)
  expect(await reported(0)).toEqual([])
  await load(stateWith())
  const arrival = { ifindex: 1, slot: SLOT, flags: 0 }
  await plane.run(Array.from({ length: 20 }, () => ({ frame: from('198.51.100.8'), arrival })))
  await send('192.0.2.8', 20)
  await send('198.51.100.9', 20)
  await send('198.51.100.9', 20)
  expect(await sendUntilReported('198.51.100.9', 50)).toEqual(['198.51.100.9'])
})

test('a pause ends the time for which a source exceeds the limit', async () => {
  await load(stateWith())
  await send('198.51.100.7', 20)
  const begun = Date.now()
  await expect.poll(() => Date.now() - begun, { timeout: 5000 }).toBeGreaterThan(1700)
  await send('198.51.100.7', 20)
  expect(await reported(1000)).toEqual([])
})

/** Fills all buckets of the limit for minutes, as a flood of forged sources would. */
async function fillBuckets(): Promise<void> {
  const until = process.hrtime.bigint() * BigInt(RATE_UNITS) + 400n * 1_000_000_000n * BigInt(RATE_UNITS)
  const line = new BigUint64Array(2 * RATE_BUCKETS_A_LINE).fill(until)
  const bytes = new Uint8Array(line.buffer)
  for (let at = 0; at < BUCKETS / RATE_BUCKETS_A_LINE; at++) await plane.setValue('rate_buckets', at, bytes)
}

test('all buckets are full of what others sent: none that keeps to its rate is reported, and one beyond it is', async () => {
  // A frame takes 11 s of the rate, and nearly all of the burst.
  await load(stateWith({ packets: undefined, bits: { perSecond: 1000, burst: 12_112 } }))
  await fillBuckets()
  const before = await plane.sums('rate_stats', 0, rateCounterCodec)
  const victims = Array.from({ length: 40 }, (_, i) => from(`203.0.113.${i}`, 1350))
  await plane.send(SLOT, victims)
  const after = await plane.sums('rate_stats', 0, rateCounterCodec)
  expect(after.exceeding_packets - before.exceeding_packets).toBe(victims.length)
  expect(await reported(1)).toEqual([])
  expect(await sendUntilReported('198.51.100.7', 50)).toEqual(['198.51.100.7'])
})

test('bans are counted by the slot of the limit', async () => {
  await load(stateWith())
  const { bans } = await plane.sums('rate_stats', 3, rateCounterCodec)
  const paths = { program: (_: number, name: string) => plane.program(name) } as Paths
  await countLimitBans(paths, 1, new Map([[3, 7]]))
  expect((await plane.sums('rate_stats', 3, rateCounterCodec)).bans).toBe(bans + 7)
})
