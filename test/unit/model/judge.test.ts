import { expect, test } from 'vitest'
import { DEFAULT_POLICY, type DefaultVerdict } from '../../../src/model/policy.ts'
import { EMPTY_STATE, EVERY_ROLE } from '../../../src/model/state.ts'
import { parseAddress } from '../../../src/model/text.ts'
import { isServed, type Transit } from '../../../src/semantics/balance.ts'
import { type Circumstances, type Facts, type IpFacts, judge, TEST_INGRESS } from '../../../src/semantics/judge.ts'
import { allow, block, policy, scope } from '../../support/lists.ts'
import { service } from '../../support/services.ts'

const TRANSIT: Omit<Transit, 'destination'> = {
  isAddressed: true,
  length: 40,
  isCut: false,
  ttl: 64,
  fragment: undefined,
  hasPlainLink: true,
  startsFlow: false,
  hasWholeTcp: true,
  isReset: false,
  isToGroup: false,
  icmp: undefined,
}

/** A UDP packet from 40000 to 40001. */
function udpFrom(source: string, facts: Partial<IpFacts> = {}): IpFacts {
  const { family, words } = parseAddress(source)!
  const ports = { source: 40000, destination: 40001 }
  return { kind: 'ip', family, source: words, protocol: 17, ports, essential: undefined, unparsed: undefined, ...facts }
}

const outcomeOf = (state: Parameters<typeof judge>[0], facts: Facts) => {
  const { verdict, reason, lists } = judge(state, facts)
  return [verdict, reason, ...lists]
}

test('an empty state passes everything', () => {
  expect(outcomeOf(EMPTY_STATE, udpFrom('192.0.2.1'))).toEqual(['pass', 'default-pass'])
})

test('default drop passes essential packets, and no others', () => {
  const state = policy('drop')
  expect(outcomeOf(state, udpFrom('192.0.2.1'))).toEqual(['drop', 'default-drop'])
  expect(outcomeOf(state, udpFrom('192.0.2.1', { essential: 'mld' }))).toEqual(['pass', 'essential'])
  expect(outcomeOf(state, udpFrom('192.0.2.1', { essential: 'dhcp_server' }))).toEqual(['drop', 'default-drop'])
})

test('policy.essential chooses the groups', () => {
  const own = { ...policy('drop'), policy: { ...DEFAULT_POLICY, default: 'drop', essential: ['dhcp_server'] } } as const
  expect(outcomeOf(own, udpFrom('192.0.2.1', { essential: 'dhcp_server' }))).toEqual(['pass', 'essential'])
  expect(outcomeOf(own, udpFrom('192.0.2.1', { essential: 'loopback' }))).toEqual(['drop', 'default-drop'])
})

const ARP = 0x0806
const LLDP = 0x88cc
const PPPOE_SESSION = 0x8864

test('of frames that are not IP, default drop passes protocols of the link', () => {
  const judgeFrame = (state: Parameters<typeof judge>[0], ethertype: number) =>
    outcomeOf(state, { kind: 'not-ip', ethertype })
  expect(judgeFrame(policy('drop'), ARP)).toEqual(['pass', 'essential'])
  for (const ethertype of [LLDP, 0, 0x05ff]) expect(judgeFrame(policy('drop'), ethertype)).toEqual(['pass', 'not-ip'])
  for (const ethertype of [PPPOE_SESSION, 0x0600]) {
    expect(judgeFrame(policy('drop'), ethertype)).toEqual(['drop', 'not-ip-drop'])
    expect(judgeFrame(policy('pass'), ethertype)).toEqual(['pass', 'not-ip'])
  }
  expect(judgeFrame(policy('pass'), ARP)).toEqual(['pass', 'not-ip'])
})

/** A policy with its two verdicts. */
const verdicts = (byDefault: DefaultVerdict, unparsed: DefaultVerdict, ...lists: Parameters<typeof policy>[1][]) => ({
  ...policy(byDefault, ...lists),
  policy: { ...DEFAULT_POLICY, default: byDefault, unparsed },
})

