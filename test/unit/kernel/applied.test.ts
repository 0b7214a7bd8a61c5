// The records of the last apply against the state that a plan is for.

import { expect, test } from 'vitest'
import { appliedRecords } from '../../../src/kernel/observe/applied.ts'
import { MODE_NUMBERS } from '../../../src/kernel/observe/records.ts'
import { DEFAULT_POLICY } from '../../../src/model/policy.ts'
import type { DecodedImage } from '../../../src/tables/image/image.ts'
import { listDigest, policyDigest } from '../../../src/tables/lines/digest.ts'
import { ANY, list, scoped, state } from '../../support/states.ts'

const [one, two] = [list('blocklist', 'a', scoped(ANY, '192.0.2.1')), list('blocklist', 'b', scoped(ANY, '192.0.2.2'))]
const image = {
  roles: [['balance', 'filter'], ['filter']],
  recordedLists: new Map([
    ['a', listDigest(one)],
    ['b', listDigest(one)],
    ['c', listDigest(two)],
  ]),
  meta: { policy_digest: policyDigest(DEFAULT_POLICY) },
} as unknown as DecodedImage
const records = new Map([
  ['eth0', { name: 'eth0', slot: 1, mode: MODE_NUMBERS.generic }],
  ['eth1', { name: 'eth1', slot: 2, mode: 77 }],
])

test('have attachments with mode and roles, as far as the record is sound', () => {
  expect(appliedRecords(records, image, undefined, new Map())).toEqual({
    interfaces: new Map([['eth0', { interface: 'eth0', modes: ['generic'], roles: ['filter'] }]]),
    edited: new Map(),
  })
})

test('say of drifted lists and the policy whether the config has other content than the last apply', () => {
  const wanted = { ...state({ lists: [one, two] }), policy: { ...DEFAULT_POLICY, default: 'drop' as const } }
  expect(appliedRecords(records, image, wanted, new Map([['policy', 'changed']])).edited).toEqual(
    new Map([
      ['list:a', false],
      ['list:b', true],
      ['list:c', true],
      ['policy', true],
    ]),
  )
  const same = { ...wanted, policy: DEFAULT_POLICY }
  expect(appliedRecords(records, image, same, new Map([['policy', 'changed']])).edited.get('policy')).toBe(false)
  expect(appliedRecords(records, image, same, new Map()).edited.has('policy')).toBe(false)
})
