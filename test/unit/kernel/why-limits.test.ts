import { expect, test } from 'vitest'
import { type Explanation, NO_SLOT, TEST_RUN_LIMIT, type TestRun } from '../../../src/abi/generated.ts'
import { PLACES } from '../../../src/abi/place.ts'
import { ownSources } from '../../../src/kernel/report/rate-status.ts'
import { limitsOf, usedOf } from '../../../src/kernel/report/why-limits.ts'
import { ranges, scope } from '../../support/lists.ts'
import { address } from '../../support/services.ts'
import { rateLimit, state } from '../../support/states.ts'

const source = address('192.0.2.9')
const { ingress } = PLACES.ethernet
const explained = (rate_limit: number, rate_used: number): Explanation => ({
  ...{ verdict: 2, reason: 0, class: 0, list: 0xffff, scope: 0xffff, service: NO_SLOT, backend: NO_SLOT },
  ...{ rate_limit, rate_used },
})

const LIMITS = [
  rateLimit('u', { scope: scope(17) }),
  rateLimit('neg', { scope: scope('icmp'), position: 1 }),
  rateLimit('watched', { scope: scope('icmp'), position: 2, action: 'observe' }),
  rateLimit('whole', { position: 3 }),
]

test('limits that count only other packets of a question than the one with the verdict are there too', () => {
  const found = (protocol?: number) =>
    limitsOf(state({ rateLimits: LIMITS }), { source, protocol }, ingress, {}, undefined).map(
      ({ name, counts, packets }) => `${name} ${counts} ${packets}`,
    )
  expect(found()).toEqual(['u some udp', 'neg others icmp', 'watched others icmp', 'whole every any'])
  expect(found(17)).toEqual(['u every udp', 'whole every any'])
  expect(found(1)).toEqual(['neg every icmp', 'watched every icmp', 'whole every any'])
})

test('the range that makes a source one of the limit is named, and counted, whether or not it is in a list', () => {
  const sources = { v4: ranges(4, ['192.0.2.0/25', '198.51.100.0/24']), v6: ranges(6, ['2001:db8::/48']) }
  const named = rateLimit('lab', { sources })
  const sourceOf = (packet: string) =>
    limitsOf(state({ rateLimits: [named] }), { source: address(packet) }, ingress, {}, undefined).map(
      (limit) => limit.source?.prefix,
    )
  expect(sourceOf('192.0.2.9')).toEqual(['192.0.2.0/25'])
  expect(sourceOf('2001:db8::1')).toEqual(['2001:db8::/48'])
  expect(sourceOf('203.0.113.1')).toEqual([])
  expect(ownSources(sources)).toEqual({ sources: 3 })
  expect([ownSources('list'), ownSources(undefined)]).toEqual([{}, {}])
})

test('each limit that counts the packet is asked about once, whatever the number of interfaces', async () => {
  const live = {
    state: state({ rateLimits: LIMITS }),
    slots: { rates: new Map(LIMITS.map(({ name }, at) => [name, at])) },
  }
  const asked: number[] = []
  const ask = (arrivals: readonly TestRun[]) => {
    const slots = arrivals.map(({ flags }) => (flags >> TEST_RUN_LIMIT) - 1)
    asked.push(...slots)
    return Promise.resolve(slots.map((slot) => ({ verdict: 'pass' as const, explanation: explained(slot, 0xffff) })))
  }
  const places = [PLACES.ethernet, PLACES.ethernet].map((place) => ({ ...place, explanation: explained(0, 0x8000) }))
  const used = await usedOf(live as unknown as Parameters<typeof usedOf>[0], { source, protocol: 17 }, places, ask)
  expect(asked).toEqual([3])
  expect([...used]).toEqual([
    ['u', { share: 0.5, exceeds: false }],
    ['whole', { share: 1, exceeds: true }],
  ])
})
