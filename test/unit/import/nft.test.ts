import { describe, expect, test } from 'vitest'
import { captured, importText, losses, rows } from '../../support/import.ts'

const SADDR = { payload: { protocol: 'ip', field: 'saddr' } }
const match = (left: unknown, right: unknown, op = '=='): unknown => ({ match: { op, left, right } })
const from = (right: unknown, op = '=='): unknown => match(SADDR, right, op)
const port = (protocol: string, field: string, right: unknown, op = '=='): unknown =>
  match({ payload: { protocol, field } }, right, op)
const DROP = { drop: null }
const ACCEPT = { accept: null }

interface Table {
  readonly family?: string
  readonly policy?: string
  readonly hook?: string
  readonly chain?: Readonly<Record<string, unknown>>
  readonly objects?: readonly unknown[]
}

function ruleset(
  rules: readonly (readonly unknown[])[],
  { family = 'inet', policy = 'accept', hook = 'input', chain = {}, objects = [] }: Table = {},
): string {
  const at = { family, table: 't' }
  const base = { chain: { ...at, name: 'c', type: 'filter', hook, prio: 0, policy, ...chain } }
  const all = rules.map((expr, index) => ({ rule: { ...at, chain: 'c', handle: index + 10, expr } }))
  return JSON.stringify({ nftables: [{ metainfo: {} }, { table: { family, name: 't' } }, ...objects, base, ...all] })
}

test('output of nft 1.0.6 is imported', () => {
  const found = importText('nft', captured('nft-list-ruleset.txt'), { ignore: ['state', 'fragments'] })
  expect(found.default).toBe('drop')
  expect(rows(found)).toEqual(
    expect.arrayContaining([
      'block bad any: 192.0.2.0/24 198.51.100.7 203.0.113.5-203.0.113.9',
      'block six any: 2001:db8::/32',
      'block - udp sport 53: 198.18.0.0/15',
      'block - icmp: 10.1.0.0-10.1.0.5',
      'block dyn any: 192.0.2.9-192.0.2.10',
      'block n any established judge: 192.0.2.77',
    ]),
  )
  expect(found.established).toBe('pass')
  expect(losses(found)).toContainEqual(
    expect.stringMatching(/^inet filter input rule 1 \(handle 12\): becomes `established: pass`/),
  )
  expect(losses(found)).toContain(
    'inet filter input rule 8 (handle 21): left out because it applies to some of the interfaces only',
  )
})

