// Bans without a kernel: parsing, addresses that a ban must not cover, and rendering.

import { describe, expect, test } from 'vitest'
import { parseTtl, readBanned, readLabels, readTtl } from '../../src/commands/verbs/ban-words.ts'
import { XdpError } from '../../src/diagnostics.ts'
import { sshPeers } from '../../src/kernel/host/protect.ts'
import { banKey, encodeRequests } from '../../src/kernel/live/ban-write.ts'
import { type Ban, type BanOrder, coversAddress, parseBanned } from '../../src/model/ban.ts'
import { NO_ALLOWED_CUTS } from '../../src/model/contact.ts'
import { type Prefix, parseAddress, parsePrefix } from '../../src/model/text.ts'
import { sparedIn } from '../../src/pipelines/ban-spared.ts'
import { renderBanReport, renderBans, renderBansJson } from '../../src/render/bans.ts'
import { formatDuration } from '../../src/render/duration.ts'
import { ANY, list, scoped } from '../support/states.ts'

const prefix = (text: string): Prefix => parsePrefix(text) as Prefix

test.each([
  ['90s', 90_000],
  ['500ms', 500],
  ['1h', 3_600_000],
  ['7d', 604_800_000],
  ['2w', 1_209_600_000],
  ['3650d', 315_360_000_000],
  ['3651d', undefined],
  ['0s', undefined],
  ['5', undefined],
  ['-1s', undefined],
  ['1.5h', undefined],
  ['', undefined],
])('the duration %j parses as %j', (text, expected) => expect(parseTtl(text)).toBe(expected))

test.each([
  ['10.0.0.0/8', true],
  ['10.0.0.1/8', false],
  ['::ffff:192.0.2.1', false],
  ['::ffff:0:0/96', false],
  ['::/0', true],
  ['192.0.2.1-192.0.2.9', false],
  ['example.org', false],
])('%s can be banned: %j', (text, expected) => expect(parseBanned(text) !== undefined).toBe(expected))

test('rejects invalid words with a hint', async () => {
  await expect(readBanned(['10.0.0.1/8'])).rejects.toThrow(/E300.*after the first 8/)
  await expect(readBanned(['192.0.2.1-192.0.2.9'])).rejects.toThrow(/E300/)
  expect(() => readTtl({ ttl: 'soon', for: undefined })).toThrow(/E300.*--ttl "soon"/)
  expect(() => readTtl({ ttl: undefined, for: 'soon' })).toThrow(/E300.*--for "soon"/)
  expect(() => readTtl({ ttl: '1h', for: '1h' })).toThrow(/E300.*same flag/)
  expect(readTtl({ ttl: undefined, for: '10m' })).toBe(600_000)
  expect(() => readLabels({ reason: 'ü'.repeat(28), by: undefined })).toThrow(/--reason has 56 bytes/)
  expect(() => readLabels({ reason: undefined, by: 'a\nb' })).toThrow(/--by contains a control/)
  expect(readLabels({ reason: undefined, by: 'me' })).toEqual({ reason: '', by: 'me' })
})

test('names every invalid one of several addresses', async () => {
  const error = await readBanned(['192.0.2.1', 'nonsense', '2001:db8::/32', '192.0.2.7/24']).catch((thrown) => thrown)
  expect(error).toBeInstanceOf(XdpError)
  expect((error as XdpError).diagnostics).toMatchObject([
    { code: 'E300', message: expect.stringContaining('nonsense') },
    { code: 'E300', message: expect.stringContaining('192.0.2.7/24') },
  ])
  expect(await readBanned(['192.0.2.1', '2001:db8::/32'])).toEqual([prefix('192.0.2.1'), prefix('2001:db8::/32')])
})

test('a prefix covers only addresses of its family', () => {
  const covers = (text: string, address: string): boolean =>
    coversAddress(prefix(text), parseAddress(address)?.words as Uint32Array)
  expect(covers('192.0.2.0/24', '192.0.2.255')).toBe(true)
  expect(covers('192.0.2.0/24', '192.0.3.0')).toBe(false)
  expect(covers('2001:db8::/33', '2001:db8:7fff::1')).toBe(true)
  expect(covers('2001:db8::/33', '2001:db8:8000::')).toBe(false)
  expect(covers('::/0', '192.0.2.1')).toBe(false)
})

test('keys hold the bits of a prefix from the top', () => {
  expect(banKey(prefix('192.0.2.0/24'))).toEqual({ high: 0xc0000200n << 32n, low: 0n, family: 4, length: 24 })
  expect(banKey(prefix('2001:db8::1'))).toEqual({ high: 0x20010db8n << 32n, low: 1n, family: 6, length: 128 })
})

test('a run has a header and two lines per request', () => {
  const labels = { reason: 'r', by: 'b' }
  const request: BanOrder = {
    op: 'add',
    prefix: prefix('192.0.2.1'),
    ttlMs: 1000,
    labels,
    allowed: NO_ALLOWED_CUTS,
    peers: [],
  }
  expect(encodeRequests([request, request], 1n, 1).length).toBe(64 + 2 * 128)
})

