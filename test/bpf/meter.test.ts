// The meter of rate limits with a controlled clock: the model's answers, its accuracy, floods of spoofed sources, and two
// CPUs at a time.

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Taking, take } from '../../src/semantics/rates.ts'
import { usually } from '../support/depth.ts'
import { type Meter, openMeter } from '../support/meter.ts'
import { randomFrom } from '../support/random.ts'

const SECOND = 16_000_000_000n
const BUCKETS = 65_536
/** Tests begin far apart in time, so that the buckets of one are free for the next. */
let clock = 1000n * SECOND

let meter: Meter
beforeAll(async () => {
  meter = await openMeter()
})
afterAll(() => meter.close())

const conforming = async (takings: readonly Taking[]): Promise<number> =>
  (await meter.take(takings)).filter((conforms) => conforms).length

const arbitrary = fc.array(
  fc.record({
    first: fc.nat({ max: 3 }),
    second: fc.nat({ max: 3 }),
    step: fc.bigInt({ min: -20n, max: 200n }),
    cost: fc.bigInt({ min: 0n, max: 300n }),
    burst: fc.bigInt({ min: 0n, max: 1000n }),
    most: fc.bigInt({ min: 0n, max: 300n }),
  }),
  { minLength: 1, maxLength: 200 },
)

test('the program and the model answer alike', async () => {
  await fc.assert(
    fc.asyncProperty(arbitrary, async (steps) => {
      clock += 1000n * SECOND
      let now = clock
      const buckets: bigint[] = []
      const takings = steps.map(({ step, ...taking }): Taking => {
        now += step
        return { ...taking, now }
      })
      const expected = takings.map((taking) => take(buckets, taking))
      expect(await meter.take(takings)).toEqual(expected)
    }),
    { numRuns: usually(40, { thoroughly: 1000 }) },
  )
})

describe.each([1000, 10_000, 100_000, 1_000_000])('%i packets per second', (rate) => {
  const cost = SECOND / BigInt(rate)
  /** Packets of one key that come `factor` times as fast as the rate. */
  const flow = (count: number, factor: number, burst: bigint): Taking[] =>
    Array.from({ length: count }, (_, i) => ({
      first: 0,
      second: 40_000,
      now: clock + BigInt(Math.floor((i * Number(cost)) / factor)),
      cost,
      burst,
      most: 0n,
    }))

  test('of three times the rate passes the rate, within 5 %', async () => {
    clock += 1000n * SECOND
    const burst = cost * 10n
    const count = 30_000
    expect(Math.abs((await conforming(flow(count, 3, burst))) - count / 3)).toBeLessThan((count / 3) * 0.05)
  })

  test('less than the rate passes whole, and a pause earns no more than the burst', async () => {
    clock += 1000n * SECOND
    expect(await conforming(flow(10_000, 0.99, cost * 10n))).toBe(10_000)
    clock += 1000n * SECOND
    const atOnce = Array.from({ length: 100 }, () => ({
      first: 0,
      second: 40_000,
      now: clock,
      cost,
      burst: cost * 10n,
      most: 0n,
    }))
    expect(await conforming(atOnce)).toBe(10)
  })
})

test('a packet that costs more than the burst passes if nothing else is used, and is paid for', async () => {
  clock += 1000n * SECOND
  const large = (now: bigint): Taking => ({ first: 1, second: 2, now, cost: 100n, burst: 10n, most: 1000n })
  expect(await meter.take([large(clock), large(clock + 50n), large(clock + 99n), large(clock + 100n)])).toEqual([
    true,
    false,
    false,
    true,
  ])
})

test('a changed limit does not wait for what the old one has used', async () => {
  clock += 1000n * SECOND
  const old = { first: 1, second: 2, now: clock, cost: 3000n * SECOND, burst: 3000n * SECOND, most: 0n }
  const changed = { ...old, cost: SECOND, burst: 2n * SECOND }
  const at = (seconds: bigint): Taking => ({ ...changed, now: clock + seconds * SECOND })
  expect(await meter.take([old, at(0n), at(1n), at(2n)])).toEqual([true, false, true, true])
})

describe('a flood of spoofed sources, each with one packet', () => {
  const RATE = 1000n
  const cost = SECOND / RATE
  const burst = cost * 1000n
  const random = randomFrom(7)
  const spoofed = (now: bigint): Taking => ({
    first: random.below(BUCKETS / 2),
    second: BUCKETS / 2 + random.below(BUCKETS / 2),
    now,
    cost,
    burst,
    most: 0n,
  })
  /** Packets of one source at `perSecond` for a second, between `flood` spoofed ones. */
  const mixed = (perSecond: number, flood: number): { readonly takings: Taking[]; readonly own: boolean[] } => {
    const takings: Taking[] = []
    const own: boolean[] = []
    let mine = 0
    for (let i = 0; i < flood; i++) {
      const now = clock + (SECOND * BigInt(i)) / BigInt(flood)
      takings.push(spoofed(now))
      own.push(false)
      if ((i * perSecond) / flood < mine) continue
      takings.push({ ...spoofed(now), first: 77, second: BUCKETS / 2 + 99 })
      own.push(true)
      mine++
    }
    return { takings, own }
  }

  test('takes nothing from a source that stays below its rate', async () => {
    clock += 1000n * SECOND
    const { takings, own } = mixed(900, 500_000)
    const answers = await meter.take(takings)
    expect(answers.filter((conforms, i) => own[i] && !conforms)).toHaveLength(0)
  })

  test('frees no source that exceeds it', async () => {
    clock += 1000n * SECOND
    const { takings, own } = mixed(10_000, 500_000)
    const answers = await meter.take(takings)
    const passed = answers.filter((conforms, i) => own[i] && conforms).length
    // The burst, and a second of the rate.
    expect(passed).toBeLessThanOrEqual(2000)
    expect(passed).toBeGreaterThan(1900)
  })
})

test('two CPUs share a bucket: no packet passes twice, and few are dropped because both were in each other’s way', async () => {
  clock += 1000n * SECOND
  const repeat = 200_000
  // Every packet conforms, and the clock stands still: the bucket counts those that pass.
  const taking = { first: 5, second: 40_005, now: clock, cost: 1n, burst: SECOND, most: 0n }
  await meter.takeOn([0, 1], taking, repeat)
  const passed = Number((await meter.bucket(5)) - clock)
  expect(passed).toBeLessThanOrEqual(2 * repeat)
  expect(passed).toBeGreaterThan(2 * repeat * 0.999)
})
