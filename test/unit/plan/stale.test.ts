// Saved plans against the present: every difference that matters is named, and nothing else makes a plan stale.

import { describe, expect, test } from 'vitest'
import type { Link, Live } from '../../../src/model/live.ts'
import type { PlanBuild, PlanFact, PlanHost, PlanInput } from '../../../src/model/saved-plan.ts'
import { factsOf } from '../../../src/plan/facts.ts'
import { withNextHops } from '../../../src/plan/next-hops.ts'
import { plan } from '../../../src/plan/plan.ts'
import { guardPlanBuild, guardPlanHost, movedChanges, movedFacts, movedInputs } from '../../../src/plan/stale.ts'
import { address, EGRESS, service } from '../../support/services.ts'
import { ANY, desired, foreign, link, list, live, PROGRAM, scoped, state } from '../../support/states.ts'

const messages = (found: readonly { readonly code: string; readonly message: string }[]): string[] =>
  found.map(({ code, message }) => `${code} ${message}`)

const HOST: PlanHost = { name: 'edge-1', bootId: 'a', netns: '1', bpffs: '/sys/fs/bpf', instance: 'default' }

test.each<[Partial<PlanHost>, string]>([
  [{ bootId: 'b', name: 'edge-2' }, 'E242 the plan was made on host edge-1, and this is edge-2'],
  [{ bootId: 'b' }, 'E242 edge-1 has been rebooted since the plan was made'],
  [{ instance: 'x' }, 'E242 the plan is for instance default, and this command works on x'],
  [{ bpffs: '/mnt' }, 'E242 the plan is for the bpffs /sys/fs/bpf, and this command works on /mnt'],
  [{ netns: '2' }, 'E242 the plan was made in network namespace 1, and this command runs in 2'],
])('elsewhere: %j', (own, message) => {
  expect(messages(guardPlanHost(HOST, { ...HOST, ...own }))).toEqual([message])
})

test('a host may be renamed', () => {
  expect(guardPlanHost(HOST, { ...HOST, name: 'edge-2' })).toEqual([])
})

test.each<[Partial<PlanBuild>, string]>([
  [{ version: '2' }, 'E243 the plan was made by xdp 1, and this is 2'],
  [{ abi: 3 }, 'E243 the plan was made for the data plane ABI 2, and this build has 3'],
  [{ digest: 'ffff' }, 'E243 the plan was made with other BPF programs: digest eeee, and this build has ffff'],
])('another build: %j', (own, message) => {
  const build = { version: '1', abi: 2, digest: 'eeee' }
  expect(messages(guardPlanBuild(build, { ...build, ...own }))).toEqual([message])
  expect(guardPlanBuild(build, build)).toEqual([])
})

test('inputs: a config may have another name, and every other difference is named', () => {
  const input = (kind: PlanInput['kind'], path: string, sha256 = 'a'): PlanInput => ({ kind, path, sha256 })
  const saved = [
    input('config', 'xdp.yaml'),
    input('included', 'b.yaml'),
    input('allowlist', 'c.txt'),
    input('blocklist', 'd.txt'),
  ]
  expect(movedInputs(saved, [input('config', 'site.yaml'), ...saved.slice(1)])).toEqual([])
  const now = [input('config', 'site.yaml', 'b'), input('allowlist', 'c.txt', ''), input('blocklist', 'e.txt')]
  expect(messages(movedInputs(saved, now))).toEqual([
    'E244 the config xdp.yaml changed since the plan was made',
    'E244 the included file b.yaml is no longer read',
    'E244 the allowlist file c.txt is gone, or cannot be read',
    'E244 the blocklist file d.txt is no longer read',
    'E244 the blocklist file e.txt is new since the plan was made',
  ])
})

const BACKEND = '10.0.0.1'
const WANTED = desired({
  ...state({
    interfaces: { eth0: ['native'] },
    lists: [list('blocklist', 'blocklist', scoped(ANY, '203.0.113.9'))],
    services: [service('web', '192.0.2.10 443', { backends: [BACKEND], snatPool: ['192.0.2.20'] })],
  }),
  policy: state({ policy: 'drop' }).policy,
})
const OURS = { ...foreign({ id: 9, name: 'xdp_filter' }), generation: 1 }

/** A host on which eth0 runs our program, with a bond and an unrelated device beside it. */
const host = (facts: Partial<Omit<Live, 'links'>> = {}, links: Readonly<Record<string, Partial<Link>>> = {}): Live => {
  const nextHops = new Map([[BACKEND, EGRESS]])
  const services = withNextHops(WANTED.state.services, { nextHops })
  return live({
    state: { ...state({ program: PROGRAM, policy: 'drop', interfaces: { eth0: ['native'] } }), services },
    links: [
      link('eth0', { programs: [OURS], ...links['eth0'] }),
      link('eth1', { ifindex: 7, ...links['eth1'] }),
      link('docker0', { ifindex: 8, ...links['docker0'] }),
    ],
    nextHops,
    ...facts,
  })
}
const moved = (after: Live, objects: [readonly PlanFact[], readonly PlanFact[]] = [[], []]): string[] =>
  messages(movedFacts(factsOf(WANTED, host(), objects[0]), factsOf(WANTED, after, objects[1])))

