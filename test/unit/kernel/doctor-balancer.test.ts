import { expect, test } from 'vitest'
import { type BalancerFacts, judgeBalancer } from '../../../src/kernel/doctor/balancer.ts'
import type { Link } from '../../../src/model/live.ts'
import type { NextHop } from '../../../src/model/service.ts'
import type { AttachMode } from '../../../src/model/state.ts'
import { EGRESS, service } from '../../support/services.ts'
import { link, state } from '../../support/states.ts'

interface Given extends Partial<Omit<BalancerFacts, 'devices'>> {
  readonly modes?: readonly AttachMode[]
  readonly roles?: readonly ('filter' | 'balance')[]
  readonly kind?: Link['kind']
  readonly options?: Parameters<typeof service>[2]
  readonly interfaces?: readonly string[]
}

/** Findings as `level id`, with a backend behind eth1. */
function findings({
  modes = ['native'],
  roles,
  kind = 'physical',
  options,
  interfaces = ['eth0', 'eth1'],
  ...facts
}: Given = {}) {
  const services = [service('web', '192.0.2.10 80', { backends: ['10.0.0.1', '10.0.0.2'], ...options })]
  const attached = Object.fromEntries(interfaces.map((name) => [name, modes]))
  const wanted = state({ interfaces: attached, services, ...(roles && { roles }) })
  return judgeBalancer(wanted, {
    nextHops: new Map<string, NextHop | undefined>([
      ['10.0.0.1', EGRESS],
      ['10.0.0.2', EGRESS],
    ]),
    unresolved: new Map(),
    gateways: new Map(),
    devices: new Map([['eth1', link('eth1', { kind })]]),
    forwards: { v4: true, v6: true },
    filtersReversePath: false,
    ...facts,
  })
}

const brief = (given?: Given): string[] =>
  findings(given).map(({ level, id }) => `${level} ${id.replace('balancer.', '')}`)

test('no findings without services', () => {
  expect(judgeBalancer(state({}), {} as BalancerFacts)).toEqual([])
})

test.each<[string, Given, string[]]>([
  ['a host without problems', {}, ['ok backends', 'ok forwarding', 'ok egress']],
  [
    'a backend without a route',
    { nextHops: new Map([['10.0.0.1', EGRESS]]), unresolved: new Map([['10.0.0.2', 'no route']]) },
    ['warn backends', 'ok forwarding', 'ok egress'],
  ],
  [
    'a backend whose next hop is not resolved yet',
    { nextHops: new Map([['10.0.0.1', EGRESS]]) },
    ['ok backends', 'ok forwarding', 'ok egress'],
  ],
  [
    'a host that does not forward',
    { forwards: { v4: false, v6: true } },
    ['ok backends', 'fail forwarding', 'ok egress'],
  ],
  [
    'a host that does not forward and need not',
    { forwards: { v4: false, v6: false }, options: { snatPool: ['192.0.2.20'] } },
    ['ok backends', 'ok egress'],
  ],
  [
    'strict reverse path filtering',
    { filtersReversePath: true },
    ['ok backends', 'ok forwarding', 'warn rp_filter', 'ok egress'],
  ],
  ['no interface with the role balance', { roles: ['filter'] }, ['ok backends', 'ok forwarding', 'fail roles']],
  ['a veth', { kind: 'veth' }, ['ok backends', 'ok forwarding', 'warn egress']],
  ['a bridge', { kind: 'bridge' }, ['ok backends', 'ok forwarding', 'warn egress']],
  ['a card without a program', { interfaces: ['eth0'] }, ['ok backends', 'ok forwarding', 'warn egress']],
  [
    'generic mode, which transmits on every device',
    { kind: 'veth', modes: ['generic'] },
    ['ok backends', 'ok forwarding'],
  ],
])('%s', (_, given, expected) => {
  expect(brief(given)).toEqual(expected)
})

test('every problem has a fix', () => {
  const all = [{ kind: 'veth' }, { kind: 'bridge' }, { filtersReversePath: true }, { roles: ['filter'] }] as const
  for (const given of all) {
    for (const { level, fix } of findings(given)) expect(fix === undefined).toBe(level === 'ok')
  }
})
