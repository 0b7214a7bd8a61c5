// Rate limits as lines of an image, and back.

import { expect, test } from 'vitest'
import { LINE_SIZE, RATE_FLAG, RATE_GROUPS, rateHeaderCodec, rateOffenderCodec } from '../../../src/abi/generated.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import { type RateLimit, rateMemory } from '../../../src/model/rate-limit.ts'
import type { Scope, State } from '../../../src/model/state.ts'
import { rulesOf } from '../../../src/tables/classes/rules.ts'
import { compileImage, decodeImage } from '../../../src/tables/image/image.ts'
import { type Image, imageBytes, imageFrom, ratesStart } from '../../../src/tables/layout/layout.ts'
import { candidatesOf } from '../../../src/tables/rates/candidates.ts'
import { offenderSetsOf, rateBucketLines, rateLinesOf, sameBuckets } from '../../../src/tables/rates/rates.ts'
import { SEED, usually } from '../../support/depth.ts'
import { scope } from '../../support/lists.ts'
import { randomFrom, randomLimits, randomState } from '../../support/random.ts'
import { withSourceLists } from '../../support/rate-sources.ts'
import { slotsFor } from '../../support/slots.ts'
import { rateLimit, state } from '../../support/states.ts'

const META = { generation: 1, netns: 1n, objectDigest: new Uint8Array(16) }
const compile = (wanted: State): Image => compileImage({ state: wanted, slots: slotsFor(wanted), meta: META })
const reread = (image: Image): Image => imageFrom(imageBytes(image))

test('random limits, beside random lists, decode to themselves', () => {
  const random = randomFrom(SEED)
  for (let round = 0; round < usually(60, { thoroughly: 1000 }); round++) {
    const rateLimits = randomLimits(random)
    const wanted = withSourceLists(random, { ...randomState(random), rateLimits })
    const decoded = decodeImage(reread(compile(wanted)))
    expect({ seed: SEED, limits: decoded.rateLimits }).toEqual({ seed: SEED, limits: wanted.rateLimits })
    expect({ seed: SEED, lists: decoded.lists }).toEqual({ seed: SEED, lists: new Map([...wanted.lists].sort()) })
    expect(decoded.slots.rates).toEqual(slotsFor(wanted).rates)
    expect(decoded.drifted).toEqual([])
  }
})

test('they lie behind the key of the hash and protected prefixes, which read back as they were', () => {
  const policy = {
    ...DEFAULT_POLICY,
    hash_key: '00112233445566778899aabbccddeeff',
    protect: ['10.0.0.0/8', '192.0.2.9'],
  }
  const image = reread(compile({ ...state({ rateLimits: [rateLimit('dns')] }), policy }))
  expect(ratesStart(image.sections.SETTINGS)).toBe(3)
  const { policy: found, rateLimits } = decodeImage(image)
  expect(found).toEqual(policy)
  expect([...rateLimits.keys()]).toEqual(['dns'])
})

test('without limits there are no lines of them, and one line of buckets', () => {
  const { sections } = compile(state({ policy: 'pass' }))
  expect(sections.SETTINGS).toHaveLength(0)
  expect(rateLinesOf(sections.SETTINGS)).toBe(1)
})

test('the state has room for a power of two of limits, so that most edits keep it', () => {
  const lines = (count: number, buckets = 1024): number => {
    const limits = Array.from({ length: count }, (_, i) => rateLimit(`limit-${i}`, { position: i, buckets }))
    const rateLimits = new Map(limits.map((one) => [one.name, one]))
    return rateBucketLines(rateLimits, new Map(limits.map(({ name }, i) => [name, i])))
  }
  expect([1, 2, 3, 4, 5, 64].map((count) => lines(count))).toEqual([1, 2, 4, 4, 8, 64].map((slots) => slots * 256 + 8))
  expect(sameBuckets(lines(1), lines(9))).toBe(true)
  expect(sameBuckets(lines(2, 1024), lines(1, 2048))).toBe(false)
})

const changed = (edit: (view: DataView, at: number) => void, limit: Partial<RateLimit> = {}): Image => {
  const bytes = imageBytes(compile(state({ policy: 'pass', rateLimits: [rateLimit('dns', limit)] })))
  const { directory, sections } = imageFrom(bytes)
  const at = (directory.SETTINGS.first + ratesStart(sections.SETTINGS)) * LINE_SIZE
  edit(new DataView(bytes.buffer), at)
  return imageFrom(bytes)
}

test('another rate, or another action, is drift', () => {
  const faster = changed((view, at) => view.setBigUint64(at + LINE_SIZE, 1n, true))
  expect(decodeImage(faster).drifted).toEqual(['rate_limit:dns'])
  const flags = LINE_SIZE + 53
  const observing = changed((view, at) => view.setUint8(at + flags, view.getUint8(at + flags) | RATE_FLAG.OBSERVE))
  expect(decodeImage(observing)).toMatchObject({ drifted: ['rate_limit:dns'] })
  expect(decodeImage(observing).rateLimits.get('dns')?.action).toBe('observe')
})

test('a limit is looked at only for packets of its protocols and ports', () => {
  const groupsOf = (...scopes: readonly Scope[]): number[][] => {
    const bits = candidatesOf(scopes.map((one) => rulesOf('blocklist', one, 0, 0, 0)))
    return scopes.map((_, i) => bits.flatMap((limits, group) => ((limits >> BigInt(i)) & 1n ? [group] : [])))
  }
  const [dns, dnsAndMore, tcp, any, icmp] = groupsOf(
    scope(17, { destination: [53] }),
    scope('any', { destination: [53] }),
    scope(6),
    scope('any'),
    scope('icmp'),
  )
  expect(dns).toHaveLength(1)
  expect(dnsAndMore).toHaveLength(2)
  expect(dnsAndMore).toContain(dns?.[0])
  expect(tcp).toHaveLength(65)
  expect(any).toHaveLength(RATE_GROUPS)
  expect(icmp).toHaveLength(2)
})

test('a limit that is no longer looked at is drift', () => {
  const blind = changed((view, at) => {
    const { candidates } = rateHeaderCodec.decode(view, at)
    for (let i = 0; i < RATE_GROUPS; i++) view.setBigUint64(at + candidates * LINE_SIZE + i * 8, 0n, true)
  })
  expect(decodeImage(blind).drifted).toEqual(['rate_limit:dns'])
})

test('lines that are not there are damage', () => {
  const many = changed((view, at) => view.setUint32(at, 65, true))
  expect(() => decodeImage(many)).toThrow(/rate limits are truncated/)
  const beyond = changed((view, at) => view.setUint32(at + LINE_SIZE + 48, 1000, true))
  expect(() => decodeImage(beyond)).toThrow(/rate limit 0/)
})

test('the memory of limits in a plan is that of their tables', () => {
  const random = randomFrom(SEED)
  for (let round = 0; round < 20; round++) {
    const wanted = { ...state({ policy: 'pass' }), rateLimits: randomLimits(random) }
    const slots = slotsFor(wanted).rates ?? new Map()
    const { sections } = compile(wanted)
    const places = offenderSetsOf(sections.SETTINGS)
    const bytes = rateLinesOf(sections.SETTINGS) * LINE_SIZE + (places > 1 ? places * 4 * rateOffenderCodec.size : 0)
    expect(Math.abs(bytes - rateMemory(wanted.rateLimits, slots))).toBeLessThan(64 * LINE_SIZE)
  }
})
