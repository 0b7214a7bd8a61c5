// Rate limits in the data plane: which packets a limit counts, which keys share a rate, what exceeds it, and that lists,
// bans and essential packets stay as they are.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { INTERFACE_FLAG, NO_SLOT, rateCounterCodec, TEST_RUN_LIMIT } from '../../src/abi/generated.ts'
import type { RateLimit } from '../../src/model/rate-limit.ts'
import type { State } from '../../src/model/state.ts'
import { countingLimits } from '../../src/semantics/rates.ts'
import { DataPlane } from '../support/bpf.ts'
import { SEED, usually } from '../support/depth.ts'
import { allow, block, limitOf, policy, ranges, scope } from '../support/lists.ts'
import { factsOf, isStray } from '../support/model.ts'
import { arp, ethernet, fragment, icmp, icmpv6, ipv4, ipv6, packet, raw, tcp, udp, vlan } from '../support/packets.ts'
import { INTERFACES, randomFrame, randomFrom, randomLimits, randomState } from '../support/random.ts'
import { listOfSources, withSourceLists } from '../support/rate-sources.ts'

const SLOT = 5

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.apart()
})
afterAll(() => plane.close())

const stateWith = (...limits: readonly Partial<RateLimit>[]): State => ({
  ...policy('pass'),
  rateLimits: new Map(
    limits.map((fields, position) => {
      const limit = limitOf({ name: `limit-${position}`, position, ...fields })
      return [limit.name, limit]
    }),
  ),
})

const from4 = (source: string, destination = '192.0.2.80', ports = { source: 4000, destination: 53 }): Uint8Array =>
  packet(ethernet(), ipv4({ source, destination }), udp(ports))
const from6 = (source: string, destination = '2001:db8::80'): Uint8Array =>
  packet(ethernet(), ipv6({ source, destination }), udp())

/** How many of these frames pass, sent as traffic. */
const passing = async (frames: readonly Uint8Array[], slot = SLOT): Promise<number> =>
  (await plane.send(slot, frames)).filter(({ verdict }) => verdict === 'pass').length
const times = (count: number, frame: Uint8Array): Uint8Array[] => Array.from({ length: count }, () => frame)

/** Loads a state whose limits have used nothing. */
async function load(state: State): Promise<void> {
  plane.forget()
  await plane.loadState(state)
}

type Counts = Readonly<Record<'packets' | 'bytes' | 'exceeding_packets' | 'exceeding_bytes', number>>

/** Reads how far the counters of slots have moved since. */
async function counters(): Promise<(...slots: readonly number[]) => Promise<Counts[]>> {
  const read = (slot: number): Promise<Counts> => plane.sums('rate_stats', slot, rateCounterCodec)
  const before = await Promise.all([0, 1, 2].map(read))
  return async (...slots) => {
    const after = await Promise.all(slots.map(read))
    return after.map((counts, i) => {
      const was = before[slots[i] as number] as Counts
      return {
        packets: counts.packets - was.packets,
        bytes: counts.bytes - was.bytes,
        exceeding_packets: counts.exceeding_packets - was.exceeding_packets,
        exceeding_bytes: counts.exceeding_bytes - was.exceeding_bytes,
      }
    })
  }
}

describe('keys', () => {
  test('each source has its burst', async () => {
    await load(stateWith({}))
    expect(await passing(times(10, from4('198.51.100.1')))).toBe(3)
    expect(await passing(times(10, from4('198.51.100.2')))).toBe(3)
    expect(await passing(times(10, from6('2001:db8:1::1')))).toBe(3)
  })

  test('the sources of a prefix share one', async () => {
    await load(stateWith({ prefix: { v4: 24, v6: 48 } }))
    expect(await passing([1, 2, 3, 4, 5].map((n) => from4(`198.51.100.${n}`)))).toBe(3)
    expect(await passing([1, 2, 3, 4, 5].map((n) => from4(`198.51.${n}.1`)))).toBe(5)
    expect(await passing([1, 2, 3, 4, 5].map((n) => from6(`2001:db8:1:${n}::1`)))).toBe(3)
  })

  test('a prefix may end in the lower half of an IPv6 address, and a length of 0 is everybody', async () => {
    await load(stateWith({ prefix: { v4: 0, v6: 112 } }))
    expect(await passing([1, 2, 3, 4, 5].map((n) => from6(`2001:db8::1:${n}`)))).toBe(3)
    expect(await passing([1, 2, 3, 4, 5].map((n) => from6(`2001:db8::${n}:1`)))).toBe(4)
    expect(await passing([1, 2, 3, 4, 5].map((n) => from4(`${n}.51.100.1`)))).toBe(3)
  })

  test('per destination, whatever the source; per service, by protocol and port too; all together', async () => {
    await load(stateWith({ per: 'destination' }))
    expect(await passing([1, 2, 3, 4, 5].map((n) => from4(`198.51.100.${n}`)))).toBe(3)
    expect(await passing([1, 2, 3, 4, 5].map((n) => from4('198.51.100.1', `192.0.2.${n}`)))).toBe(5)
    await load(stateWith({ per: 'service' }))
    const to = (port: number) => from4('198.51.100.1', '192.0.2.80', { source: 4000, destination: port })
    expect(await passing([...times(5, to(53)), ...times(5, to(54))])).toBe(6)
    // Of packets without ports, those of a protocol are one service, whatever is in the place of ports.
    const pings = (n: number) => [
      packet(ethernet(), ipv4({ source: '198.51.100.1' }), icmp(8, n)),
      packet(ethernet(), ipv6({ source: '2001:db8::1' }), icmpv6(128, n)),
    ]
    expect(await passing([1, 2, 3, 4, 5].flatMap(pings))).toBe(6)
    await load(stateWith({ per: 'all' }))
    expect(await passing([1, 2, 3, 4, 5].map((n) => from4(`198.51.${n}.1`, `192.0.2.${n}`)))).toBe(3)
  })
})

