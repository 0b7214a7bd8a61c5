// From live nftables to live XDP: xdp drops the packets that nftables dropped, and a second import changes nothing.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Lab } from '../support/hosts.ts'

const RULES = `
table inet filter {
  set bad {
    type ipv4_addr; flags interval
    elements = { 192.0.2.2, 198.51.100.0/24, 203.0.113.5-203.0.113.9 }
  }
  set six {
    type ipv6_addr; flags interval
    elements = { 2001:db8::2, 2001:db8:bad::/48 }
  }
  chain input {
    type filter hook input priority 0; policy accept;
    iif lo accept
    ip saddr 198.51.100.7 accept
    ip saddr @bad drop
    ip6 saddr @six drop
    ip saddr 198.18.0.0/15 udp sport 53 drop
  }
}
`

let lab: Lab
/** Why these tests cannot run here. */
let missing: string | undefined

beforeAll(() => {
  lab = new Lab()
  try {
    execFileSync('nft', ['--version'])
    lab.in(lab.host, 'nft', '-f', lab.write('rules.nft', RULES))
  } catch (error) {
    missing = `nftables cannot be used: ${(error as Error).message.split('\n')[0]}`
  }
})
afterAll(() => lab.close())

const verdict = async (address: string, ...packet: readonly string[]): Promise<string> =>
  JSON.parse(await lab.ok('why', address, '-f', 'site/xdp.yaml', '--json', ...packet)).live.verdict

test('imports live nftables rules, and XDP drops the same packets', async ({ skip }) => {
  if (missing !== undefined) skip(missing)
  // First the packets that nftables drops, before any XDP program is attached.
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3' })).toBe(2)

  const result = JSON.parse(
    await lab.ok('import', '--from', 'nft', '--interface', 'eth0', '--output', 'site', '--strict', '--json'),
  )
  expect(result).toMatchObject({ policy: { default: 'pass' }, left_out: [], warnings: [] })
  await lab.ok('validate', '-f', 'site/xdp.yaml')
  await lab.ok('apply', '-f', 'site/xdp.yaml', '--auto-approve')
  lab.in(lab.host, 'nft', 'flush', 'ruleset')

  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3' })).toBe(2)
  expect(await lab.ping('2001:db8::1', { source: '2001:db8::2', count: 1 })).toBe(0)
  expect(await lab.ping('2001:db8::1', { source: '2001:db8::3' })).toBe(2)
  for (const inside of ['192.0.2.2', '198.51.100.0', '198.51.100.255', '203.0.113.5', '203.0.113.9', '2001:db8:bad::1'])
    expect([inside, await verdict(inside)]).toEqual([inside, 'drop'])
  for (const outside of [
    '192.0.2.1',
    '198.51.99.255',
    '198.51.100.7',
    '198.51.101.0',
    '203.0.113.4',
    '203.0.113.10',
    '2001:db8:bae::',
  ])
    expect([outside, await verdict(outside)]).toEqual([outside, 'pass'])
  expect(await verdict('198.18.0.1', '--protocol', 'udp', '--source-port', '53')).toBe('drop')
  expect(await verdict('198.18.0.1', '--protocol', 'udp', '--source-port', '54')).toBe('pass')
  expect(await verdict('198.18.0.1')).toBe('pass')
})

test('a second import gives equal lists, and the plan is empty', async ({ skip }) => {
  if (missing !== undefined) skip(missing)
  lab.in(lab.host, 'nft', '-f', join(lab.directory, 'rules.nft'))
  await lab.ok('import', '--from', 'nft', '--interface', 'eth0', '--output', 'again')
  const lists = (directory: string): string =>
    readFileSync(join(lab.directory, directory, 'xdp.yaml'), 'utf8').replace(/ \(handle \d+\)/g, '')
  expect(lists('again')).toBe(lists('site'))
  expect(await lab.ok('plan', '-f', 'again/xdp.yaml', '--detailed-exitcode')).toContain('No changes.')
  await lab.ok('destroy', '--auto-approve')
})

test('imports a saved ruleset from stdin like the live one', async ({ skip }) => {
  if (missing !== undefined) skip(missing)
  const saved = lab.write('saved.json', lab.in(lab.host, 'nft', '-j', 'list', 'ruleset'))
  const [file, ...argv] = lab.argv('import', '--from', 'nft', '--interface', 'eth0', '-') as [string, ...string[]]
  const text = execFileSync(file, argv, { input: readFileSync(saved), encoding: 'utf8' })
  expect(text.split('\n').slice(4)).toEqual(
    readFileSync(join(lab.directory, 'again/xdp.yaml'), 'utf8').split('\n').slice(4),
  )
})