test('SSH peers are the remote ends of established connections to port 22; mapped addresses become IPv4', () => {
  const v4 = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 010200C0:0016 020200C0:D431 01 00000000:00000000 00:00000000 00000000     0        0 1 1',
    '   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1',
    '   2: 010200C0:01BB 030200C0:D431 01 00000000:00000000 00:00000000 00000000     0        0 1 1',
  ].join('\n')
  expect(sshPeers(v4).map(({ words }) => [...words])).toEqual([[0xc0000202]])
  const mapped =
    '   0: 0000000000000000FFFF0000010200C0:0016 0000000000000000FFFF0000020200C0:D431 01 0:0 0:0 0 0 0 1 1\n'
  expect(sshPeers(mapped).map(({ words }) => [...words])).toEqual([[0xc0000202]])
})

test.each([
  [1, '1 s'],
  [59_001, '1 min'],
  [72 * 60_000, '1 h 12 min'],
  [86_400_000 + 5000, '1 d'],
  [8 * 86_400_000, '1 w 1 d'],
])('%i ms are %s', (milliseconds, text) => expect(formatDuration(milliseconds)).toBe(text))

const BAN: Ban = {
  prefix: prefix('192.0.2.0/24'),
  since: Date.UTC(2026, 0, 2, 3, 4, 5),
  expires: Date.UTC(2026, 0, 2, 4, 4, 5),
  ttlLeft: 1_799_500,
  observe: false,
  by: 'fail2ban',
  reason: 'jail \u001b[31msshd',
}

test('lists bans as a table without control characters, and as JSON', () => {
  const text = renderBans([BAN, { ...BAN, prefix: prefix('::1'), expires: undefined, ttlLeft: undefined }], false)
  expect(text).toContain('192.0.2.0/24  30 min        2026-01-02T03:04:05Z  fail2ban  jail \ufffd[31msshd')
  expect(text).toContain('::1           until lifted')
  expect(renderBans([BAN, { ...BAN, observe: true }], false)).toMatch(/ACTION .*\n.* drop .*\n.* observe /)
  expect(renderBans([], false)).toBe('No bans.\n')
  expect(JSON.parse(renderBansJson([BAN]))).toMatchObject({
    format_version: '1.0',
    bans: [
      {
        address: '192.0.2.0',
        prefix: '192.0.2.0/24',
        expires: '2026-01-02T04:04:05.000Z',
        ttl_left: 1800,
        action: 'drop',
      },
    ],
  })
})

test('a report is one sentence', () => {
  const none = {
    added: 0,
    refreshed: 0,
    removed: 0,
    absent: 0,
    rejected: 0,
    refused: 0,
    failed: 0,
    errors: [],
    warnings: [],
  }
  expect(renderBanReport(none)).toBe('Nothing changed.\n')
  expect(renderBanReport({ ...none, added: 1204, refreshed: 1 })).toBe('Banned 1,204 prefixes, refreshed 1 ban.\n')
  expect(renderBanReport({ ...none, absent: 1 })).toBe('There was no such ban.\n')
})

describe('an allowlist that beats a ban', () => {
  const ssh = { protocol: 6, sourcePorts: [], destinationPorts: [{ first: 22, last: 22 }] } as const
  const lists = [
    list('allowlist', 'office', scoped(ANY, '192.0.2.16/28', '192.0.2.64/26', '2001:db8::/32')),
    list('allowlist', 'admins', scoped(ssh, '10.1.0.0/16')),
    list('blocklist', 'bad', scoped(ANY, '203.0.113.0/24')),
  ]
  const state = { lists: new Map(lists.map((one) => [one.name, one])) }

  test.each([
    ['192.0.2.15', []],
    ['192.0.2.16', ['office any 192.0.2.16 whole']],
    ['192.0.2.31', ['office any 192.0.2.31 whole']],
    ['192.0.2.32', []],
    ['192.0.2.20/30', ['office any 192.0.2.20/30 whole']],
    ['192.0.2.0/24', ['office any 192.0.2.16/28']],
    ['192.0.2.32/27', []],
    ['192.0.2.128/25', []],
    ['0.0.0.0/0', ['admins tcp dport 22 10.1.0.0/16', 'office any 192.0.2.16/28']],
    ['10.1.2.3', ['admins tcp dport 22 10.1.2.3']],
    ['203.0.113.9', []],
    ['2001:db8:1::/48', ['office any 2001:db8:1::/48 whole']],
    ['2001:db9::1', []],
    ['2001:d00::/24', ['office any 2001:db8::/32']],
  ])('of %s: %j', (banned, expected) => {
    const found = sparedIn(state, prefix(banned)).map(
      ({ list: name, packets, addresses, isWhole }) => `${name} ${packets} ${addresses}${isWhole ? ' whole' : ''}`,
    )
    expect(found.sort()).toEqual(expected)
  })
})
