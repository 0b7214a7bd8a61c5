import { describe, expect, test } from 'vitest'
import { compose } from '../../../src/import/document.ts'
import { composeAll, importText, load, losses } from '../../support/import.ts'

const sets = (...lines: readonly string[]): string => `${lines.join('\n')}\n`
const many = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `add ${name} 10.0.${at >> 7}.${(at & 127) * 2}`)

describe('the config', () => {
  test('starts with the schema line for editors and names the source of each list', () => {
    const found = importText(
      'ipset',
      sets('create bad hash:ip family inet', 'add bad 192.0.2.1', 'create t hash:ip timeout 5', 'add t 192.0.2.9'),
    )
    expect(composeAll(found, 'ipset').config).toBe(`# yaml-language-server: $schema=./schemas/xdp.schema.json
#
# Imported with \`xdp import --from ipset\` from in.
# Not imported, because a list cannot express it:
#   in:3: the entries of set t have a timeout; in the list they do not expire

version: 1

interfaces:
  eth0: {mode: [native, generic]}

policy:
  default: pass

allowlist: []

blocklist:
  # from in:1
  - name: bad
    cidr: 192.0.2.1
  # from in:3
  - name: t
    cidr: 192.0.2.9
`)
  })

  test('without a schema on the host it says how to write one where it points', () => {
    const found = importText('ipset', sets('create bad hash:ip family inet', 'add bad 192.0.2.1'))
    const interfaces = [{ name: 'eth0', mode: undefined }]
    const { config } = compose(found, { from: 'ipset', source: 'in', interfaces, schema: undefined, files: false })
    expect(config.split('\n').slice(0, 2)).toEqual([
      '# yaml-language-server: $schema=./xdp.schema.json',
      '# For editors, in this directory: xdp schema > xdp.schema.json',
    ])
  })

  test('a list with more than 20 ranges goes into a file', async () => {
    const found = importText('ipset', sets('create a hash:ip', ...many('a', 20), 'create b hash:ip', ...many('b', 21)))
    const composed = composeAll(found, 'ipset')
    expect(composed.files.map(({ path }) => path)).toEqual(['lists/b.txt'])
    expect(Buffer.from(composed.files[0]?.content ?? []).toString()).toMatch(
      /^# xdp import --from ipset: from in:22\n10\.0\.0\.0\n10\.0\.0\.2\n/,
    )
    const { lists } = (await load(composed)).desired.state
    expect([...lists.values()].map(({ name, sets: [set] }) => [name, set?.addresses.v4.length])).toEqual([
      ['a', 20],
      ['b', 21],
    ])
    expect(composed.lists).toMatchObject([
      { name: 'a', prefixes: 20, file: null },
      { name: 'b', prefixes: 21, file: 'lists/b.txt' },
    ])
  })

  test('importing one source twice gives equal text', () => {
    const once = () => composeAll(importText('ipset', sets('create a hash:net', ...many('a', 30))), 'ipset')
    expect(once()).toEqual(once())
  })

  test('a list file of both families reads back unchanged', async () => {
    const lines = [...many('a', 30), 'add a 192.0.2.0/24', 'add a 0.0.0.0/8']
    const six = Array.from({ length: 30 }, (_, at) => `add s 2001:db8:${at.toString(16)}::/48`)
    const found = importText(
      'ipset',
      sets('create a hash:net', ...lines, 'create s hash:net family inet6', ...six, 'add s ::1', 'add s ffff::/16'),
    )
    const { lists } = (await load(composeAll(found, 'ipset'))).desired.state
    for (const { name, addresses } of found.lists) expect(lists.get(name ?? '')?.sets[0]?.addresses).toEqual(addresses)
  })

  test('IPv4 in IPv6 form is left out, because a config refuses it', async () => {
    const composed = composeAll(
      importText('ipset', sets('create a hash:net family inet6', 'add a ::ffff:192.0.2.1', 'add a 2001:db8::/32')),
      'ipset',
    )
    expect(losses(composed).join()).toContain('no packet has such a source')
    expect((await load(composed)).desired.state.lists.get('a')?.sets[0]?.addresses.v6.length).toBe(1)
  })

  test('an empty set gives no list', async () => {
    const composed = composeAll(importText('ipset', sets('create a hash:net family inet')), 'ipset')
    expect(composed.lists).toEqual([])
    await load(composed)
  })
})

describe('names', () => {
  test.each([
    ['blocklist', ['blocklist-block']],
    ['_x', ['x']],
    ['ä', ['set']],
    ['a/b:c', ['a-b-c']],
    ['x'.repeat(60), ['x'.repeat(39)]],
  ])('%s becomes a valid list name', async (name, expected) => {
    const composed = composeAll(importText('ipset', sets(`create ${name} hash:ip`, `add ${name} 192.0.2.1`)), 'ipset')
    expect([...(await load(composed)).desired.state.lists.keys()]).toEqual(expected)
  })

  test('a set used by two rules gives two lists', async () => {
    const rules = [
      '*filter',
      ':INPUT ACCEPT [0:0]',
      '-A INPUT -m set --match-set a src -p tcp --dport 22 -j ACCEPT',
      '-A INPUT -m set --match-set a src -j DROP',
      'COMMIT',
      'create a hash:ip',
      'add a 192.0.2.1',
    ]
    const composed = composeAll(importText('iptables', sets(...rules)), 'iptables')
    expect([...(await load(composed)).desired.state.lists.keys()].sort()).toEqual(['a', 'a-block'])
  })

  test('a foreign comment cannot leave its YAML comment', async () => {
    const rules = [
      '*filter',
      ':INPUT ACCEPT [0:0]',
      '-A INPUT -s 192.0.2.1/32 -m comment --comment "a: [b] #c\u001b[31m \\"d\\"" -j DROP',
      'COMMIT',
    ]
    const { config } = composeAll(importText('iptables', sets(...rules)), 'iptables')
    expect(config).not.toContain('\u001b')
    await load({ ...composeAll(importText('iptables', sets(...rules)), 'iptables') })
  })
})
