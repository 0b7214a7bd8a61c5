// The checks of doctor of the settings of TCP that SYN cookies depend on.
import { expect, test } from 'vitest'
import { checkSyn, checkTcp } from '../../../src/kernel/doctor/syn.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'

const SET_COOKIES = 'sysctl -w net.ipv4.tcp_syncookies=2'
const SET_TIMESTAMPS = 'sysctl -w net.ipv4.tcp_timestamps=2'

test.each([
  [undefined, 'fail', /without SYN cookies/, 'remove syn_protection'],
  [0, 'warn', /is 0, so no SYN is answered/, SET_COOKIES],
  [1, 'warn', /only while the queue of a socket is full/, SET_COOKIES],
  [2, 'ok', /whenever it is asked/, undefined],
] as const)('tcp_syncookies %s: %s', (cookies, level, message, fix) => {
  const [found] = checkTcp({ cookies, timestamps: 2 })
  expect(found).toMatchObject({ id: 'syn_protection.cookies', level, message: expect.stringMatching(message) })
  expect(found?.fix).toBe(fix)
})

test.each([
  [0, 'warn', /is 0, so connections by cookie have neither/, SET_TIMESTAMPS],
  [1, 'warn', /is 1, so connections by cookie have neither/, SET_TIMESTAMPS],
  [2, 'ok', /keep window scaling, SACK and ECN/, undefined],
] as const)('tcp_timestamps %s: %s', (timestamps, level, message, fix) => {
  const [, found] = checkTcp({ cookies: 2, timestamps })
  expect(found).toMatchObject({ id: 'syn_protection.options', level, message: expect.stringMatching(message) })
  expect(found?.fix).toBe(fix)
})

test.each([
  [undefined, undefined, undefined],
  [0, 'warn', 'sysctl -w net.netfilter.nf_conntrack_tcp_loose=1'],
  [1, 'ok', undefined],
] as const)('nf_conntrack_tcp_loose %s: %s', (loose, level, fix) => {
  const [, , found] = checkTcp({ cookies: 2, timestamps: 2, loose })
  expect([found?.level, found?.fix]).toEqual([level, fix])
})

test('without syn_protection the settings do not matter', async () => {
  expect(await checkSyn({ policy: DEFAULT_POLICY })).toEqual([])
  expect(await checkSyn({ policy: undefined })).toEqual([])
})