describe('one rule', () => {
  test.each<[string, readonly unknown[], readonly string[]]>([
    ['an address', [from('10.0.0.1'), DROP], ['block - any: 10.0.0.1']],
    ['a prefix', [from({ prefix: { addr: '10.0.0.0', len: 8 } }), ACCEPT], ['allow - any: 10.0.0.0/8']],
    ['a range', [from({ range: ['10.0.0.1', '10.0.0.9'] }), DROP], ['block - any: 10.0.0.1-10.0.0.9']],
    [
      'a set in place',
      [from({ set: ['10.0.0.1', { prefix: { addr: '11.0.0.0', len: 8 } }] }), { counter: null }, DROP],
      ['block - any: 10.0.0.1 11.0.0.0/8'],
    ],
    ['all but', [from({ prefix: { addr: '128.0.0.0', len: 1 } }, '!='), DROP], ['block - any: 0.0.0.0/1']],
    ['source port', [from('10.0.0.1'), port('udp', 'sport', 53), DROP], ['block - udp sport 53: 10.0.0.1']],
    [
      'destination ports',
      [port('tcp', 'dport', { set: [22, { range: [80, 90] }] }), from('10.0.0.1'), DROP],
      ['block - tcp dport 22,80-90: 10.0.0.1'],
    ],
    [
      'other ports',
      [from('10.0.0.1'), port('tcp', 'dport', 22, '!='), DROP],
      ['block - tcp dport 0-21,23-65535: 10.0.0.1'],
    ],
    [
      'two protocols',
      [match({ meta: { key: 'l4proto' } }, { set: ['tcp', 'udp'] }), port('th', 'dport', 53), from('10.0.0.1'), DROP],
      ['block - tcp dport 53: 10.0.0.1', 'block - udp dport 53: 10.0.0.1'],
    ],
    [
      'ICMP of both families',
      [match({ meta: { key: 'l4proto' } }, { set: ['icmp', 'ipv6-icmp'] }), DROP],
      ['block - icmp: 0.0.0.0/0 ::/0'],
    ],
    ['one family', [match({ meta: { key: 'nfproto' } }, 'ipv6'), DROP], ['block - any: ::/0']],
    ['ports alone', [port('tcp', 'dport', 25), DROP], ['block - tcp dport 25: 0.0.0.0/0 ::/0']],
    [
      'verdicts by address',
      [
        {
          vmap: {
            key: SADDR,
            data: {
              set: [
                ['10.0.0.1', DROP],
                ['10.0.0.2', ACCEPT],
              ],
            },
          },
        },
      ],
      ['block - any: 10.0.0.1', 'allow - any: 10.0.0.2'],
    ],
    [
      'this interface',
      [match({ meta: { key: 'iifname' } }, 'eth0'), from('10.0.0.1'), DROP],
      ['block - any: 10.0.0.1'],
    ],
    ['reject', [from('10.0.0.1'), { reject: null }], ['block - any: 10.0.0.1']],
    ['another interface', [match({ meta: { key: 'iifname' } }, 'eth9'), from('10.0.0.1'), DROP], []],
    ['contradictions', [from('10.0.0.1'), from('10.0.0.2'), DROP], []],
    ['a counter alone', [from('10.0.0.1'), { counter: null }], []],
  ])('%s', (_, expressions, expected) => {
    const found = importText('nft', ruleset([expressions]), { interfaces: ['eth0'] })
    expect({ rows: rows(found), losses: losses(found) }).toEqual({ rows: expected, losses: [] })
  })

  test.each<[string, readonly unknown[]]>([
    ['state of connections', [match({ ct: { key: 'state' } }, 'new', 'in'), DROP]],
    ['a rate', [{ limit: { rate: 1 } }, from('10.0.0.1'), DROP]],
    ['combination of fields', [match({ concat: [SADDR] }, '@x'), DROP]],
    ['under a mask', [match({ '&': [SADDR, '255.0.0.255'] }, '10.0.0.1'), DROP]],
    ['no set', [from('@gone'), DROP]],
    ['a protocol other than', [port('th', 'dport', 53), DROP]],
    ['meta mark', [match({ meta: { key: 'mark' } }, 1), DROP]],
    ['neither a verdict nor a chain', [from('10.0.0.1'), { jump: { target: 'gone' } }]],
    ['an extension of iptables', [{ xt: null }, DROP]],
    ['it uses dup', [{ dup: { addr: '10.0.0.1' } }]],
  ])('left out: %s', (why, expressions) => {
    const found = importText('nft', ruleset([expressions]), { interfaces: ['eth0'] })
    expect(rows(found)).toEqual([])
    expect(losses(found)).toEqual([
      expect.stringMatching(new RegExp(`^inet t c rule 1 \\(handle 10\\): left out because .*${why}`)),
    ])
  })

  const flags = (right: unknown, op: string, mask?: unknown): unknown => {
    const payload = { payload: { protocol: 'tcp', field: 'flags' } }
    return match(mask === undefined ? payload : { '&': [payload, mask] }, right, op)
  }
  const fragOff = (mask: number, op: string): unknown =>
    match({ '&': [{ payload: { protocol: 'ip', field: 'frag-off' } }, mask] }, 0, op)

  // As nft 1.0.6 prints them.
  test.each<[string, readonly unknown[], readonly string[]]>([
    ['ip daddr', [port('ip', 'daddr', '10.0.0.2'), from('10.0.0.1')], ['any to 10.0.0.2: 10.0.0.1']],
    ['ip6 daddr !=', [port('ip6', 'daddr', { prefix: { addr: '::', len: 1 } }, '!=')], ['any to 8000::/1: ::/0']],
    ['flags syn', [flags('syn', 'in')], ['tcp flags syn: any']],
    ['flags fin,syn', [flags(['fin', 'syn'], 'in')], ['tcp flags !fin syn: any', 'tcp flags fin: any']],
    ['flags == syn', [flags('syn', '==')], ['tcp flags !fin syn !rst !psh !ack !urg !ece !cwr: any']],
    ['flags syn / syn,ack', [flags('syn', '==', ['syn', 'ack'])], ['tcp flags syn !ack: any']],
    ['flags != syn / syn,ack', [flags('syn', '!=', ['syn', 'ack'])], ['tcp flags !syn: any', 'tcp flags syn ack: any']],
    ['flags ! syn', [flags('syn', '!')], ['tcp flags !syn: any']],
    ['flags ! fin,syn,rst,psh,ack,urg', [flags(['fin', 'syn', 'rst', 'psh', 'ack', 'urg'], '!')], ['anomaly tcp_null']],
    ['flags & syn == syn', [flags('syn', '==', 'syn')], ['tcp flags syn: any']],
    [
      'flags (fin|syn) == fin|syn',
      [flags({ '|': ['fin', 'syn'] }, '==', { '|': ['fin', 'syn'] })],
      ['anomaly tcp_syn_fin'],
    ],
    [
      'icmp type',
      [port('icmp', 'type', { set: ['echo-request', 'destination-unreachable'] })],
      ['icmp type destination-unreachable,echo-request: 0.0.0.0/0'],
    ],
    ['icmpv6 type', [port('icmpv6', 'type', 'nd-redirect')], ['icmp type redirect: ::/0']],
    [
      'icmp type code',
      [port('icmp', 'type', 'destination-unreachable'), port('icmp', 'code', 'port-unreachable')],
      ['icmp type 3/ code 3/: 0.0.0.0/0'],
    ],
    ['meta length', [match({ meta: { key: 'length' } }, 1000, '>')], ['any length 1001-65535: any']],
    [
      'ip length',
      [match({ meta: { key: 'l4proto' } }, 'udp'), port('ip', 'length', 28, '<')],
      ['udp length 20-27: 0.0.0.0/0'],
    ],
    [
      'ip6 length',
      [port('udp', 'dport', 53), port('ip6', 'length', { range: [10, 20] })],
      ['udp dport 53 length 50-60: ::/0'],
    ],
    ['ip ttl', [port('ip', 'ttl', 5, '<')], ['any ttl 0-4: 0.0.0.0/0']],
    ['ip6 hoplimit', [port('ip6', 'hoplimit', 255, '!=')], ['any ttl 0-254: ::/0']],
    ['ip dscp', [port('ip', 'dscp', 'ef')], ['any dscp ef: 0.0.0.0/0']],
    ['dport >', [port('tcp', 'dport', 1023, '>')], ['tcp dport 1024-65535: any']],
  ])('header field: %s', (_, expressions, expected) => {
    const found = importText('nft', ruleset([[...expressions, DROP]]), { ignore: ['fragments'] })
    const short = rows(found).map((row) => row.replace('0.0.0.0/0 ::/0', 'any').replace('block - ', ''))
    const all = [...short, ...(found.anomalies ?? []).map((name) => `anomaly ${name}`)]
    expect({ rows: all, losses: losses(found) }).toEqual({ rows: expected, losses: [] })
  })

  test.each<[string, readonly unknown[], string]>([
    ['later fragments', [fragOff(0x1fff, '!=')], 'any fragments later'],
    ['all fragments', [fragOff(0x3fff, '!=')], 'any fragments any'],
    ['whole datagrams', [fragOff(0x3fff, '==')], 'any fragments none'],
    ['a VLAN', [port('vlan', 'id', { set: [3, 4] }), from('10.0.0.1')], 'any vlan 3-4'],
  ])('header field at a device: %s', (_, expressions, expected) => {
    const text = ruleset([[...expressions, DROP]], { family: 'netdev', hook: 'ingress' })
    expect(rows(importText('nft', text)).map((row) => row.split(': ')[0])).toEqual([`block - ${expected}`])
  })

  test('an accept by VLAN may be for every packet, because adapters take tags off', () => {
    const rules = [
      [port('vlan', 'id', 5), ACCEPT],
      [from('10.0.0.1'), DROP],
    ]
    const found = importText('nft', ruleset(rules, { family: 'netdev', hook: 'ingress' }))
    expect(rows(found)).toEqual([])
    expect(losses(found).join()).toContain('an adapter may take the VLAN tag off')
  })

  test('a rule with a log is imported without it, with a warning', () => {
    const found = importText('nft', ruleset([[from('10.0.0.1'), { log: null }, DROP]]))
    expect(rows(found)).toEqual(['block - any: 10.0.0.1'])
    expect(losses(found)).toEqual(['inet t c rule 1 (handle 10): imported without its log'])
  })
})