describe('the live state', () => {
  test.each<[string, Live, readonly string[]]>([
    [
      'another program',
      host({}, { eth0: { programs: [foreign({ id: 12 })] } }),
      [
        'E244 eth0 has another program (id 12 someone_elses (native, tag a04f5eef06a7f555), was id 9 of generation 1 (native))',
      ],
    ],
    [
      'no program',
      host({}, { eth0: { programs: [] } }),
      ['E244 eth0 has lost its program (id 9 of generation 1 (native))'],
    ],
    [
      'another device under the name',
      host({}, { eth0: { ifindex: 3 } }),
      [
        'E244 interface eth0 changed: index 3, veth (ether), MAC 02:00:5e:10:00:fe, MTU 1500; was index 2, veth (ether), MAC 02:00:5e:10:00:fe, MTU 1500',
      ],
    ],
    [
      'another apply',
      host({ generation: 2 }, { eth0: { programs: [{ ...OURS, id: 30, generation: 2 }] } }),
      ['E244 generation 2 is live, was 1: there was another apply or a destroy'],
    ],
    [
      'a pending confirmation',
      host({ pending: { id: '0badcafe', generation: 1, previous: 0 } }),
      ['E244 an apply waits for the confirmation 0badcafe'],
    ],
    [
      'leftovers',
      host({ leftovers: ['/sys/fs/bpf/xdp-as-code/default/gen-2'] }),
      ['E244 the leftovers of an interrupted apply changed: gen-2, was none'],
    ],
    [
      'drift',
      host({ drift: new Map([['list:blocklist', 'changed in the kernel since the last apply']]) }),
      ['E244 list:blocklist drifted: changed in the kernel since the last apply'],
    ],
    [
      'other local ports',
      host({ localPorts: { first: 20_000, last: 60_999 } }),
      ['E244 net.ipv4.ip_local_port_range changed: 20000-60999, was 32768-60999'],
    ],
    [
      'another own address',
      host({ ownAddresses: [address('192.0.2.20')] }),
      ['E244 the addresses of this host changed: 192.0.2.20; were none'],
    ],
    [
      'an unresolved next hop',
      host({ nextHops: new Map(), unresolved: new Map([[BACKEND, 'no route leads to it']]) }),
      [`E244 the next hop of ${BACKEND} changed: unknown: no route leads to it; was ${hop()}`],
    ],
    [
      'another next hop',
      host({ nextHops: new Map([[BACKEND, { ...EGRESS, mtu: 1400 }]]) }),
      [
        'E244 service:web drifted: backend 10.0.0.1: MTU changed 1500 -> 1400',
        `E244 the next hop of ${BACKEND} changed: ${hop(1400)}; was ${hop()}`,
      ],
    ],
    ['a device that has no part in it', host({}, { docker0: { ifindex: 99, mac: '02005e1000aa' } }), []],
    ['time', host({ bootSeconds: 1_000_000, committedAt: 77 }), []],
    ['an SSH session', host({ sshEnds: [{ address: address('192.0.2.1'), port: 22 }] }), []],
    ['a link that went down, of which the plan warns again', host({}, { eth0: { up: false } }), []],
  ])('%s', (_, after, said) => {
    expect(moved(after)).toEqual(said)
  })

  function hop(mtu = 1500): string {
    return `02:00:5e:10:00:01 on eth1, index 7, from 02:00:5e:10:00:fe, MTU ${mtu}`
  }

  test('objects that were replaced under their names', () => {
    const fact = (kind: PlanFact['kind'], name: string, value: string): PlanFact => ({ kind, name, value })
    const before = [
      fact('tables', '', 'x'),
      fact('record', 'eth0', 'slot 1'),
      fact('index', '', 'x'),
      fact('map', 'bans', 'id 3'),
      fact('map', 'health', 'id 4'),
    ]
    const after = [
      fact('tables', '', 'y'),
      fact('record', 'eth0', 'slot 2'),
      fact('index', '', 'y'),
      fact('map', 'bans', 'id 5'),
      fact('program', 'explain', 'id 6'),
    ]
    expect(moved(host(), [before, after])).toEqual([
      'E244 the live tables were written again',
      'E244 the record of eth0 changed: slot 2, was slot 1',
      'E244 the index of interfaces was written again',
      'E244 the map bans is another one (id 5, was id 3)',
      'E244 the map health is no longer pinned (was id 4)',
      'E244 the program explain is pinned now (id 6)',
    ])
    // Every apply changes these.
    expect(moved(host({ generation: 2 }), [before, after])).toEqual([
      'E244 generation 2 is live, was 1: there was another apply or a destroy',
    ])
  })
})

test('whatever alters the changes of a plan makes the facts differ', () => {
  const changes = (facts: Live): string =>
    JSON.stringify(plan(WANTED, facts, PROGRAM).changes, (_, value) => (value instanceof Map ? [...value] : value))
  const hosts = [
    host({ nextHops: new Map([[BACKEND, { ...EGRESS, mac: '02005e1000bb' }]]) }),
    host({ ownAddresses: [address('192.0.2.20')] }),
    host({ ownAddresses: [address('192.0.2.20')], localPorts: { first: 1024, last: 2048 } }),
    host({ drift: new Map([['policy', 'x']]) }),
    host({}, { eth0: { programs: [OURS, foreign({ id: 77, mode: 'generic' })] } }),
    host({ generation: 3 }),
  ]
  const [before, present] = [changes(host()), factsOf(WANTED, host())]
  const found = hosts.map((one) => [changes(one) !== before, movedFacts(present, factsOf(WANTED, one)).length > 0])
  expect(found).toEqual(hosts.map(() => [true, true]))
})

test('a plan that comes out otherwise from the same files and the same kernel is refused', () => {
  const change = (key: string, sha256: string) => ({ key, op: 'update', sha256 })
  const saved = [change('list:a', '1'), change('list:b', '2')]
  expect(movedChanges(saved, saved)).toEqual([])
  expect(messages(movedChanges(saved, [change('list:a', '9'), change('list:c', '3')]))).toEqual([
    'E244 the change of list:a is another one, as by the age of a feed',
    'E244 the change of list:b is no longer planned, as by the age of a feed',
    'E244 the change of list:c is planned too now, as by the age of a feed',
  ])
})
