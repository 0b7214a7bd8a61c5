import { describe, expect, test } from 'vitest'
import { captured, importText, losses, rows } from '../../support/import.ts'

const save = (policy: string, ...rules: readonly string[]): string =>
  ['*filter', `:INPUT ${policy} [0:0]`, ':own - [0:0]', ...rules, 'COMMIT', ''].join('\n')

test('output of iptables-save 1.8.9, ip6tables-save and ipset save is imported', () => {
  const beside = [captured('ip6tables-save.txt'), captured('ipset-save.txt')]
  const found = importText('iptables', captured('iptables-save.txt'), { interfaces: ['va'], beside })
  expect(found.default).toBe('drop')
  const all = rows(found)
  expect(all).toContain('block - tcp dport 22,80,8000-8010: 198.51.100.8')
  expect(all).toContain('block netset any: 10.5.0.0-10.5.0.6 192.0.2.0/24 198.51.100.7')
  expect(all).toContain('block tmo udp sport 123: 1.2.3.4')
  expect(all).toContain('block - 47: 9.9.9.9')
  expect(all).toContain('allow - any: 10.0.0.0/8')
  // From the jump to f2b-sshd, whose own rule has no ports.
  expect(all).toContain('block - tcp dport 22: 7.7.7.7 198.51.100.7')
  expect(losses(found)).toHaveLength(11)
})

describe('one rule', () => {
  test.each([
    ['-A INPUT -s 10.0.0.0/8 -j DROP', 'block - any: 10.0.0.0/8'],
    ['[3:4] -A INPUT -s 10.0.0.1/32 -j REJECT --reject-with icmp-port-unreachable', 'block - any: 10.0.0.1'],
    ['-A INPUT -s 10.0.0.0/8 -j ACCEPT', 'allow - any: 10.0.0.0/8'],
    ['-A INPUT -s 10.0.0.0/255.0.0.0 -j DROP', 'block - any: 10.0.0.0/8'],
    ['-A INPUT ! -s 128.0.0.0/1 -j DROP', 'block - any: 0.0.0.0/1'],
    ['-A INPUT -s 10.0.0.1/32 -p udp -m udp --sport 53 -j DROP', 'block - udp sport 53: 10.0.0.1'],
    ['-A INPUT -s 10.0.0.1/32 -p tcp -m tcp --dport 1024: -j DROP', 'block - tcp dport 1024-65535: 10.0.0.1'],
    [
      '-A INPUT -s 10.0.0.1/32 -p tcp -m multiport --dports 22,80,90:99 -j DROP',
      'block - tcp dport 22,80,90-99: 10.0.0.1',
    ],
    ['-A INPUT -s 10.0.0.1/32 -p icmp -j DROP', 'block - icmp: 10.0.0.1'],
    ['-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP', 'block - any: 10.0.0.1-10.0.0.9'],
    ['-A INPUT -p tcp -m tcp --dport 25 -j DROP', 'block - tcp dport 25: 0.0.0.0/0'],
    ['-A INPUT -i eth0 -s 10.0.0.1/32 -j DROP', 'block - any: 10.0.0.1'],
    ['-A INPUT -i eth+ -s 10.0.0.1/32 -j DROP', 'block - any: 10.0.0.1'],
  ])('%s', (rule, expected) => {
    const found = importText('iptables', save('ACCEPT', rule), { interfaces: ['eth0'] })
    expect({ rows: rows(found), losses: losses(found) }).toEqual({ rows: [expected], losses: [] })
  })

  test.each([
    ['-A INPUT -s 10.0.0.1/32 -d 10.0.0.2/32 -j DROP', 'destination address'],
    ['-A INPUT -s 10.0.0.1/32 -m conntrack --ctstate NEW -j DROP', 'state of connections'],
    ['-A INPUT -s 10.0.0.1/32 -m limit --limit 1/sec -j DROP', 'a rate'],
    ['-A INPUT -s 10.0.0.1/32 -j LOG', 'a log'],
    ['-A INPUT -s 10.0.0.1/32 -j elsewhere', 'neither a verdict nor a chain'],
    ['-A INPUT -p tcp -m tcp --tcp-flags SYN SYN -j DROP', '--tcp-flags'],
    ['-A INPUT -s 1.0.0.1/255.0.0.255 -j DROP', 'not a prefix'],
    ['-A INPUT -m set --match-set gone src -j DROP', 'not in the input'],
    ['-A INPUT -p sctp -m sctp --dport 9 -j DROP', 'a protocol other than'],
    ['-A INPUT -m mac --mac-source 00:11:22:33:44:55 -j DROP', 'the match mac'],
  ])('%s is left out', (rule, why) => {
    const found = importText('iptables', save('ACCEPT', rule), { interfaces: ['eth0'] })
    expect(rows(found)).toEqual([])
    expect(losses(found)).toEqual([expect.stringMatching(new RegExp(`^4: left out because .*${why}`))])
  })

  test.each([
    '-A INPUT -i lo -j ACCEPT',
    '-A INPUT -i eth9 -s 10.0.0.1/32 -j DROP',
    '-A OUTPUT -s 10.0.0.1/32 -j DROP',
  ])('%s is ignored: it matches no packet of the config', (rule) => {
    const found = importText('iptables', save('ACCEPT', rule), { interfaces: ['eth0'] })
    expect({ rows: rows(found), losses: losses(found) }).toEqual({ rows: [], losses: [] })
  })
})