describe('known connections', () => {
  const STATE = { ct: { key: 'state' } }
  const found = (...rules: readonly (readonly unknown[])[]) => importText('nft', ruleset(rules, { policy: 'drop' }))

  test.each<[string, readonly unknown[]]>([
    ['a state', [match(STATE, 'established', 'in'), ACCEPT]],
    ['a set of states', [match(STATE, { set: ['established', 'related'] }), { counter: null }, ACCEPT]],
    ['several states', [match(STATE, ['established', 'related'], 'in'), ACCEPT]],
    [
      'a verdict map',
      [
        {
          vmap: {
            key: STATE,
            data: {
              set: [
                ['related', ACCEPT],
                ['invalid', DROP],
                ['established', ACCEPT],
              ],
            },
          },
        },
      ],
    ],
  ])('%s is an exception from the drops behind it', (_, rule) => {
    const both = found(rule, [from('10.0.0.1'), DROP], [match({ ct: { key: 'status' } }, 'dnat', 'in'), ACCEPT])
    expect([both.default, both.established]).toEqual(['drop', 'pass'])
    expect(rows(both)).toEqual(expect.arrayContaining(['allow - icmp: 0.0.0.0/0 ::/0', 'block - any: 10.0.0.1']))
    expect(both.leftOut.map(({ code }) => code)).toContain('W402')
  })

  test.each<[string, readonly unknown[]]>([
    ['other states', [match(STATE, { set: ['established', 'new'] }), ACCEPT]],
    ['all other states', [match(STATE, 'established', '!='), ACCEPT]],
    ['a mark besides', [match({ ct: { key: 'mark' } }, 1), match(STATE, 'established', 'in'), ACCEPT]],
    ['a state under a rate', [match(STATE, 'established', 'in'), { limit: {} }, ACCEPT]],
  ])('%s may let every packet pass', (_, rule) => {
    expect(found(rule, [from('10.0.0.1'), DROP])).toMatchObject({ default: 'pass', established: 'judge', lists: [] })
  })
})

