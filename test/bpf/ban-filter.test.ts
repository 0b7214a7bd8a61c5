// The filter in front of the bans: no banned source gets past it, whatever was banned and lifted before, and it is filled
// again when it has bits of many lifted bans.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { BAN_REQUESTS } from '../../src/abi/generated.ts'
import { banMaps } from '../../src/features/bans.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { formatAddress, formatRange, prefixOf } from '../../src/model/text.ts'
import { type Bans, bansOf, parse } from '../support/bans.ts'
import { DataPlane } from '../support/bpf.ts'
import { SEED } from '../support/depth.ts'
import { policy } from '../support/lists.ts'
import { ethernet, ipv4, ipv6, packet, udp } from '../support/packets.ts'
import { randomFrom } from '../support/random.ts'

const SIZE = 1024
const LENGTHS = { 4: [32, 32, 32, 24, 9], 6: [128, 128, 64, 48, 127] } as const

let plane: DataPlane
let bans: Bans
beforeEach(async () => {
  plane = await DataPlane.open()
  bans = bansOf(plane)
  const state = policy('pass')
  await plane.loadState({ ...state, policy: { ...DEFAULT_POLICY, bans: SIZE } })
})
afterEach(() => plane.close())

const frame = (source: string): Uint8Array =>
  packet(ethernet(), source.includes(':') ? ipv6({ source }) : ipv4({ source }), udp())

/** The reasons for packets from the first address of each prefix. */
async function reasonsOf(prefixes: readonly string[]): Promise<(string | undefined)[]> {
  const runs = prefixes.map((text) => {
    const { family, start } = parse(text)
    return { frame: frame(formatRange(family, start, start)) }
  })
  return (await plane.run(runs)).map(({ explanation }) => explanation?.reason)
}

/** Bits that are set in each half of the filter. */
async function bits(): Promise<[number, number]> {
  const { entries } = banMaps(SIZE).filter
  const count = (lines: readonly Uint8Array[]): number =>
    lines.reduce(
      (sum, line) => sum + line.reduce((all, byte) => all + byte.toString(2).replaceAll('0', '').length, 0),
      0,
    )
  const lines = await plane.values('ban_filter', entries)
  return [count(lines.slice(0, entries / 2)), count(lines.slice(entries / 2))]
}

test(`no ban is missed after random bans and lifts, seed ${SEED}`, async () => {
  const random = randomFrom(SEED)
  const held = new Set<string>()
  const lifted = new Set<string>()
  const one = (): string => {
    const family = random.below(2) === 0 ? 4 : 6
    const words = Uint32Array.from({ length: family === 4 ? 1 : 4 }, () => random.below(2 ** 32))
    const length = LENGTHS[family][random.below(5)] as number
    return `${formatAddress(family, prefixOf({ family, words }, length).start)}/${length}`
  }
  for (let round = 0; round < 6; round++) {
    const fresh = Array.from({ length: 150 + random.below(150) }, one)
    await bans.ban(...fresh.map((prefix) => ({ prefix })))
    for (const prefix of fresh) held.add(prefix)
    const gone = [...held].filter(() => random.below(3) > 0)
    await bans.unban(...gone)
    for (const prefix of gone) {
      held.delete(prefix)
      lifted.add(prefix)
    }
    const missed = (await reasonsOf([...held])).filter((reason) => reason !== 'ban')
    expect(missed, `seed ${SEED}, round ${round}`).toEqual([])
    const { removed, entries } = await bans.state()
    expect([removed < SIZE / 4 + 256, entries]).toEqual([true, held.size])
  }
  await bans.unban(...held)
  expect(new Set(await reasonsOf([...held, ...lifted]))).toEqual(new Set(['default-pass']))
})

test('as many bans as one run of the program takes are made at once', async () => {
  const prefixes = Array.from({ length: BAN_REQUESTS }, (_, i) => `203.0.113.${i}`)
  await bans.ban(...prefixes.map((prefix) => ({ prefix })))
  expect(new Set(await reasonsOf(prefixes))).toEqual(new Set(['ban']))
  await bans.unban(...prefixes)
  expect(await bans.state()).toMatchObject({ entries: 0 })
})

test('bits of lifted bans are gone once a quarter of the table was lifted, and the other half is read', async () => {
  const addresses = Array.from({ length: SIZE / 2 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
  await bans.ban({ prefix: '192.0.2.1' }, ...addresses.map((prefix) => ({ prefix })))
  const [before] = await bits()
  expect(before).toBeGreaterThan(SIZE)
  expect(await bits()).toEqual([before, before])
  await bans.unban(...addresses)
  // The next writer notices how many were lifted.
  await bans.ban({ prefix: '192.0.2.1' })
  expect(await bans.state()).toMatchObject({ entries: 1, removed: 0, half: 1 })
  const [, read] = await bits()
  expect(read).toBeLessThanOrEqual(4)
  expect(await reasonsOf(['192.0.2.1/32', '10.0.0.1/32'])).toEqual(['ban', 'default-pass'])
})
