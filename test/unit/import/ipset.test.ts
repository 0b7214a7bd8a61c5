import { describe, expect, test } from 'vitest'
import { captured, importText, losses, rows } from '../../support/import.ts'

describe('ipset save', () => {
  const real = importText('ipset', captured('ipset-save.txt'))

  test('each set of addresses in the output of ipset 7.17 becomes a blocklist', () => {
    expect(real).toMatchObject({ default: 'pass', interfaces: [] })
    expect(rows(real)).toEqual([
      'block bad any: ',
      'block netset any: 10.5.0.0-10.5.0.6 192.0.2.0/24 198.51.100.7',
      'block six any: 2001:db8::7',
      'block tmo any: 1.2.3.4',
      'block ipp tcp dport 80: 1.2.3.4',
      'block bm any: 10.0.0.5',
      'block netm any: 10.2.3.0/24',
      'block cw any: fe80::/64',
      'block skbi any: 9.9.9.9',
    ])
  })

  test('entries with more than a source address, and timeouts, are reported with their line', () => {
    expect(losses(real)).toEqual([
      '11: the entries of set tmo have a timeout; in the list they do not expire',
      '13: set nif with 1 entry is left out because its entries (hash:net,iface) are not source addresses alone',
      '25: set ls with 1 entry is left out because its entries (list:set) are not source addresses alone',
      '15: set ipp does not say whose ports it holds; imported as destination ports, as for `src,dst`',
    ])
  })

  test.each([
    [
      'the longest prefix decides',
      ['10.0.0.0/8', '10.1.0.0/16 nomatch', '10.1.2.0/24'],
      '10.0.0.0/16 10.1.2.0/24 10.2.0.0-10.255.255.255',
    ],
    ['an exception alone matches nothing', ['10.1.0.0/16 nomatch'], ''],
    ['the word nomatch in a comment makes no exception', ['10.1.0.0/16 comment "a nomatch b"'], '10.1.0.0/16'],
    ['options after the entry are ignored', ['10.1.0.0/16 timeout 5 packets 1 bytes 2'], '10.1.0.0/16'],
    ['windows line ends', ['10.1.0.0/16\r', '10.3.0.0/16\r'], '10.1.0.0/16 10.3.0.0/16'],
  ])('%s', (_, entries, expected) => {
    const lines = entries.map((entry) => `add s ${entry}`)
    const found = importText('ipset', ['create s hash:net family inet', ...lines, ''].join('\n'))
    expect(rows(found)).toEqual([`block s any: ${expected}`])
  })

  test('entries with ports become scoped entries, one for the ports of equal addresses', () => {
    const entries = [
      '10.0.0.0/8,tcp:22',
      '10.0.0.0/8,tcp:23',
      '10.0.0.0/8,udp:53',
      '11.0.0.0/8,tcp:22',
      '12.0.0.1,gre:0',
    ]
    const lines = ['create s hash:net,port family inet', ...entries.map((entry) => `add s ${entry}`), '']
    expect(rows(importText('ipset', lines.join('\n')))).toEqual([
      'block s tcp dport 22: 10.0.0.0/7',
      'block s tcp dport 23: 10.0.0.0/8',
      'block s udp dport 53: 10.0.0.0/8',
      'block s 47: 12.0.0.1',
    ])
  })

  test.each(['10.0.0.1,icmp:8/0', '10.0.0.1,sctp:22', '10.0.0.1,tcp:22 nomatch'])('%s is left out', (entry) => {
    const found = importText('ipset', `create s hash:net,port family inet\nadd s ${entry}\n`)
    expect({ rows: rows(found), losses: losses(found) }).toEqual({
      rows: [],
      losses: ['1: 1 entry of set s: a list cannot express the port'],
    })
  })

  test('a mask with holes is not imported', () => {
    const found = importText('ipset', 'create s hash:ip family inet bitmask 255.0.255.0\nadd s 10.0.1.0\n')
    expect(rows(found)).toEqual([])
    expect(losses(found)[0]).toContain('is not a prefix length')
  })

  test.each([
    'nonsense',
    'add s 10.0.0.1',
    'create s hash:ip family inet\nadd s 10.0.0.300',
    '*filter',
    '{"nftables":[]}',
  ])('%j is refused with its place', (text) => {
    expect(() => importText('ipset', text)).toThrow(
      expect.objectContaining({
        diagnostics: [expect.objectContaining({ code: 'E400', at: expect.objectContaining({ file: 'in' }) })],
      }),
    )
  })

  test('reads a million entries', () => {
    let text = 'create s hash:ip family inet\n'
    for (let at = 0; at < 1_000_000; at++) {
      const word = Math.imul(at, 2654435761) >>> 0
      text += `add s ${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}\n`
    }
    const { lists } = importText('ipset', text)
    expect(lists[0]?.addresses.v4.length).toBeGreaterThan(900_000)
  })
})
