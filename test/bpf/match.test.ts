// Packets for entries that ask for header fields, and for entries that only observe.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { distinctSources } from '../../src/model/distinct.ts'
import type { PacketMatch } from '../../src/model/packet-match.ts'
import type { Scope } from '../../src/model/state.ts'
import { DataPlane } from '../support/bpf.ts'
import { ANY, allow, block, type Entry, policy, ranges, scope } from '../support/lists.ts'
import * as p from '../support/packets.ts'

let plane: DataPlane
beforeAll(async () => {
  plane = await DataPlane.open()
})
afterAll(() => plane.close())

const EVERYWHERE = '0.0.0.0/0 ::/0'
const matching = (match: PacketMatch, of: Scope = ANY): Scope => ({ ...of, match })
const load = (...entries: readonly Entry[]) => plane.loadState(policy('pass', block('entry', ...entries)))
const frame = (...layers: readonly p.Layer[]): Uint8Array => p.packet(p.ethernet(), ...layers)
const reasonsOf = async (...frames: readonly Uint8Array[]): Promise<(string | undefined)[]> =>
  (await plane.run(frames.map((one) => ({ frame: one })))).map(({ explanation }) => explanation?.reason)

/** Whether the entry drops each of the packets. */
async function drops(match: PacketMatch, of: Scope, ...frames: readonly Uint8Array[]): Promise<boolean[]> {
  await load([EVERYWHERE, matching(match, of)])
  return (await reasonsOf(...frames)).map((reason) => reason === 'blocklist')
}

const v6 = (fields: Parameters<typeof p.ipv6>[0] = {}) => p.ipv6({ source: '2001:db8::7', ...fields })
const SYN_ONLY = { tcpFlags: { mask: 0x12, value: 0x02 } }

test('flags of TCP match in both families, behind options and tags, and not in later fragments', async () => {
  const tcp = (flags: number) => p.tcp({ flags })
  expect(
    await drops(
      SYN_ONLY,
      scope(6),
      frame(p.ipv4(), tcp(0x02)),
      frame(p.ipv4(), tcp(0x12)),
      frame(p.ipv4({ options: 12 }), tcp(0xc2)),
      frame(p.vlan(3), p.vlan(4), v6(), p.destinationOptions({ size: 16 }), tcp(0x02)),
      frame(v6(), tcp(0x10)),
      frame(p.ipv4({ offset: 3 }), tcp(0x02)),
      frame(p.ipv4(), p.udp()),
    ),
  ).toEqual([true, false, true, true, false, false, false])
})

test('a first fragment that ends in front of its flags is dropped by a blocklist, and not passed by an allowlist', async () => {
  // The frame has bytes behind the datagram, which are not its flags.
  const cut = p.padded(frame(p.ipv4({ more: true, totalLength: 28 }), p.raw(p.packet(p.tcp()).slice(0, 8))), 60)
  cut[23] = 6
  const whole = frame(p.ipv4({ more: true }), p.tcp({ flags: 0x10 }))
  expect(await drops(SYN_ONLY, scope(6), cut, whole)).toEqual([true, false])
  await plane.loadState(policy('drop', allow('entry', [EVERYWHERE, matching(SYN_ONLY, scope(6))])))
  expect(await reasonsOf(cut, whole, frame(p.ipv4(), p.tcp()))).toEqual(['default-drop', 'default-drop', 'allowlist'])
})

test('a type of ICMP is that of the family, with its code', async () => {
  const match: PacketMatch = { icmp: [{ v4: 3, code4: 3, v6: 1, code6: 4 }] }
  expect(
    await drops(
      match,
      scope('icmp'),
      frame(p.ipv4(), p.icmp(3, 3)),
      frame(p.ipv4(), p.icmp(3, 4)),
      frame(v6(), p.icmpv6(1, 4)),
      frame(v6(), p.icmpv6(3, 3)),
      frame(p.ipv4(), p.icmpv6(1, 4)),
      frame(p.ipv4({ offset: 1 }), p.icmp(3, 3)),
    ),
  ).toEqual([true, false, true, false, false, false])
})