describe('rates', () => {
  test('bits: by the whole frame', async () => {
    const frame = from4('198.51.100.1')
    await load(stateWith({ packets: undefined, bits: { perSecond: 1000, burst: frame.length * 8 * 4 } }))
    expect(await passing(times(10, frame))).toBe(4)
  })

  test('both: the one that is exceeded first', async () => {
    const frame = from4('198.51.100.1')
    const bits = { perSecond: 1000, burst: frame.length * 8 * 2 }
    await load(stateWith({ bits }))
    expect(await passing(times(10, frame))).toBe(2)
  })

  test('a short burst is judged by a fine clock', async () => {
    await load(stateWith({ packets: { perSecond: 1_000_000, burst: 20_000 } }))
    expect(await passing(times(50, from4('198.51.100.1')))).toBe(50)
  })
})

describe('packets that a limit counts', () => {
  test('of its protocol and ports, in several ranges', async () => {
    const ports = [
      { first: 53, last: 53 },
      { first: 5300, last: 5399 },
      { first: 6000, last: 6000 },
    ]
    await load(stateWith({ scope: { ...scope(17), destinationPorts: ports, sourcePorts: ports.slice(0, 2) } }))
    const at = (source: number, destination: number) => from4('198.51.100.1', undefined, { source, destination })
    expect(await passing(times(5, at(4000, 53)))).toBe(5)
    expect(await passing(times(5, at(53, 443)))).toBe(5)
    expect(
      await passing(
        times(5, packet(ethernet(), ipv4({ source: '198.51.100.1' }), tcp({ source: 53, destination: 53 }))),
      ),
    ).toBe(5)
    expect(await passing([at(53, 53), at(5350, 5350), at(53, 6000), at(5399, 5300), at(53, 53)])).toBe(3)
  })

  test('from its sources, of both families', async () => {
    const v4 = ranges(4, ['203.0.113.0/24', '198.51.100.0/25', '192.0.2.7'])
    await load(stateWith({ sources: { v4, v6: ranges(6, ['2001:db8:5::/48']) } }))
    expect(await passing(times(5, from4('198.51.100.127')))).toBe(3)
    expect(await passing(times(5, from4('198.51.100.128')))).toBe(5)
    expect(await passing(times(5, from4('192.0.2.7')))).toBe(3)
    expect(await passing(times(5, from6('2001:db8:5::1')))).toBe(3)
    expect(await passing(times(5, from6('2001:db8:6::1')))).toBe(5)
  })

  test('with tags, and later fragments where no port is asked for', async () => {
    await load(stateWith({}))
    expect(await passing(times(5, packet(ethernet(), vlan(7), ipv4({ source: '198.51.100.1' }), udp())))).toBe(3)
    await load(stateWith({}))
    expect(
      await passing(times(5, packet(ethernet(), ipv6({ source: '2001:db8::1' }), fragment({ offset: 100 }), udp()))),
    ).toBe(3)
  })

  test('several limits count one packet, up to the one that it exceeds', async () => {
    await load(stateWith({ packets: { perSecond: 1, burst: 4 } }, { packets: { perSecond: 1, burst: 2 } }, {}))
    const counted = await counters()
    expect(await passing(times(6, from4('198.51.100.1')))).toBe(2)
    const counts = await counted(0, 1, 2)
    expect(counts.map(({ packets, exceeding_packets }) => [packets, exceeding_packets])).toEqual([
      [6, 2],
      [4, 2],
      [2, 0],
    ])
  })

  test('observe counts what exceeds, and it goes on', async () => {
    await load(stateWith({ action: 'observe' }))
    const counted = await counters()
    const frame = from4('198.51.100.1')
    expect(await passing(times(5, frame))).toBe(5)
    expect(await counted(0)).toEqual([
      { packets: 5, bytes: 5 * frame.length, exceeding_packets: 2, exceeding_bytes: 2 * frame.length },
    ])
  })

  test('none that a list decides, and no neighbour discovery; ARP passes', async () => {
    const lists = [allow('friends', ['198.51.100.0/24', scope('any')]), block('bad', ['203.0.113.0/24', scope('any')])]
    await load({ ...stateWith({}), ...policy('pass', ...lists) })
    expect(await passing(times(9, from4('198.51.100.1')))).toBe(9)
    expect(await passing(times(9, from4('203.0.113.1')))).toBe(0)
    expect(await passing(times(9, packet(ethernet(), ipv6(), icmpv6(135))))).toBe(9)
    expect(await passing(times(9, packet(ethernet(), arp())))).toBe(9)
    expect(await passing(times(9, packet(ethernet(), ipv4({ source: '192.0.2.1' }), icmp(8))))).toBe(3)
  })
})