test('policy.unparsed decides on packets that cannot be parsed, unless a list or a ban does by their address', () => {
  for (const reason of ['malformed', 'unsupported'] as const) {
    for (const byDefault of ['pass', 'drop'] as const) {
      const passing = verdicts(byDefault, 'pass', block('bad', '192.0.2.0/24'))
      const dropping = verdicts(byDefault, 'drop', block('bad', '192.0.2.0/24'), allow('good', '10.0.0.0/8'))
      expect(outcomeOf(passing, { kind: 'unparsed', reason })).toEqual(['pass', reason])
      expect(outcomeOf(dropping, { kind: 'unparsed', reason })).toEqual(['drop', `${reason}-drop`])
      expect(outcomeOf(dropping, udpFrom('198.51.100.1', { unparsed: reason }))).toEqual(['drop', `${reason}-drop`])
      expect(outcomeOf(dropping, udpFrom('192.0.2.1', { unparsed: reason }))).toEqual(['drop', 'blocklist', 'bad'])
      expect(outcomeOf(dropping, udpFrom('10.0.0.1', { unparsed: reason }))).toEqual(['pass', 'allowlist', 'good'])
    }
    expect(outcomeOf(policy('pass'), udpFrom('198.51.100.1', { unparsed: reason }))).toEqual(['pass', reason])
  }
})

test('a packet with a known address never gets round default drop', () => {
  const state = verdicts('drop', 'pass')
  for (const unparsed of ['malformed', 'unsupported'] as const)
    expect(outcomeOf(state, udpFrom('198.51.100.1', { unparsed, essential: 'loopback' }))).toEqual([
      'drop',
      'default-drop',
    ])
})

test('an allowlist beats every blocklist, whatever the prefix lengths', () => {
  const state = policy('drop', allow('wide', '192.0.0.0/8'), block('exact', '192.0.2.1'))
  expect(outcomeOf(state, udpFrom('192.0.2.1'))).toEqual(['pass', 'allowlist', 'wide'])
})

test('the blocklist decides if a scoped allow does not apply', () => {
  const state = policy('pass', allow('web', ['192.0.2.0/24', scope(6)]), block('bad', '192.0.2.0/24'))
  expect(outcomeOf(state, udpFrom('192.0.2.1'))).toEqual(['drop', 'blocklist', 'bad'])
})

test('all matching lists of the deciding kind count, each once, in the order of their names', () => {
  const state = policy(
    'pass',
    block('b', '192.0.2.0/24', ['192.0.2.0/24', scope(17)]),
    block('a', '192.0.0.0/8'),
    block('c', ['192.0.2.0/24', scope(6)]),
  )
  const { lists, matches } = judge(state, udpFrom('192.0.2.1'))
  expect(lists).toEqual(['a', 'b'])
  expect(matches.map(({ list, set }) => [list.name, set.scope.protocol])).toEqual([
    ['a', 'any'],
    ['b', 'any'],
    ['b', 17],
  ])
})

test('an unknown port or protocol matches no scope that requires one', () => {
  const state = policy('pass', block('dns', ['192.0.2.0/24', scope(17, { source: [40000] })]))
  expect(outcomeOf(state, udpFrom('192.0.2.1'))).toEqual(['drop', 'blocklist', 'dns'])
  expect(outcomeOf(state, udpFrom('192.0.2.1', { ports: undefined }))).toEqual(['pass', 'default-pass'])
  const any = policy('pass', block('udp', ['192.0.2.0/24', scope(17)]))
  expect(outcomeOf(any, udpFrom('192.0.2.1', { ports: undefined }))).toEqual(['drop', 'blocklist', 'udp'])
  expect(outcomeOf(any, udpFrom('192.0.2.1', { protocol: undefined, ports: undefined }))).toEqual([
    'pass',
    'default-pass',
  ])
})

test('icmp is ICMP in IPv4 and ICMPv6 in IPv6', () => {
  const state = policy('pass', block('ping', ['0.0.0.0/0 ::/0', scope('icmp')]))
  const of = (source: string, protocol: number) => outcomeOf(state, udpFrom(source, { protocol, ports: undefined }))[0]
  expect([of('192.0.2.1', 1), of('192.0.2.1', 58), of('2001:db8::1', 1), of('2001:db8::1', 58)]).toEqual([
    'drop',
    'pass',
    'pass',
    'drop',
  ])
})

test('both port ranges must match, ends included', () => {
  const state = policy(
    'pass',
    block('pair', ['192.0.2.1', scope(17, { source: [[10, 20]], destination: [30, [40, 50]] })]),
  )
  const of = (source: number, destination: number) =>
    outcomeOf(state, udpFrom('192.0.2.1', { ports: { source, destination } }))[0]
  expect([of(10, 30), of(20, 50), of(15, 40), of(9, 30), of(21, 30), of(15, 31), of(15, 51)]).toEqual([
    ...['drop', 'drop', 'drop'],
    ...['pass', 'pass', 'pass', 'pass'],
  ])
})