describe('the order of rules', () => {
  const found = (...rules: readonly string[]) => importText('iptables', save('ACCEPT', ...rules))

  test('an accept before a drop becomes an allowlist entry', () => {
    const both = found('-A INPUT -s 10.1.0.0/16 -j ACCEPT', '-A INPUT -s 10.0.0.0/8 -j DROP')
    expect(rows(both)).toEqual(['allow - any: 10.1.0.0/16', 'block - any: 10.0.0.0/8'])
  })

  test('an accept after a drop loses the dropped addresses', () => {
    const both = found(
      '-A INPUT -s 10.0.0.0/9 -j DROP',
      '-A INPUT -s 10.0.0.0/8 -j ACCEPT',
      '-A INPUT -s 10.0.0.0/7 -j DROP',
    )
    expect(rows(both)).toEqual(['block - any: 10.0.0.0/7', 'allow - any: 10.128.0.0/9'])
    expect(losses(both)).toEqual([])
  })

  test('an accept is left out if a list cannot express it without the dropped packets', () => {
    const both = found('-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j DROP', '-A INPUT -s 10.0.0.0/8 -j ACCEPT')
    expect(rows(both)).toEqual(['block - tcp dport 22: 10.0.0.0/8'])
    expect(losses(both)).toEqual([
      '5: left out because in:4 drops part of them first, and an allowlist would override that',
    ])
  })

  test('a last rule for all packets becomes the default', () => {
    expect(found('-A INPUT -j DROP', '-A INPUT -s 10.0.0.1/32 -j ACCEPT')).toMatchObject({
      default: 'drop',
      lists: [{ kind: 'allowlist', comment: 'IPv6 passes by default' }],
    })
  })

  test('an early return for all packets ends the chain', () => {
    const both = found(
      '-A INPUT -s 10.0.0.0/8 -j own',
      '-A own -p udp -j DROP',
      '-A own -j RETURN',
      '-A own -j DROP',
      '-A INPUT -s 11.0.0.1/32 -j DROP',
    )
    expect(rows(both)).toEqual(['block - udp: 10.0.0.0/8', 'block - any: 11.0.0.1'])
  })
})

test('a default drop of IPv6 alone does not drop IPv4', () => {
  const text = [
    '# Generated by ip6tables-save v1.8.9',
    '*filter',
    ':INPUT DROP [0:0]',
    '-A INPUT -s fe80::/10 -j ACCEPT',
    'COMMIT',
  ].join('\n')
  expect(rows(importText('iptables', text))).toEqual(['allow - any: fe80::/10', 'allow - any: 0.0.0.0/0'])
})

test('a default drop of one family is left out if the other family blocks by port', () => {
  const six = [
    '# Generated by ip6tables-save',
    '*filter',
    ':INPUT ACCEPT [0:0]',
    '-A INPUT -s fe80::/10 -p tcp -j DROP',
    'COMMIT',
  ].join('\n')
  const found = importText('iptables', save('DROP'), { beside: [six] })
  expect(found.default).toBe('pass')
  expect(losses(found).join()).toContain('its default drop is left out')
})

test('output of `iptables -S` is imported', () => {
  const found = importText('iptables', '-P INPUT DROP\n-N own\n-A INPUT -s 10.0.0.1/32 -j own\n-A own -j ACCEPT\n')
  expect(found.default).toBe('drop')
  expect(rows(found)[0]).toBe('allow - any: 10.0.0.1')
})

test.each(['nonsense', '{"nftables":[]}', 'add s 10.0.0.1'])('%j is refused', (text) => {
  expect(() => importText('iptables', text)).toThrow('E400')
})