test('a test run takes nothing, and says how much is used', async () => {
  // A burst of many seconds, so that those of the test itself hardly matter.
  await load(stateWith({ packets: { perSecond: 1, burst: 200 } }, { scope: scope(6) }))
  const frame = from4('198.51.100.1')
  const explained = async () => (await plane.run([{ frame }]))[0]?.explanation
  for (let i = 0; i < 9; i++)
    expect(await explained()).toMatchObject({ reason: 'default-pass', rate_limit: 0, rate_used: 0 })
  await passing(times(100, frame))
  const { rate_used = 0 } = (await explained()) ?? {}
  expect(rate_used / 65_535).toBeCloseTo(0.5, 1)
  await passing(times(120, frame))
  expect((await explained())?.rate_used).toBe(65_535)
})

test('a test run asks about one limit; a burst without room for one more packet is used up', async () => {
  const limits = [
    { packets: { perSecond: 1, burst: 200 } },
    { packets: { perSecond: 1, burst: 500 } },
    { packets: undefined, bits: { perSecond: 1000, burst: 1_000_000 } },
  ]
  await load(stateWith(...limits))
  const frame = from4('198.51.100.1')
  const asked = async (slot: number) => {
    const arrival = { ifindex: 1, slot: SLOT, flags: (slot + 1) << TEST_RUN_LIMIT }
    return (await plane.run([{ frame, arrival }]))[0]?.explanation
  }
  await passing(times(250, frame))
  for (const slot of limits.keys()) expect(await asked(slot)).toMatchObject({ rate_limit: slot })
  const used = await Promise.all([...limits.keys()].map(async (slot) => ((await asked(slot))?.rate_used ?? 0) / 65_535))
  expect(used).toEqual([1, expect.closeTo(0.4, 1), expect.closeTo((200 * frame.length * 8) / 1e6, 2)])
  expect(await asked(9)).toMatchObject({ rate_limit: NO_SLOT })
})

test('a test run that finds balances used up is dropped, by rates alone, and takes nothing from them', async () => {
  const arrival = { ifindex: 1, slot: SLOT, flags: INTERFACE_FLAG.EXHAUSTED }
  const verdicts = async (source: string, bytes = 0): Promise<string[]> => {
    const frame = packet(ethernet(), ipv4({ source }), udp({ source: 4000, destination: 53 }), raw(bytes))
    const [found] = await plane.run([{ frame, arrival }])
    const [filtered] = await plane.run([{ frame, arrival }], 'filter')
    return [found?.verdict ?? '', found?.explanation?.reason ?? '', filtered?.verdict ?? '']
  }
  const friends = policy('pass', allow('friends', ['192.0.2.0/24', scope('any')]))
  for (const limit of [
    { packets: { perSecond: 1, burst: 1 } },
    { packets: { perSecond: 1_000_000_000, burst: 1 } },
    { packets: undefined, bits: { perSecond: 1000, burst: 12_112 } },
    { packets: { perSecond: 1000, burst: 3_600_000 }, bits: { perSecond: 1e13, burst: 3.6e16 } },
    { per: 'all' as const },
  ]) {
    await load({ ...friends, rateLimits: stateWith(limit).rateLimits })
    expect([limit, ...(await verdicts('198.51.100.1'))]).toEqual([limit, 'drop', 'rate-limit', 'drop'])
    // Larger than a burst of 1,514 bytes: it passes only alone, and a second one exceeds.
    expect((await verdicts('198.51.100.1', 1600))[0]).toBe('drop')
    expect(await verdicts('192.0.2.1')).toEqual(['pass', 'allowlist', 'pass'])
  }
  await load(stateWith({ action: 'observe' }, { scope: scope(6) }))
  expect((await verdicts('198.51.100.1'))[0]).toBe('pass')
  await load(stateWith({}))
  await verdicts('198.51.100.1')
  expect(await passing(times(5, from4('198.51.100.1')))).toBe(3)
})

