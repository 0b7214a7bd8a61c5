// Bans in the loaded program: precedence, prefixes of every length in both families, expiry; and the changes that
// ban_write, ban_sweep and ban_count make to the maps.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { coversAddress } from '../../src/model/ban.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { formatAddress, formatRange, prefixOf } from '../../src/model/text.ts'
import { judge } from '../../src/semantics/judge.ts'
import { type Banning, type Bans, bansOf, parse } from '../support/bans.ts'
import { DataPlane, slotsOf } from '../support/bpf.ts'
import { SEED } from '../support/depth.ts'
import { allow, block, policy } from '../support/lists.ts'
import { factsOf } from '../support/model.ts'
import { ethernet, hopByHop, icmpv6, ipv4, ipv6, type Layer, packet, raw, udp } from '../support/packets.ts'
import { randomFrom } from '../support/random.ts'

const SLOT = 3

let plane: DataPlane
let bans: Bans
beforeEach(async () => {
  plane = await DataPlane.open()
  bans = bansOf(plane)
})
afterEach(() => plane.close())

const from = (source: string): Layer => (source.includes(':') ? ipv6({ source }) : ipv4({ source }))
const frame = (...layers: readonly Layer[]): Uint8Array => packet(ethernet(), ...layers)

const LISTS = [
  allow('friends', '198.51.100.0/25', '2001:db8:1::/48'),
  block('enemies', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32'),
]
const BANS: readonly Banning[] = [
  { prefix: '198.51.100.7' },
  { prefix: '198.51.100.200' },
  { prefix: '192.0.2.0/25' },
  { prefix: '10.0.0.0/8', ttlMs: 60_000 },
  { prefix: '2001:db8:1::7' },
  { prefix: '2001:db8:2::/64' },
  { prefix: '2001:dc0::/29' },
  { prefix: 'fe80::1' },
]
const bansHold = (prefixes: readonly string[], source: Uint32Array): boolean =>
  prefixes.some((text) => coversAddress(parse(text), source))

/** Name, packet, reason under default pass, and under default drop if it differs. */
const TABLE: readonly (readonly [name: string, frame: Uint8Array, pass: string, drop?: string])[] = [
  ['an allowed address', frame(from('198.51.100.7'), udp()), 'allowlist'],
  ['an allowed IPv6 address', frame(from('2001:db8:1::7'), udp()), 'allowlist'],
  ['a blocked and banned address', frame(from('198.51.100.200'), udp()), 'ban'],
  ['its neighbour', frame(from('198.51.100.201'), udp()), 'blocklist'],
  ['a blocked address without a ban', frame(from('203.0.113.1'), udp()), 'blocklist'],
  ['the first address of a prefix', frame(from('192.0.2.0'), udp()), 'ban'],
  ['the last address of a prefix', frame(from('192.0.2.127'), udp()), 'ban'],
  ['the address behind that prefix', frame(from('192.0.2.128'), udp()), 'default-pass', 'default-drop'],
  ['an address banned until a time', frame(from('10.255.255.255'), udp()), 'ban'],
  ['the address behind that one', frame(from('11.0.0.0'), udp()), 'default-pass', 'default-drop'],
  ['an IPv6 prefix', frame(from('2001:db8:2:0:ffff::'), udp()), 'ban'],
  ['the address behind that IPv6 prefix', frame(from('2001:db8:2:1::'), udp()), 'blocklist'],
  ['a short IPv6 prefix', frame(from('2001:dc7:ffff::'), udp()), 'ban'],
  ['neighbour discovery from a banned address', frame(from('fe80::1'), icmpv6(135)), 'ban'],
  ['a banned address with a truncated header', frame(from('192.0.2.1'), { ...raw(4), protocol: 6 }), 'ban'],
  [
    'a banned address behind nine extension headers',
    frame(from('fe80::1'), ...Array.from({ length: 9 }, () => hopByHop()), udp()),
    'ban',
  ],
  [
    'the IPv4-mapped form of a banned address as an IPv6 source',
    frame(from('::ffff:192.0.2.1'), udp()),
    'default-pass',
    'default-drop',
  ],
]

test.each(['pass', 'drop'] as const)('allow beats ban beats block beats default %s', async (verdict) => {
  const state = policy(verdict, ...LISTS)
  await plane.loadState(state)
  await bans.ban(...BANS)
  const expected = TABLE.map(([name, , pass, drop = pass]) => [name, verdict === 'pass' ? pass : drop])
  const outcomes = await plane.run(TABLE.map(([, bytes]) => ({ frame: bytes })))
  expect(outcomes.map(({ explanation }, i) => [TABLE[i]?.[0], explanation?.reason])).toEqual(expected)
  const prefixes = BANS.map(({ prefix }) => prefix)
  const judged = TABLE.map(([name, bytes]) => {
    const facts = factsOf(bytes)
    return [name, judge(state, facts, { banned: facts.kind === 'ip' && bansHold(prefixes, facts.source) }).reason]
  })
  expect(judged).toEqual(expected)
})

test('a banned packet counts as ban, and for no blocklist that contains it', async () => {
  const state = policy('pass', ...LISTS)
  const slots = [...slotsOf(state).values()]
  await plane.loadState(state)
  await bans.ban(...BANS)
  await plane.reset(SLOT, slots)
  await plane.attachTestRuns(SLOT)
  const banned = frame(from('198.51.100.200'), udp())
  const [outcome] = await plane.run([{ frame: banned }], 'filter')
  await plane.attachTestRuns(0)
  expect(outcome?.verdict).toBe('drop')
  expect(await plane.reasons(SLOT)).toEqual({ ban: { packets: 1, bytes: banned.length } })
  expect((await plane.lists(slots)).every(({ packets }) => packets === 0)).toBe(true)
})

test('an expired ban has no effect even before its removal, and a longer one around it holds', async () => {
  await plane.loadState(policy('pass'))
  await bans.ban({ prefix: '192.0.2.1', ttlMs: 1 }, { prefix: '192.0.2.2', ttlMs: 1 }, { prefix: '192.0.2.2/31' })
  const reasons = async (): Promise<unknown[]> => {
    const runs = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map((source) => ({ frame: frame(from(source), udp()) }))
    return (await plane.run(runs)).map(({ explanation }) => explanation?.reason)
  }
  // The data plane's clock moves with the timer.
  await expect.poll(reasons, { interval: 10 }).toEqual(['default-pass', 'ban', 'ban'])
  expect(await bans.state()).toMatchObject({ entries: 3, live: 1 })
  await bans.sweep()
  expect(await bans.state()).toMatchObject({ entries: 1, live: 1, next_expiry: 0n })
  expect(await reasons()).toEqual(['default-pass', 'ban', 'ban'])
})

test('requests report their results, and prefix lengths come and go', async () => {
  await plane.loadState(policy('pass'))
  expect(await bans.state()).toMatchObject({ places4: 0, places6: 0, entries: 0 })
  expect(
    await bans.ban({ prefix: '192.0.2.1' }, { prefix: '192.0.2.1', ttlMs: 1000 }, { prefix: '2001:db8::/32' }),
  ).toEqual(['added', 'refreshed', 'added'])
  expect(await bans.state()).toMatchObject({ places4: 1, places6: 1, entries: 2, live: 2 })
  expect(await bans.unban('192.0.2.1', '192.0.2.0/24', '2001:db8::/32')).toEqual(['removed', 'absent', 'removed'])
  expect(await bans.state()).toMatchObject({ places4: 0, places6: 0, entries: 0, live: 0 })
})

/** The next address, wrapping at the end of the address space. */
function next(address: Uint32Array): Uint32Array {
  const words = address.slice()
  for (let word = words.length - 1; word >= 0; word--) {
    words[word] = (words[word] as number) + 1
    if (words[word] !== 0) break
  }
  return words
}

test(`random prefixes of every length match packets around their edges, seed ${SEED}`, async () => {
  const random = randomFrom(SEED)
  await plane.loadState(policy('pass'))
  const words = (count: number): Uint32Array => Uint32Array.from({ length: count }, () => random.below(2 ** 32))
  const prefixes = Array.from({ length: 160 }, (_, i) => {
    const family = i < 32 ? 4 : 6
    const length = family === 4 ? i + 1 : i - 31
    const { start } = prefixOf({ family, words: words(family === 4 ? 1 : 4) }, length)
    return `${formatAddress(family, start)}/${length}`
  })
  await bans.ban(...prefixes.map((prefix) => ({ prefix })))
  // A third is removed again, which frees places and leaves gaps.
  const lifted = prefixes.filter((_, i) => i % 3 === 0)
  await bans.unban(...lifted)
  const left = prefixes.filter((_, i) => i % 3 !== 0)
  const bounds = left.map((text) => parse(text))
  const runs = bounds.flatMap(({ family, start, end }) =>
    [start, end, next(end)].map((address) => ({
      source: address,
      frame: frame(from(formatRange(family, address, address)), udp()),
    })),
  )
  const outcomes = await plane.run(runs)
  const wrong = outcomes.flatMap(({ explanation }, i) => {
    const source = runs[i]?.source as Uint32Array
    const covering = bounds.filter((prefix) => coversAddress(prefix, source))
    const expected = covering.length > 0 ? 'ban' : 'default-pass'
    const lengths = covering.map(({ length }) => length)
    const known = covering.length === 0 || lengths.includes(explanation?.scope ?? -1)
    return explanation?.reason === expected && known
      ? []
      : [{ source: [...source], reason: explanation?.reason, expected }]
  })
  expect(wrong, `seed ${SEED}`).toEqual([])
})

test('a removal that names an author or a reason spares the bans of others', async () => {
  await plane.loadState(policy('pass'))
  await bans.ban({ prefix: '192.0.2.1' }, { prefix: '192.0.2.2' })
  expect(await bans.unbanOf({ by: 'another' }, '192.0.2.1')).toEqual(['absent'])
  expect(await bans.unbanOf({ reason: 'another' }, '192.0.2.1')).toEqual(['absent'])
  // A prefix of the right text is another text.
  expect(await bans.unbanOf({ by: 'tes' }, '192.0.2.1')).toEqual(['absent'])
  expect(await bans.unbanOf({ by: 'test', reason: 'another' }, '192.0.2.1')).toEqual(['absent'])
  expect(await bans.unbanOf({ by: 'test' }, '192.0.2.1', '192.0.2.9')).toEqual(['removed', 'absent'])
  expect(await bans.unbanOf({ by: 'test', reason: 'a test' }, '192.0.2.2')).toEqual(['removed'])
  expect(await bans.state()).toMatchObject({ entries: 0, places4: 0 })
})

test('an observed ban counts what it would drop and lets it go on, and a ban around it still drops', async () => {
  const lists = [allow('friends', '198.51.100.0/25'), block('enemies', '203.0.113.0/24')]
  const state = policy('pass', ...lists)
  await plane.loadState(state)
  const observe = true
  const observed = ['192.0.2.0/24', '198.51.100.0/24', '203.0.113.9', '2001:db8::/64', '10.0.0.0/8']
  await bans.ban(...observed.map((prefix) => ({ prefix, observe })), { prefix: '10.1.0.0/16' })
  const expected = [
    ['192.0.2.7', 'ban-observed'],
    ['192.0.3.7', 'default-pass'],
    ['198.51.100.7', 'allowlist'],
    ['203.0.113.9', 'blocklist'],
    ['2001:db8::7', 'ban-observed'],
    ['10.1.2.3', 'ban'],
    ['10.2.2.3', 'ban-observed'],
  ] as const
  const frames = expected.map(([source]) => frame(from(source), udp()))
  const outcomes = await plane.run(frames.map((bytes) => ({ frame: bytes })))
  expect(outcomes.map(({ explanation }, i) => [expected[i]?.[0], explanation?.reason])).toEqual(expected)
  expect(outcomes[0]?.explanation).toMatchObject({ scope: 24 })
  const judged = frames.map((bytes, i) => {
    const [, reason] = expected[i] as (typeof expected)[number]
    const source = expected[i]?.[0]
    return judge(state, factsOf(bytes), { banned: reason === 'ban', observed: source !== '192.0.3.7' }).reason
  })
  expect(judged).toEqual(expected.map(([, reason]) => reason))
  // Test runs count nothing, and packets of an interface count if nothing lets them pass before.
  expect(await bans.state()).toMatchObject({ observed_packets: 0n })
  await plane.reset(SLOT, [...slotsOf(state).values()])
  await plane.send(SLOT, frames)
  const sizes = [0, 3, 4, 6].map((i) => frames[i]?.length ?? 0)
  expect(await bans.state()).toMatchObject({
    observed_packets: 4n,
    observed_bytes: BigInt(sizes.reduce((sum, size) => sum + size, 0)),
  })
  expect(await plane.reasons(SLOT)).toMatchObject({ 'ban-observed': { packets: 3 }, ban: { packets: 1 } })
  // Banned again without it, a prefix is enforced.
  expect(await bans.ban({ prefix: '192.0.2.0/24' })).toEqual(['refreshed'])
  const [again] = await plane.run([{ frame: frames[0] as Uint8Array }])
  expect(again?.explanation?.reason).toBe('ban')
})

test('bans that yield fill seven eighths of the table, and the rest is for others; bans that are over make room', async () => {
  const size = 32
  await plane.loadState({ ...policy('pass'), policy: { ...DEFAULT_POLICY, bans: size } })
  const own = Array.from({ length: size }, (_, i) => ({ prefix: `192.0.2.${i}`, ttlMs: i < 2 ? 2000 : 0 }))
  const results = await bans.banYielding(...own)
  expect(results.filter((result) => result === 'added')).toHaveLength(28)
  expect(results.slice(28)).toEqual(['full', 'full', 'full', 'full'])
  expect(await bans.banYielding({ prefix: '192.0.2.9' })).toEqual(['refreshed'])
  const others = Array.from({ length: 5 }, (_, i) => ({ prefix: `198.51.100.${i}` }))
  expect(await bans.ban(...others)).toEqual(['added', 'added', 'added', 'added', 'full'])
  await bans.unban('198.51.100.0', '198.51.100.1', '198.51.100.2')
  expect(await bans.banYielding({ prefix: '203.0.113.1' })).toEqual(['full'])
  await expect.poll(async () => (await bans.state()).live, { interval: 10 }).toBe(27)
  // The two that are over leave the table, which is then as full as such bans may make it.
  expect(await bans.banYielding({ prefix: '203.0.113.1' }, { prefix: '203.0.113.2' })).toEqual(['added', 'full'])
})

test('a ban that yields replaces bans of its author, except one that drops by one that observes, and says whether it enforces', async () => {
  await plane.loadState(policy('pass'))
  const [prefix, over] = ['192.0.2.1', '192.0.2.2']
  const observe = true
  expect(await bans.banYielding({ prefix, observe }, { prefix, observe }, { prefix }, { prefix })).toEqual([
    'added',
    'refreshed',
    'enforced',
    'refreshed',
  ])
  expect(await bans.banYielding({ prefix, observe })).toEqual(['kept'])
  const [judged] = await plane.run([{ frame: frame(from(prefix), udp()) }])
  expect(judged?.explanation?.reason).toBe('ban')
  expect(await bans.ban({ prefix })).toEqual(['refreshed'])
  expect(await bans.banYielding({ prefix })).toEqual(['kept'])
  // Of a ban that is over, nothing stays, and a ban in its place is a new one.
  await bans.ban({ prefix: over, ttlMs: 200 })
  await expect.poll(async () => (await bans.state()).live, { interval: 10 }).toBe(1)
  expect(await bans.banYielding({ prefix: over })).toEqual(['added'])
  expect(await bans.state()).toMatchObject({ entries: 2, live: 2 })
})

test('a ban unless the prefix is banned replaces none that is in force', async () => {
  await plane.loadState(policy('pass'))
  const [known, over, free] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'] as const
  await bans.ban({ prefix: known, observe: true }, { prefix: over, ttlMs: 200 })
  await expect.poll(async () => (await bans.state()).live, { interval: 10 }).toBe(1)
  const unlessBanned = true
  expect(await bans.ban(...[known, over, free, free].map((prefix) => ({ prefix, unlessBanned })))).toEqual([
    'kept',
    'added',
    'added',
    'kept',
  ])
  const [judged] = await plane.run([{ frame: frame(from(known), udp()) }])
  expect(judged?.explanation?.reason).toBe('ban-observed')
  expect(await bans.state()).toMatchObject({ entries: 3, live: 3 })
})

test('of two bans by one author that yield, the one that ends later stands, and says that it replaced another reason', async () => {
  await plane.loadState(policy('pass'))
  const prefix = '192.0.2.1'
  const [short, long] = [
    { prefix, ttlMs: 60_000, reason: 'short' },
    { prefix, ttlMs: 3_600_000, reason: 'long' },
  ]
  expect(await bans.banYielding(short, long, short, long)).toEqual(['added', 'replaced', 'kept', 'refreshed'])
  expect(await bans.banYielding({ ...long, reason: 'another' })).toEqual(['replaced'])
  const forever = { prefix, reason: 'for ever' }
  expect(await bans.banYielding(forever, long, forever)).toEqual(['replaced', 'kept', 'refreshed'])
  expect(await bans.banYielding({ ...forever, observe: true, reason: 'observed' })).toEqual(['kept'])
  expect(await bans.state()).toMatchObject({ entries: 1, live: 1 })
})
