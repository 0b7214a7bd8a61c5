import { expect, test } from 'vitest'
import { captured, importText, losses, rows } from '../../support/import.ts'

test('policy allow: listed addresses are dropped; the interface keeps its mode', () => {
  const found = importText('xdp-filter', captured('xdp-filter-allow.txt'))
  expect(found).toMatchObject({ default: 'pass', interfaces: [{ name: 'va', mode: 'generic' }] })
  expect(rows(found)).toEqual([
    'block - any: 192.0.2.3',
    'block - tcp dport 22: 0.0.0.0/0 ::/0',
    'block - udp dport 22: 0.0.0.0/0 ::/0',
    'block - udp sport 53: 0.0.0.0/0 ::/0',
  ])
  expect(losses(found)).toEqual([
    '20: 2001:db8::7 is filtered as a destination address: left out',
    '21: 192.0.2.1 is filtered as a destination address: left out',
    '22: 192.0.2.2 is filtered as a destination address: left out',
    '23: 192.0.2.3 is filtered as a destination address: imported as a source only',
    '27: left out because 00:11:22:33:44:56 is a MAC address',
    '28: left out because 00:11:22:33:44:55 is a MAC address',
  ])
})

test('policy deny: listed addresses pass, all others are dropped', () => {
  const text = captured('xdp-filter-deny.txt').replace(/192\.0\.2\.1( +)dst/, '192.0.2.1$1src')
  const found = importText('xdp-filter', text)
  expect(found).toMatchObject({ default: 'drop', leftOut: [] })
  expect(rows(found)).toEqual(['allow - any: 192.0.2.1'])
})

test('an interface with a different policy is left out', () => {
  const text = captured('xdp-filter-allow.txt').replace(
    /( {2}va .*\n)/,
    '$1xdpfilt_dny_all\n  vb (native mode)                         tcp,udp,ipv6,ipv4,ethernet,deny\n',
  )
  const found = importText('xdp-filter', text)
  expect(found.interfaces.map(({ name }) => name)).toEqual(['va'])
  expect(losses(found).join()).toContain('interface vb is left out')
})

test.each(['', 'nonsense', "Couldn't find stats map. Maybe xdp-filter is not loaded?"])('%j is refused', (text) => {
  expect(() => importText('xdp-filter', text)).toThrow('E400')
})
