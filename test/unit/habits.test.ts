// Words of other tools get a pointer to the word here.
import { expect, test } from 'vitest'
import { COMMAND_HABITS, FLAG_HABITS } from '../../src/commands/cli/habits.ts'
import { everyFlag, parseArguments } from '../../src/commands/cli/parse.ts'
import { COMMANDS } from '../../src/commands/table.ts'
import { loadConfig } from '../../src/config/load.ts'
import { XdpError } from '../../src/diagnostics.ts'
import { writeFiles } from '../support/config.ts'

function hintOf(...argv: readonly string[]): string | undefined {
  try {
    parseArguments(argv, COMMANDS)
  } catch (error) {
    if (error instanceof XdpError) return error.diagnostics[0]?.hint
    throw error
  }
  return undefined
}

/** The hint of the one error of an entry, or of a whole config. */
async function hintIn(config: string): Promise<string | undefined> {
  const place = writeFiles({ 'xdp.yaml': `version: 1\ninterfaces: { eth0: {} }\n${config}\n` })
  try {
    await loadConfig(`${place}/xdp.yaml`)
  } catch (error) {
    if (error instanceof XdpError) return error.diagnostics.map(({ hint }) => hint).join('\n')
    throw error
  }
  return undefined
}

test.each([
  [['version'], '--version'],
  [['log'], 'xdp history'],
  [['plan', '--dry-run'], 'xdp plan'],
  [['apply', '--dry-run'], 'xdp plan'],
  [['apply', '-y'], '--auto-approve'],
  [['status', '-o', 'json'], '--json'],
  [['plan', '--config', 'x.yaml'], '-f FILE'],
  [['why', '192.0.2.1', '--proto', 'tcp'], '--protocol'],
  [['why', '192.0.2.1', '--dport', '22'], '--destination-port'],
  [['why', '192.0.2.1', '--port', '22'], '--source-port'],
  [['apply', '--auto'], '--auto-approve'],
  [['del', '192.0.2.1'], 'xdp unban'],
  [['detach'], 'xdp destroy'],
  [['config'], 'xdp validate'],
  [['init'], 'version: 1'],
  [['allow', '192.0.2.1'], 'allowlist'],
  [['apply', '--force'], '--force-cut'],
  [['plan', '--output', 'json'], '--json'],
  [['ban', '192.0.2.1', '--timeout', '60'], '--ttl'],
])('%j points to %s', (argv, word) => {
  expect(hintOf(...argv)).toContain(word)
})

test('no habit is a command or a flag, and every command and flag that a hint names exists', () => {
  const names = COMMANDS.map(({ name }) => name)
  const flags = everyFlag(COMMANDS)
  expect(Object.keys(COMMAND_HABITS).filter((word) => names.includes(word))).toEqual([])
  for (const hint of [...Object.values(COMMAND_HABITS), ...Object.values(FLAG_HABITS)]) {
    for (const [, command = ''] of hint.matchAll(/`xdp ([a-z]+)/g)) expect(names).toContain(command)
    for (const [, flag = ''] of hint.matchAll(/--([a-z-]+)/g)) expect(flags).toHaveProperty([flag])
  }
})

test.each([
  ['whitelist: [192.0.2.1]', 'allowlist'],
  ['blacklist: [192.0.2.1]', 'blocklist'],
  ['blocklist: [{ saddr: 192.0.2.1 }]', '"cidr"'],
  ['blocklist: [{ cidr: 192.0.2.1, proto: tcp }]', '"protocol"'],
  ['blocklist: [{ cidr: 192.0.2.1, protocol: [tcp, udp] }]', 'one entry for each protocol'],
  ['blocklist: [{ cidr: 192.0.2.1, protocol: tcp, destination_port: ssh }]', 'getent services ssh'],
  ['blocklist: [{ cidr: 192.0.2.1, action: accept }]', 'allowlist'],
  ['blocklist: [evil.example.com]', '`host: evil.example.com`'],
  ['blocklist: [RU]', '`country: RU`'],
  ['blocklist: [AS64496]', '`asn: 64496`'],
  ['blocklist: ["https://example.com/list.txt"]', '{ url: https://example.com/list.txt }'],
  ['blocklist:\n- 192.0.2.1\n - 192.0.2.2', 'indent all entries'],
  ['services: { web: { vip: 192.0.2.1, port: 80, protocol: tcp, mode: nat, backends: [10.0.0.1] } }', '"forwarding"'],
  [
    'services: { web: { vip: 192.0.2.1, port: 80, protocol: tcp, forwarding: nat, backends: [{ ip: 10.0.0.1 }] } }',
    '"address"',
  ],
  [
    'services: { web: { vip: 192.0.2.1, port: 80, protocol: tcp, forwarding: nat, backends: [10.0.0.1], health: { type: http, url: /x } } }',
    '"path"',
  ],
  ['blocklist: [{ cidr: 192.0.2.1, protocol: tcp, port: 22 }]', 'destination_port'],
  ['blocklist: [{ cidr: 192.0.2.1, protocol: tcp, dport: 22 }]', 'destination_port'],
  ['blocklist: [{ cidr: 192.0.2.1, protocol: udp, sport: 53 }]', 'source_port'],
  ['blocklist: [{ cidr: 192.0.2.1, ttl: 1h }]', 'xdp ban ADDRESS --ttl 1h'],
])('%s points to %s', async (config, word) => {
  expect(await hintIn(config)).toContain(word)
})

test.each([
  ['gre', 47],
  ['esp', 50],
  ['ah', 51],
  ['sctp', 132],
])('protocol: %s is protocol %i', async (name, number) => {
  const load = async (protocol: string | number) => {
    const text = `version: 1\ninterfaces: { eth0: {} }\nblocklist: [{ cidr: 192.0.2.1, protocol: ${protocol} }]\n`
    return (await loadConfig(`${writeFiles({ 'xdp.yaml': text })}/xdp.yaml`)).desired.state.lists
  }
  expect(await load(name)).toEqual(await load(number))
})

test('a protocol without ports refuses them', async () => {
  expect(await hintIn('blocklist: [{ cidr: 192.0.2.1, protocol: sctp, destination_port: 22 }]')).toContain('tcp')
})