describe('chains', () => {
  const rules = [[from('10.0.0.1'), DROP]]

  test.each(['ingress', 'prerouting', 'input'])('a chain with the hook %s is imported', (hook) => {
    expect(rows(importText('nft', ruleset(rules, { hook })))).toEqual(['block - any: 10.0.0.1'])
  })

  test.each(['output', 'postrouting'])('a chain with the hook %s is ignored', (hook) => {
    expect(importText('nft', ruleset(rules, { hook }))).toMatchObject({ lists: [], leftOut: [] })
  })

  test('a chain with the hook forward is left out with a warning', () => {
    expect(losses(importText('nft', ruleset(rules, { hook: 'forward' })))).toEqual([
      expect.stringContaining('forwarded packets only'),
    ])
  })

  test('a netdev chain sets the interfaces, and is left out for others', () => {
    const text = ruleset(rules, { family: 'netdev', hook: 'ingress', chain: { dev: 'eth1' } })
    expect(importText('nft', text).interfaces).toEqual([{ name: 'eth1', mode: undefined }])
    expect(rows(importText('nft', text, { interfaces: ['eth0'] }))).toEqual([])
    expect(losses(importText('nft', text, { interfaces: ['eth0', 'eth1'] })).join()).toContain(
      'some of the interfaces only',
    )
  })

  test('addresses that one chain accepts and another drops are dropped', () => {
    const first = JSON.parse(
      ruleset([[from({ prefix: { addr: '10.0.0.0', len: 8 } }), ACCEPT]], { hook: 'ingress' }),
    ).nftables
    const second = JSON.parse(
      ruleset([[from({ prefix: { addr: '10.0.0.0', len: 9 } }), DROP]]).replaceAll('"t"', '"u"'),
    ).nftables
    expect(rows(importText('nft', JSON.stringify({ nftables: [...first, ...second] })))).toEqual([
      'allow - any: 10.128.0.0/9',
      'block - any: 10.0.0.0/9',
    ])
  })

  test('sets without any rule become blocklists', () => {
    const set = {
      set: {
        family: 'inet',
        table: 't',
        name: 'bad',
        type: 'ipv4_addr',
        elem: ['10.0.0.1', { elem: { val: '10.0.0.2', timeout: 5 } }],
      },
    }
    expect(rows(importText('nft', JSON.stringify({ nftables: [set] })))).toEqual(['block bad any: 10.0.0.1-10.0.0.2'])
  })
})

test.each(['', '{}', '[]', '{"nftables":1}', 'table inet t {}'])('%j is refused', (text) => {
  expect(() => importText('nft', text)).toThrow('E400')
})
