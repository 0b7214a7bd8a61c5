import { expect, test } from 'vitest'
import { EMPTY_STATE } from '../../../src/model/state.ts'
import { parseAddress } from '../../../src/model/text.ts'
import { type Facts, type IpFacts, judge } from '../../../src/semantics/judge.ts'
import { allow, block, policy, scope } from '../../support/lists.ts'

/** A UDP packet from 40000 to 40001. */
function udpFrom(source: string, facts: Partial<IpFacts> = {}): IpFacts {
  const { family, words } = parseAddress(source)!
  const ports = { source: 40000, destination: 40001 }
  return { kind: 'ip', family, source: words, protocol: 17, ports, essential: false, unparsed: undefined, ...facts }
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
  expect(outcomeOf(state, udpFrom('192.0.2.1', { essential: true }))).toEqual(['pass', 'essential'])
  expect(outcomeOf(state, { kind: 'not-ip', essential: true })).toEqual(['pass', 'essential'])
  expect(outcomeOf(state, { kind: 'not-ip', essential: false })).toEqual(['pass', 'not-ip'])
  expect(outcomeOf(policy('pass'), { kind: 'not-ip', essential: true })).toEqual(['pass', 'not-ip'])
})

test('an unparsed packet passes with its reason, unless a list decides by its address', () => {
  const state = policy('drop', block('bad', '192.0.2.0/24'))
  for (const reason of ['malformed', 'nonlinear', 'unsupported'] as const) {
    expect(outcomeOf(state, { kind: 'unparsed', reason })).toEqual(['pass', reason])
    expect(outcomeOf(policy('pass'), udpFrom('198.51.100.1', { unparsed: reason }))).toEqual(['pass', reason])
    expect(outcomeOf(state, udpFrom('192.0.2.1', { unparsed: reason }))).toEqual(['drop', 'blocklist', 'bad'])
  }
})

test('chains of headers beyond the filter’s limit do not bypass default drop', () => {
  const state = policy('drop')
  expect(outcomeOf(state, udpFrom('198.51.100.1', { unparsed: 'unsupported' }))).toEqual(['drop', 'default-drop'])
  expect(outcomeOf(state, udpFrom('198.51.100.1', { unparsed: 'malformed' }))).toEqual(['pass', 'malformed'])
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
