// Messages of the control socket: what a build writes it also reads, and damaged or foreign messages are refused.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isPrivate } from '../../src/kernel/host/control.ts'
import type { Address } from '../../src/model/address.ts'
import type { BanOrder, BanOutcome } from '../../src/model/ban.ts'
import { decodeAnswer, decodeMessage, encodeAnswer, encodeMessage } from '../../src/model/ban-wire.ts'
import type { Guarded } from '../../src/model/contact.ts'
import { type Prefix, parseAddress, parsePrefix } from '../../src/model/text.ts'

const PREFIXES = ['192.0.2.1', '10.0.0.0/8', '0.0.0.0/0', '2001:db8::1', '2001:db8::/32', '::/0']
const prefix = fc.constantFrom(...PREFIXES).map((text) => parsePrefix(text) as Prefix)
const request = fc.oneof(
  fc.record({ op: fc.constant('add' as const), prefix, ttlMs: fc.integer({ min: 0, max: 1e11 }) }),
  fc.record({ op: fc.constant('remove' as const), prefix, ttlMs: fc.constant(0) }),
)
const label = fc.constantFrom('', 'jail sshd', 'ü "quoted" \\')
const message = fc.record({
  orders: fc
    .record({
      requests: fc.array(request, { minLength: 1, maxLength: 20 }),
      labels: fc.record({ reason: label, by: label }),
      allowed: fc.record({
        all: fc.boolean(),
        kinds: fc.subarray<Guarded>(['ssh', 'gateway', 'dns']),
        prefixes: fc.array(prefix, { maxLength: 2 }),
      }),
      peers: fc.constantFrom([], [parseAddress('192.0.2.7') as Address]),
    })
    .map(({ requests, ...common }): BanOrder[] => requests.map((one) => ({ ...one, ...common }))),
  netns: fc.constantFrom(undefined, 1n, 4026531840n),
  until: fc.constantFrom(undefined, 123_456),
})

const outcome: fc.Arbitrary<BanOutcome> = fc.oneof(
  fc
    .constantFrom('added', 'refreshed', 'removed', 'absent', 'full', 'no-memory')
    .map((result) => ({ result }) as BanOutcome),
  fc.constant({
    result: 'refused',
    reasons: [{ code: 'E227', message: 'this would cut the default gateway', hint: 'allow it' }],
  } as const),
)

test('a message is read as it was written', () => {
  fc.assert(
    fc.property(message, (one) => {
      expect(decodeMessage(encodeMessage(one))).toEqual(one)
    }),
  )
})

test('an answer is read as it was written, and only for its number of requests', () => {
  fc.assert(
    fc.property(fc.array(outcome), (outcomes) => {
      const line = encodeAnswer({ outcomes })
      expect(decodeAnswer(line, outcomes.length)).toEqual({ outcomes })
      expect(decodeAnswer(line, outcomes.length + 1)).toBeUndefined()
    }),
  )
  const error = { code: 'E116', message: 'no policy', hint: 'apply' }
  expect(decodeAnswer(encodeAnswer({ error }), 1)).toEqual({ error })
})

test('no line makes the reader throw', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (line) => void [decodeMessage(line), decodeAnswer(line, 1)]))
})

test('other programs find the reasons of a refusal under protects, as before', () => {
  const reasons = [{ code: 'E227', message: 'this would cut the default gateway', hint: 'allow it' }] as const
  expect(JSON.parse(encodeAnswer({ outcomes: [{ result: 'refused', reasons }] }))).toEqual({
    version: 1,
    results: [{ result: 'refused', protects: ['this would cut the default gateway'], reasons }],
  })
  // An older daemon gives no reasons with codes: the command then judges the ban itself.
  expect(decodeAnswer('{"version":1,"results":[{"result":"refused","protects":["x"]}]}', 1)).toBeUndefined()
})

describe('a message is refused', () => {
  const ban = { op: 'ban', prefix: '192.0.2.1' }
  test.each([
    ['without a version', { requests: [ban] }, /version/],
    ['of another version', { version: 2, requests: [ban] }, /version/],
    ['without requests', { version: 1 }, /requests/],
    ['with too many requests', { version: 1, requests: Array.from({ length: 4097 }, () => ban) }, /4096/],
    ['with an unknown op', { version: 1, requests: [{ ...ban, op: 'flush' }] }, /op/],
    ['with host bits', { version: 1, requests: [{ ...ban, prefix: '10.0.0.1/8' }] }, /10\.0\.0\.1\/8/],
    ['with a mapped address', { version: 1, requests: [{ ...ban, prefix: '::ffff:192.0.2.1' }] }, /not an address/],
    ['with a negative time', { version: 1, requests: [{ ...ban, ttl: -1 }] }, /ttl/],
    ['with a time of eleven years', { version: 1, requests: [{ ...ban, ttl: 11 * 365 * 86_400 }] }, /ttl/],
    ['with a label that is too long', { version: 1, by: 'x'.repeat(24), requests: [ban] }, /by/],
    ['with a control character', { version: 1, reason: 'a\u0000', requests: [ban] }, /reason/],
    ['with a word that names no peer', { version: 1, allow: ['ftp'], requests: [ban] }, /"ftp", neither/],
    ['with words that are no texts', { version: 1, allow: [22], requests: [ban] }, /allow/],
    ['with a peer that is no address', { version: 1, peers: ['gateway'], requests: [ban] }, /peers/],
    ['with a namespace that is no number', { version: 1, netns: 1, requests: [ban] }, /netns/],
  ])('%s', (_, value, expected) => expect(decodeMessage(JSON.stringify(value))).toMatch(expected))
})

test.each([
  [0o40700, 0, true],
  [0o40711, 0, false],
  [0o40750, 0, false],
  [0o40700, 1000, false],
])('mode %o of user %i makes a private directory: %j', (mode, uid, expected) =>
  expect(isPrivate({ mode, uid }, 0)).toBe(expected),
)
