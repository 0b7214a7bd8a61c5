// Sources that exceed a rate limit with `ban`: which of them the data plane reports, and that forged sources neither make it
// report others nor take the place of a source that goes on.

import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  RATE_BUCKETS_A_LINE,
  RATE_OFFENDERS,
  RATE_OFFENDERS_A_SET,
  RATE_UNITS,
  rateCounterCodec,
  rateOffenderCodec,
} from '../../src/abi/generated.ts'
import type { Paths } from '../../src/abi/paths.ts'
import { countLimitBans, readOffenders } from '../../src/kernel/live/offenders.ts'
import type { RateLimit } from '../../src/model/rate-limit.ts'
import type { State } from '../../src/model/state.ts'
import { formatAddress } from '../../src/model/text.ts'
import { followOffender, type Offender, reportOffenders } from '../../src/semantics/offenders.ts'
import { parse } from '../support/bans.ts'
import { DataPlane } from '../support/bpf.ts'
import { SEED } from '../support/depth.ts'
import { allow, limitOf, policy, scope } from '../support/lists.ts'
import { ethernet, ipv4, ipv6, packet, raw, udp } from '../support/packets.ts'
import { type Random, randomFrom } from '../support/random.ts'

const SLOT = 5
const BUCKETS = 1024

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.apart()
})
afterAll(() => plane.close())

const stateWith = (fields: Partial<RateLimit> = {}): State => {
  const limit = limitOf({ ban: { forMs: 600_000, afterMs: 3000 }, buckets: BUCKETS, ...fields })
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

const LINES = BUCKETS / RATE_BUCKETS_A_LINE

/** Fills the buckets in these lines for so many seconds, as a flood of forged sources would; all of them by default. */
async function fillBuckets(
  seconds = 400n,
  lines: readonly number[] = Array.from({ length: LINES }, (_, at) => at),
): Promise<Uint8Array> {
  const until = (process.hrtime.bigint() + seconds * 1_000_000_000n) * BigInt(RATE_UNITS)
  const bytes = new Uint8Array(new BigUint64Array(2 * RATE_BUCKETS_A_LINE).fill(until).buffer)
  await plane.setValues(
    'rate_buckets',
    lines.map((at) => [at, bytes] as const),
  )
  return bytes
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

const SECOND = 1_000_000_000n
const UNIT = BigInt(RATE_UNITS)
const HOUR = { perSecond: 1, burst: 3600 }
/** The slots of the limit, and of one that another place belongs to. */
const [OURS, OTHERS] = [0, 9]
const mapped = (source: string): bigint => 0xffff_0000_0000n | BigInt(parse(source).start[0] as number)

function encodeSet(set: readonly Offender[]): Uint8Array {
  const bytes = new Uint8Array(set.length * rateOffenderCodec.size)
  for (const [i, { source, own, ...place }] of set.entries()) {
    const value = { ...place, high: 0n, low: source === '' ? 0n : mapped(source), own: { packets: own, bits: 0n } }
    rateOffenderCodec.encode(value, new DataView(bytes.buffer, i * rateOffenderCodec.size))
  }
  return bytes
}

function decodeSet(bytes: Uint8Array, sources: readonly string[]): Offender[] {
  return Array.from({ length: RATE_OFFENDERS_A_SET }, (_, i) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset + i * rateOffenderCodec.size)
    const { owner, low, own, seen, since, last } = rateOffenderCodec.decode(view)
    const source = sources.find((one) => mapped(one) === low) ?? ''
    return { owner, source, own: own.packets, seen, since, last }
  })
}

/** A place whose times lie far from any bound. */
function drawnPlace(random: Random, now: bigint, sources: readonly string[]): Offender {
  const owner = random.pick([0n, BigInt(OURS + 1), BigInt(OURS + 1), BigInt(OTHERS + 1)])
  const times = [0n, now - 10n * SECOND, now + 60n * SECOND] as const
  return {
    owner,
    source: owner === 0n ? '' : random.pick(sources),
    own: random.pick([0n, (now + 10n * SECOND) * UNIT, (now + 4000n * SECOND) * UNIT]),
    seen: random.pick(times),
    since: random.pick([0n, now - 20n * SECOND]),
    last: random.pick(times),
  }
}

/** The values of the model, with `?` for those that the moment of the packet makes, if the actual ones are of that moment. */
function comparable(set: readonly Offender[], isOfMoment: (value: bigint) => boolean): unknown {
  const text = (value: bigint): string => (isOfMoment(value) ? '?' : `${value}`)
  return set.map(({ owner, source, own, ...times }) => ({
    ...{ owner, source, own: isOfMoment((own - UNIT * SECOND) / UNIT) ? '?' : `${own}` },
    ...Object.fromEntries(Object.entries(times).map(([name, value]) => [name, text(value)])),
  }))
}

test(`random places change with a packet and with a report as the model says, seed ${SEED}`, async () => {
  const random = randomFrom(SEED)
  await load(stateWith({ packets: HOUR }))
  const full = await fillBuckets(4000n)
  const source = '198.51.100.7'
  const sources = [source, '198.51.100.8']
  const paths = { program: (_: number, name: string) => plane.program(name) } as Paths
  await send(source, 1)
  const sets = await plane.values('rate_offenders', RATE_OFFENDERS / RATE_OFFENDERS_A_SET)
  const at = sets.findIndex((bytes) => decodeSet(bytes, sources).some(({ owner }) => owner !== 0n))
  // A bucket that is fuller than it may be is set back.
  const buckets = await plane.values('rate_buckets', LINES)
  const own = buckets.flatMap((bytes, line) => (Buffer.compare(bytes, full) === 0 ? [] : [line]))
  const read = async () => decodeSet((await plane.valuesAt('rate_offenders', [at]))[0] as Uint8Array, sources)
  for (const isBeyond of [true, false]) {
    for (let round = 0; round < 15; round++) {
      const before = process.hrtime.bigint()
      const drawn = Array.from({ length: RATE_OFFENDERS_A_SET }, () => drawnPlace(random, before, sources))
      await fillBuckets(isBeyond ? 4000n : 2500n, own)
      await plane.setValue('rate_offenders', at, encodeSet(drawn))
      await send(source, 1)
      const found = await read()
      const moment = process.hrtime.bigint()
      // The clock of the data plane may lag by a tick.
      const isOfMoment = (value: bigint): boolean => before - SECOND / 10n <= value && value <= moment
      const packet = { owner: BigInt(OURS + 1), source, isBeyond, now: moment, clock: moment * UNIT }
      const expected = followOffender(drawn, { ...packet, cost: SECOND * UNIT, burst: 3600n * SECOND * UNIT })
      expect(comparable(found, isOfMoment), `round ${round}, beyond the rate: ${isBeyond}`).toEqual(
        comparable(expected, isOfMoment),
      )
      const after = new Map([OURS, OTHERS].map((slot) => [slot, random.pick([0, 1, 5000, 30_000])] as const))
      const offenders = await readOffenders(paths, 1, after)
      const model = reportOffenders(found, process.hrtime.bigint(), after)
      expect(offenders.map(({ slot, source: { family, words } }) => `${slot} ${formatAddress(family, words)}`)).toEqual(
        model.reported.map((place) => `${Number(place.owner) - 1} ${place.source}`),
      )
      expect(await read()).toEqual(model.set)
    }
  }
})