test('families do not mix', () => {
  const state = policy('pass', block('all', '0.0.0.0/0'))
  expect(outcomeOf(state, udpFrom('2001:db8::1'))).toEqual(['pass', 'default-pass'])
})

test('packets of connections that the host opened pass by the policy or by every matching entry', () => {
  const own = (state: Parameters<typeof judge>[0], facts: Partial<IpFacts> = {}, banned = false) =>
    judge(state, udpFrom('192.0.2.1', facts), { own: true, banned }).reason
  const tracked = { ...policy('drop'), policy: { ...DEFAULT_POLICY, default: 'drop', established: 'pass' } } as const
  expect(own(tracked)).toBe('established')
  expect(own(tracked, { unparsed: 'malformed' })).toBe('default-drop')
  expect(own(tracked, {}, true)).toBe('ban')
  expect(own(policy('drop'))).toBe('default-drop')
  const established = (value: 'pass' | 'judge') => ({ ...scope('any'), established: value })
  const abroad = block('abroad', ['192.0.2.0/24', established('pass')])
  expect(own(policy('pass', abroad))).toBe('established')
  expect(own(policy('pass', abroad, block('bad', '192.0.2.1')))).toBe('blocklist')
  const { lists } = policy('pass', abroad, block('bad', '192.0.2.1'))
  expect(own({ ...tracked, lists })).toBe('established')
  const judging = policy('pass', abroad, block('bad', ['192.0.2.1', established('judge')]))
  expect(own({ ...tracked, lists: judging.lists })).toBe('blocklist')
})

test('`socket: none` matches TCP packets without a socket, and none of a service', () => {
  const lists = [block('stray', ['0.0.0.0/0', { ...scope(6, { destination: [443] }), socket: 'none' }])]
  const of = (
    facts: Partial<IpFacts>,
    circumstances: Circumstances,
    roles = EVERY_ROLE,
    services = EMPTY_STATE.services,
  ) =>
    judge({ ...policy('pass', ...lists), services }, udpFrom('198.51.100.1', facts), circumstances, {
      ...TEST_INGRESS,
      roles,
    }).reason
  const tcp = { protocol: 6, ports: { source: 40000, destination: 443 } }
  expect(of(tcp, { socketless: true })).toBe('blocklist')
  expect(of(tcp, { socketless: false })).toBe('default-pass')
  expect(of(tcp, {})).toBe('default-pass')
  expect(of({ protocol: 6, ports: undefined }, { socketless: true })).toBe('default-pass')
  expect(of({ ports: tcp.ports }, { socketless: true })).toBe('default-pass')
  expect(of({ protocol: 6 }, { socketless: true })).toBe('default-pass')

  const web = service('web', '192.0.2.10 443', { backends: ['10.0.0.11'], forwarding: 'nat' })
  const services = new Map([[web.name, web]])
  const to = (destination: string, port: number) => ({
    protocol: 6,
    ports: { source: 40000, destination: port },
    transit: { ...TRANSIT, destination: parseAddress(destination)!.words },
  })
  expect(of(to('192.0.2.10', 443), { socketless: true }, EVERY_ROLE, services)).toBe('balanced-away')
  expect(of(to('192.0.2.10', 443), { socketless: true }, ['filter'], services)).toBe('blocklist')
  expect(of(to('192.0.2.11', 443), { socketless: true }, EVERY_ROLE, services)).toBe('blocklist')
})

test('packets from backends of plain NAT, from VIPs and to source pools belong to services', () => {
  const plain = service('plain', '192.0.2.10 443', { backends: ['10.0.0.11'], forwarding: 'nat' })
  const direct = service('direct', '192.0.2.20 443', { backends: ['10.0.0.12'], forwarding: 'dsr' })
  const full = service('full', '192.0.2.30 443', {
    backends: ['10.0.0.13'],
    forwarding: 'nat',
    snatPool: ['192.0.2.99'],
  })
  const served = (source: string, destination: string): boolean =>
    isServed(new Map([plain, direct, full].map((one) => [one.name, one])), {
      ...udpFrom(source, { protocol: 6 }),
      transit: { ...TRANSIT, destination: parseAddress(destination)!.words },
    })
  const elsewhere = '198.51.100.9'
  expect(served('10.0.0.11', elsewhere)).toBe(true)
  expect(served('10.0.0.12', elsewhere)).toBe(false)
  expect(served('10.0.0.13', elsewhere)).toBe(false)
  expect(served('192.0.2.20', elsewhere)).toBe(true)
  expect(served(elsewhere, '192.0.2.99')).toBe(true)
  // Not its port.
  expect(served(elsewhere, '192.0.2.20')).toBe(false)
})
