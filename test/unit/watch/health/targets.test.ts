// The targets of the monitor, from the state of each backend in the file; and comparing checks.

import { expect, test } from 'vitest'
import type { HealthCheck } from '../../../../src/model/health.ts'
import type { Backend, Service } from '../../../../src/model/service.ts'
import { parseAddress } from '../../../../src/model/text.ts'
import { isSameCheck } from '../../../../src/watch/health/same.ts'
import { targetsOf } from '../../../../src/watch/health/targets.ts'
import { check } from '../../../support/backends.ts'
import { http } from '../../../support/probes.ts'

const address = (text: string): Backend['address'] => parseAddress(text) as Backend['address']

const member = (text: string, more: Partial<Backend> = {}): Backend => ({
  address: address(text),
  port: 80,
  weight: 1,
  state: 'active',
  backup: false,
  mtu: undefined,
  nextHop: undefined,
  ...more,
})

const web = (...backends: readonly Backend[]): Service => ({
  name: 'web',
  vip: address('192.0.2.10'),
  ports: [{ first: 80, last: 80 }],
  protocols: ['tcp'],
  forwarding: 'nat',
  scheduler: 'maglev',
  hash: 'five_tuple',
  onEmpty: 'drop',
  snatPool: [],
  repliesFrom: 'route',
  guePort: 6080,
  outerSource: { v4: { address: address('172.16.0.0'), length: 16 }, v6: address('100::') },
  udpTimeout: 30,
  drainTimeout: undefined,
  mtu: undefined,
  sorry: undefined,
  backends,
})

test('draining backends are checked and take no new flows, disabled ones are not checked', () => {
  const backends = [
    member('10.0.0.1'),
    member('10.0.0.2', { weight: 0 }),
    member('10.0.0.3', { state: 'drain' }),
    member('10.0.0.4', { state: 'disabled' }),
    member('10.0.0.5'),
    member('2001:db8::1'),
  ]
  const checks = new Map(
    ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80', '10.0.0.4:80', '[2001:db8::1]:80'].map((key) => [key, check()]),
  )
  const gone = { service: 'web', backend: member('10.0.0.9'), deadline: 1 }
  const targets = targetsOf({
    services: [web(...backends), { ...web(), name: 'plain' }],
    health: new Map([['web', { minHealthy: { kind: 'share', value: 0.5 }, fallback: 'sorry', checks }]]),
    isReachable: ({ address: { words } }) => (words[0] as number) !== 0x0a000001,
    // A leaving backend of a removed service, and one that is back in the file.
    leaving: [gone, { ...gone, service: 'dns' }, { ...gone, backend: member('10.0.0.5') }],
  })
  expect([...targets.keys()]).toEqual(['web', 'plain'])
  expect(targets.get('plain')).toEqual({
    minHealthy: { kind: 'count', value: 1 },
    fallback: 'keep_last',
    backends: new Map(),
  })
  const { backends: found, ...rest } = targets.get('web') as NonNullable<ReturnType<typeof targets.get>>
  expect(rest).toEqual({ minHealthy: { kind: 'share', value: 0.5 }, fallback: 'sorry' })
  const facts = [...found].map(([key, one]) => [key, one.check !== undefined, one.active, one.reachable, one.leaving])
  expect(facts).toEqual([
    ['10.0.0.1:80', true, true, false, false],
    ['10.0.0.2:80', true, false, true, false],
    ['10.0.0.3:80', true, false, true, false],
    ['10.0.0.4:80', false, false, true, false],
    ['10.0.0.5:80', false, true, true, false],
    ['[2001:db8::1]:80', true, true, true, false],
    ['10.0.0.9:80', false, false, true, true],
  ])
})

const { type: _, ...common } = check()
const CHECKS: readonly HealthCheck[] = [
  check(),
  check({ port: 81 }),
  check({ address: address('10.0.0.2') }),
  check({ address: address('2001:db8::1') }),
  check({ rise: 1 }),
  http(80),
  http(80, { status: [{ first: 200, last: 398 }] }),
  http(80, { status: [] }),
  http(80, { status: [], body: '' }),
  { ...common, type: 'udp', send: '', expect: undefined },
  { ...common, type: 'exec', command: ['/bin/true'], user: 'nobody' },
  { ...common, type: 'exec', command: ['/bin/true', ''], user: 'nobody' },
]

test('checks are equal if every field is', () => {
  const copies = CHECKS.map((one) => structuredClone(one))
  for (const [i, one] of CHECKS.entries()) {
    expect(copies.map((copy) => isSameCheck(one, copy))).toEqual(CHECKS.map((_, j) => i === j))
    expect([isSameCheck(one, undefined), isSameCheck(undefined, one)]).toEqual([false, false])
  }
  expect(isSameCheck(undefined, undefined)).toBe(true)
})
