// Events of the bans that a daemon makes for rate limits.

import { expect, test } from 'vitest'
import type { BanOutcome } from '../../../src/model/ban.ts'
import type { Served } from '../../../src/model/live.ts'
import type { RateLimit } from '../../../src/model/rate-limit.ts'
import { compareBans, type LimitBan } from '../../../src/pipelines/limit-bans.ts'
import type { Host } from '../../../src/pipelines/session.ts'
import { renderEventJson } from '../../../src/render/watch.ts'
import type { WatchEvent } from '../../../src/report/watch.ts'
import { banOffenders } from '../../../src/watch/limit-bans.ts'
import { parse } from '../../support/bans.ts'
import { createClock } from '../../support/clock.ts'
import { scope } from '../../support/lists.ts'

const limitNamed = (name: string): LimitBan['limit'] => ({
  ...{ name, position: 0, scope: scope('any'), per: 'source', prefix: { v4: 32, v6: 64 } },
  ...{ packets: { perSecond: 1, burst: 1 }, action: 'drop', buckets: 1024 },
  ban: { forMs: 600_000, afterMs: 3000 },
})
const DNS = limitNamed('dns')

/** As many bans of a limit with one outcome. */
const bansOf = (limit: LimitBan['limit'], count: number, outcome: BanOutcome, net = '192.0.2'): LimitBan[] =>
  Array.from({ length: count }, (_, i) => ({ limit, prefix: parse(`${net}.${i}`), outcome }))

const messageOf = (event: WatchEvent): string =>
  (JSON.parse(renderEventJson(event, { time: new Date(0), repeated: 0 })) as { message: string }).message

/** The messages of one look that made these bans. */
async function messagesOf(made: readonly LimitBan[]): Promise<string[]> {
  const clock = createClock()
  const events: WatchEvent[] = []
  const bans = banOffenders({} as Host, clock, (event) => events.push(event), { ban: async () => [...made] })
  const slots = { rates: new Map([['dns', 0]]) }
  const rateLimits = new Map<string, RateLimit>([['dns', DNS]])
  bans.follow({ generation: 1, slots, rateLimits } as unknown as Served)
  await clock.pass(1000)
  await bans.stop()
  return events.flatMap((event) =>
    event.event === 'warning' ? event.warnings.map(({ message }) => message) : [messageOf(event)],
  )
}

test('one warning names the first sources that a limit cannot ban for one reason, and counts all others', async () => {
  expect(await messagesOf(bansOf(DNS, 256, { result: 'full' }))).toEqual([
    'rate limit dns did not ban 192.0.2.0, 192.0.2.1, 192.0.2.2 and 253 others: 7/8 of the table of bans are taken, and the rest is kept for other bans',
  ])
})

test('many reasons are three warnings, of which the last one counts the bans that the others are about', async () => {
  const refused = (message: string): BanOutcome => ({
    result: 'refused',
    reasons: [{ code: 'E229', message, hint: '' }],
  })
  const messages = await messagesOf([
    ...bansOf(DNS, 2, { result: 'added' }),
    ...['a', 'b', 'c', 'd', 'e'].flatMap((reason) => bansOf(DNS, 2, refused(reason), '198.51.100')),
  ])
  expect(messages).toEqual([
    'rate limit dns: banned 192.0.2.0, 192.0.2.1 for 10 min',
    'rate limit dns did not ban 198.51.100.0, 198.51.100.1: a',
    'rate limit dns did not ban 198.51.100.0, 198.51.100.1: b',
    'rate limit dns did not ban 198.51.100.0, 198.51.100.1: c; 4 bans more for similar reasons',
  ])
})

test('bans that replace observed ones are reported like new ones, and bans that stay or last longer are not', async () => {
  const messages = await messagesOf([
    ...bansOf(DNS, 1, { result: 'enforced' }),
    ...bansOf(DNS, 2, { result: 'refreshed' }, '198.51.100'),
    ...bansOf(DNS, 2, { result: 'kept' }, '203.0.113'),
  ])
  expect(messages).toEqual(['rate limit dns: banned 192.0.2.0 for 10 min'])
})

test('a ban that replaces a shorter one of another limit is reported', async () => {
  expect(await messagesOf(bansOf(DNS, 1, { result: 'replaced' }))).toEqual([
    'rate limit dns: banned 192.0.2.0 for 10 min',
  ])
})

test('of limits that report one source, the one whose ban stands is the first', () => {
  const [short, long] = [DNS, { ...DNS, name: 'long', ban: { forMs: 86_400_000, afterMs: 3000 } }]
  const observing = { ...long, name: 'observing', action: 'observe' as const }
  expect([observing, short, long].toSorted(compareBans)).toEqual([long, short, observing])
})