test('a limit counts the packets of its list of sources alone, whatever else covers them, and keeps its counts when that changes', async () => {
  const many = Array.from({ length: 70_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`)
  const sources = (...texts: readonly string[]) => ({ v4: ranges(4, texts), v6: ranges(6, texts) })
  const wide = sources('198.51.0.0/16', '2001:db8::/32')
  const limits = stateWith(
    { sources: 'list', packets: { perSecond: 1, burst: 50 } },
    { sources: 'list', packets: { perSecond: 1, burst: 2 } },
  )
  const withLists = (second: readonly string[]): State => {
    const lists = [
      ...policy(
        'pass',
        allow('friends', '198.51.100.64/26'),
        block('foes', ['198.51.100.0/24', scope(6)]),
      ).lists.values(),
      listOfSources('limit-0', wide),
      listOfSources('limit-1', sources(...second, ...many)),
    ]
    return { ...limits, lists: new Map(lists.map((list) => [list.name, list])) }
  }
  await load(withLists(['198.51.100.0/25', '2001:db8:1::/48']))
  expect(await passing(times(5, from4('203.0.113.1')))).toBe(5)
  expect(await passing(times(5, from6('2001:db9::1')))).toBe(5)
  expect(await passing(times(5, from4('198.51.100.1')))).toBe(2)
  expect(Math.round((await passing(times(90, from4('198.51.100.129')))) / 10)).toBe(5)
  expect(await passing(times(5, from4('198.51.100.65')))).toBe(5)
  expect(await passing(times(5, from4('10.1.17.112')))).toBe(5)
  expect(await passing(times(5, from4('10.1.17.111')))).toBe(2)
  expect(await passing(times(5, from4('10.0.0.0')))).toBe(2)
  expect(Math.round((await passing(times(90, from6('2001:db8::1')))) / 10)).toBe(5)
  expect(await passing(times(5, from6('2001:db8:1::1')))).toBe(2)
  expect(await passing(times(2, packet(ethernet(), ipv4({ source: '198.51.100.2' }), tcp())))).toBe(0)
  // The second limit has other sources, and the first keeps what it has counted, which a second refills by one packet.
  await plane.loadState(withLists(['203.0.113.0/24']))
  expect(await passing(times(60, from4('198.51.100.129')))).toBeLessThan(40)
  expect(await passing(times(5, from4('203.0.113.1')))).toBe(2)
})

describe('random limits and packets', () => {
  const rounds = usually(6, { thoroughly: 40 })

  test(`program and model agree on the limits that count a packet, seed ${SEED}`, async () => {
    const random = randomFrom(SEED)
    for (let round = 0; round < rounds; round++) {
      const { services: _, ...rest } = randomState(random)
      const drawn: State = { ...rest, services: new Map(), rateLimits: randomLimits(random) }
      const state = random.chance(0.7) ? withSourceLists(random, drawn) : drawn
      await plane.loadState(state)
      const frames = Array.from({ length: 300 }, () => randomFrame(random))
      const arrivals = [...INTERFACES, 'other'].map((name, i) => ({ name, slot: name === 'other' ? 9 : i + 1 }))
      for (const { name, slot } of arrivals) {
        const arrival = { ifindex: 1, slot, flags: 0 }
        const outcomes = await plane.run(frames.map((frame) => ({ frame, arrival })))
        const wrong = frames.flatMap((frame, i) => {
          const found = outcomes[i]?.explanation
          if (found === undefined) return []
          const ingress = { ifindex: 1, interface: name, roles: ['filter'] } as const
          const counting = countingLimits(state, factsOf(frame), ingress, { socketless: isStray(frame) })
          const isCounted = found.rate_limit !== NO_SLOT
          return isCounted === counting.length > 0
            ? []
            : [{ frame: Buffer.from(frame).toString('hex'), found, counting }]
        })
        expect(wrong.slice(0, 1)).toEqual([])
      }
    }
  })
})