test('length, TTL and code point are those of the IP header', async () => {
  const udp = [p.udp(), p.raw(12)]
  const match: PacketMatch = { length: { first: 40, last: 60 }, ttl: { first: 0, last: 5 }, dscp: [8, 46] }
  expect(
    await drops(
      match,
      ANY,
      frame(p.ipv4({ ttl: 5, tos: 46 << 2 }), ...udp),
      p.padded(frame(p.ipv4({ ttl: 5, tos: (46 << 2) | 3 }), ...udp), 1400),
      frame(v6({ hopLimit: 0, trafficClass: 8 << 2 }), ...udp),
      frame(p.ipv4({ ttl: 6, tos: 46 << 2 }), ...udp),
      frame(p.ipv4({ ttl: 5, tos: 45 << 2 }), ...udp),
      frame(p.ipv4({ ttl: 5, tos: 46 << 2 }), p.udp()),
      frame(v6({ hopLimit: 5, trafficClass: 8 << 2 }), ...udp, p.raw(1)),
    ),
  ).toEqual([true, true, true, false, false, false, false])
})

test('fragments are distinguished in both families', async () => {
  const frames = [
    frame(p.ipv4(), p.udp()),
    frame(p.ipv4({ more: true }), p.udp()),
    frame(p.ipv4({ more: true, offset: 4 }), p.raw(8)),
    frame(v6(), p.fragment(), p.udp()),
    frame(v6(), p.fragment({ more: true }), p.udp()),
    frame(v6(), p.fragment({ offset: 4 }), p.raw(8)),
  ]
  expect(await drops({ fragments: 'none' }, ANY, ...frames)).toEqual([true, false, false, true, false, false])
  expect(await drops({ fragments: 'first' }, ANY, ...frames)).toEqual([false, true, false, false, true, false])
  expect(await drops({ fragments: 'later' }, ANY, ...frames)).toEqual([false, false, true, false, false, true])
  expect(await drops({ fragments: 'any' }, ANY, ...frames)).toEqual([false, true, true, false, true, true])
})

test('a VLAN is that of the outer tag, whatever its priority', async () => {
  const udp = [p.ipv4(), p.udp()]
  expect(
    await drops(
      { vlan: { first: 10, last: 20 } },
      ANY,
      frame(p.vlan(10), ...udp),
      frame(p.vlan(0xe000 | 20, { type: 0x88a8 }), p.vlan(9), ...udp),
      frame(p.vlan(9), p.vlan(10), ...udp),
      frame(...udp),
    ),
  ).toEqual([true, true, false, false])
})

test('destinations are exact at the bounds of 64 ranges, of each family apart', async () => {
  const texts = Array.from({ length: 62 }, (_, i) => `192.0.2.${i * 4}-192.0.2.${i * 4 + 1}`)
  const destinations = { v4: ranges(4, texts), v6: ranges(6, ['2001:db8:1::/48', '2001:db8:3::-2001:db8:3::9']) }
  const to4 = (destination: string) => frame(p.ipv4({ destination }), p.udp())
  const to6 = (destination: string) => frame(v6({ destination }), p.udp())
  expect(
    await drops(
      { destinations },
      ANY,
      ...['192.0.2.0', '192.0.2.1', '192.0.2.2', '192.0.2.4', '192.0.2.245', '192.0.2.246'].map(to4),
      ...['2001:db8:1::', '2001:db8:2::', '2001:db8:3::9', '2001:db8:3::a', '::ffff:192.0.2.1'].map(to6),
    ),
  ).toEqual([true, true, false, true, true, false, true, false, true, false, false])
  expect(await drops({ destinations: { v4: ranges(4, []), v6: ranges(6, []) } }, ANY, to4('192.0.2.0'))).toEqual([
    false,
  ])
})

