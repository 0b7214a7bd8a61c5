// Drift (live against the last apply) apart from edits (config against the last apply).

import { expect, test } from 'vitest'
import type { Live, ObjectKey } from '../../../src/model/live.ts'
import type { State } from '../../../src/model/state.ts'
import { withNextHops } from '../../../src/plan/next-hops.ts'
import { plan } from '../../../src/plan/plan.ts'
import { EGRESS, service } from '../../support/services.ts'
import { ANY, desired, foreign, link, list, live, PROGRAM, rateLimit, scoped, state } from '../../support/states.ts'

const block = (...texts: readonly string[]) => list('blocklist', 'blocklist', scoped(ANY, ...texts))
const HAD = state({ program: PROGRAM, policy: 'pass', interfaces: { eth0: ['native'] }, lists: [block('192.0.2.1')] })
const OURS = { ...foreign({ id: 9, name: 'xdp_filter' }), generation: 1 }

/** A host after an apply of HAD. */
const host = (
  facts: Partial<Omit<Live, 'links'>> = {},
  programs: readonly ReturnType<typeof foreign>[] = [OURS],
): Live =>
  live({
    state: HAD,
    links: [link('eth0', { programs })],
    applied: { interfaces: HAD.interfaces, edited: new Map() },
    ...facts,
  })

const origins = (wanted: State, facts: Live): Record<string, unknown> =>
  Object.fromEntries(
    plan(desired(wanted), facts, PROGRAM).changes.map(({ key, origin, reason }) => [key, { ...origin, reason }]),
  )

const LIMITED = { ...HAD, rateLimits: new Map([['dns', rateLimit('dns')]]) }
const drift = (key: ObjectKey, what = 'changed') => new Map([[key, what]])
const DETACHED = { ...HAD, interfaces: new Map() }

test.each<[string, State, Live, Record<string, unknown>]>([
  ['no difference', HAD, host(), {}],
  [
    'an edit alone',
    { ...HAD, lists: new Map([['blocklist', block('192.0.2.2')]]) },
    host(),
    { 'list:blocklist': { drifted: false, edited: true, reason: 'config-changed' } },
  ],
  [
    'a rate limit that was overwritten',
    LIMITED,
    host({
      state: LIMITED,
      drift: drift('rate_limit:dns'),
      applied: { interfaces: HAD.interfaces, edited: new Map([['rate_limit:dns', false]]) },
    }),
    { 'rate_limit:dns': { drifted: true, edited: false, reason: 'drift' } },
  ],
  [
    'a rate limit that was overwritten and has left the config',
    HAD,
    host({ state: LIMITED, drift: drift('rate_limit:dns') }),
    { 'rate_limit:dns': { drifted: true, edited: true, reason: 'not-in-config' } },
  ],
  [
    'a detached program',
    HAD,
    host({ state: DETACHED, drift: drift('interface:eth0') }, []),
    { 'interface:eth0': { drifted: true, edited: false, reason: 'drift' } },
  ],
  [
    'a detached program, and other roles in the config',
    { ...HAD, interfaces: new Map([['eth0', { interface: 'eth0', modes: ['native'], roles: ['filter'] }]]) },
    host({ state: DETACHED, drift: drift('interface:eth0') }, []),
    { 'interface:eth0': { drifted: true, edited: true, reason: 'drift' } },
  ],
  [
    'a program of a killed apply on an interface that the config never had',
    HAD,
    live({
      state: HAD,
      links: [
        link('eth0', { programs: [OURS] }),
        link('eth1', { ifindex: 3, programs: [{ ...OURS, id: 10, generation: 2 }] }),
      ],
      applied: { interfaces: HAD.interfaces, edited: new Map() },
    }),
    { 'interface:eth1': { drifted: true, edited: false, reason: 'not-in-config' } },
  ],
  [
    'a list that drifted, by its digest the one of the config',
    HAD,
    host({
      state: { ...HAD, lists: new Map([['blocklist', block('192.0.2.9')]]) },
      drift: drift('list:blocklist'),
      applied: { interfaces: HAD.interfaces, edited: new Map([['list:blocklist', false]]) },
    }),
    { 'list:blocklist': { drifted: true, edited: false, reason: 'drift' } },
  ],
  [
    'a list that drifted, whose record is lost',
    HAD,
    host({ drift: drift('list:blocklist') }),
    { 'list:blocklist': { drifted: true, edited: undefined, reason: 'drift' } },
  ],
  ['lost pins', HAD, host({ drift: drift('program') }), { program: { drifted: true, edited: false, reason: 'drift' } }],
])('%s', (_, wanted, facts, expected) => {
  expect(origins(wanted, facts)).toEqual(expected)
})

test('a next hop that moved is drift, and with an edit of the service both', () => {
  const web = (weight: number) => {
    const one = service('web', '192.0.2.10 443', { backends: ['10.0.0.1', '10.0.0.2'] })
    return { ...one, backends: one.backends.map((backend) => ({ ...backend, weight })) }
  }
  const hops = (mtu: number) => new Map(['10.0.0.1', '10.0.0.2'].map((text) => [text, { ...EGRESS, mtu }]))
  const services = withNextHops(new Map([['web', web(1)]]), { nextHops: hops(1500) })
  const facts = host({ state: { ...HAD, services }, nextHops: hops(1400) })
  const wanted = (weight: number): State => ({ ...HAD, services: new Map([['web', web(weight)]]) })
  expect(origins(wanted(1), facts)).toEqual({ 'service:web': { drifted: true, edited: false, reason: 'drift' } })
  expect(origins(wanted(2), facts)).toEqual({
    'service:web': { drifted: true, edited: true, reason: 'config-changed' },
  })
})

test('names the foreign programs on a drifted interface, with their owners', () => {
  const owner = { uid: 1000, holders: [{ pid: 77, command: 'loader' }] }
  const facts = host({ state: DETACHED, drift: drift('interface:eth0'), owners: new Map([[42, owner]]) }, [foreign()])
  const { generation: _, ...program } = foreign()
  expect(plan(desired(HAD, { eth0: { onConflict: 'replace' } }), facts, PROGRAM).drift).toEqual([
    { key: 'interface:eth0', what: 'changed', by: [{ ...program, ...owner }] },
  ])
})