test('entries of one list with different matches do not stand for each other', async () => {
  const ttl = (first: number, last: number) => matching({ ttl: { first, last } })
  await load(['198.51.100.0/24', ttl(0, 5)], ['198.51.100.0/24', ttl(100, 200)], ['198.51.100.7', ttl(64, 64)])
  const from = (source: string, hops: number) => frame(p.ipv4({ source, ttl: hops }), p.udp())
  expect(
    await reasonsOf(
      from('198.51.100.7', 64),
      from('198.51.100.8', 64),
      from('198.51.100.8', 5),
      from('198.51.100.7', 150),
    ),
  ).toEqual(['blocklist', 'default-pass', 'blocklist', 'blocklist'])
})

test('an entry that observes hides no entry that drops, counts once a list, and has a reason and a counter', async () => {
  const observe: Scope = { ...ANY, action: 'observe' }
  const state = policy(
    'pass',
    allow('office', '198.51.100.9'),
    block(
      'seen',
      ['198.51.100.0/24', observe],
      ['198.51.100.0/25', { ...matching({ ttl: { first: 0, last: 255 } }), action: 'observe' }],
    ),
    block('strict', ['198.51.100.0/24', scope(17)]),
  )
  await plane.loadState(state)
  const tcp = frame(p.ipv4({ source: '198.51.100.7' }), p.tcp())
  const udp = frame(p.ipv4({ source: '198.51.100.7' }), p.udp())
  const office = frame(p.ipv4({ source: '198.51.100.9' }), p.udp())
  const [first, second, third] = await plane.run([tcp, udp, office].map((one) => ({ frame: one })))
  expect(first).toMatchObject({ verdict: 'pass', explanation: { reason: 'observed', list: 1 } })
  expect(second).toMatchObject({ verdict: 'drop', explanation: { reason: 'blocklist', list: 2 } })
  expect(third).toMatchObject({ verdict: 'pass', explanation: { reason: 'allowlist', list: 0 } })
  await plane.reset(1, [0, 1, 2])
  await plane.attachTestRuns(1)
  await plane.run(
    [tcp, udp, office].map((one) => ({ frame: one })),
    'filter',
  )
  await plane.attachTestRuns(0)
  const count = (...frames: readonly Uint8Array[]) => ({
    packets: frames.length,
    bytes: frames.reduce((sum, { length }) => sum + length, 0),
  })
  expect(await plane.observed([0, 1, 2])).toEqual([count(), count(tcp, udp), count()])
  expect(await plane.lists([0, 1, 2])).toEqual([count(office), count(), count(udp)])
})

test('a list that observes counts its sources, those of IPv6 by networks of 64 bits', async () => {
  const observe: Scope = { ...ANY, action: 'observe' }
  await plane.loadState(policy('pass', block('seen', ['198.51.0.0/16', observe], ['2001:db8::/32', observe])))
  await plane.reset(1, [0])
  await plane.attachTestRuns(1)
  const four = Array.from({ length: 400 }, (_, i) => `198.51.${100 + (i >> 8)}.${i & 255}`)
  const six = Array.from({ length: 40 }, (_, i) => `2001:db8:0:${i % 10}::${i}`)
  const frames = [
    ...four.flatMap((source) => [0, 1].map(() => frame(p.ipv4({ source }), p.udp()))),
    ...six.map((source) => frame(p.ipv6({ source }), p.udp())),
  ]
  await plane.run(
    frames.map((one) => ({ frame: one })),
    'filter',
  )
  await plane.attachTestRuns(0)
  expect(await plane.observed([0])).toMatchObject([{ packets: 840 }])
  // The standard error is 6.5 %.
  const [ranks = new Uint8Array()] = await plane.valuesAt('observe_sources', [0])
  const estimate = distinctSources(ranks)
  expect(Math.abs(estimate / 410 - 1)).toBeLessThan(0.26)
})
