// Plans and verdicts without the kernel: as a user without rights, where bpftool, ip and the bpffs cannot be reached.

import { chmodSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EXIT } from '../../src/diagnostics.ts'
import { sample } from '../support/depth.ts'
import { capture, ETH0, Lab, type Output } from '../support/hosts.ts'
import { check } from '../support/schemas.ts'

let lab: Lab

const OLD =
  'version: 1\ninterfaces: { eth0: {} }\nblocklist:\n  - 198.51.100.42\n  - { name: own, cidr: 192.0.2.200, destination: host }\n  - { name: bad, cidrs: [203.0.113.0/25] }\n'
const NEW = OLD.replace('203.0.113.0/25', '203.0.113.0/24')

beforeAll(() => {
  lab = new Lab([ETH0])
  chmodSync(lab.directory, 0o755)
  lab.write('old.yaml', OLD)
  lab.write('new.yaml', NEW)
})
afterAll(() => lab.close())

/** Runs `xdp …` as user 65534, in a mount namespace in which every tool of the kernel refuses to run. */
function unprivileged(...args: readonly string[]): Promise<Output> {
  const hide = ['/usr/sbin/bpftool', '/usr/bin/ip', '/usr/bin/flock'].map((tool) => `mount --bind /dev/null ${tool}`)
  const body = [
    ...hide,
    'mount -t tmpfs none /sys/fs/bpf',
    'exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=/nonexistent "$@"',
  ].join(' && ')
  const command = [process.execPath, lab.cli, ...args]
  return capture('unshare', ['--mount', 'sh', '-c', body, 'sh', ...command], { cwd: lab.directory, env: process.env })
}

const codeOf = ({ stdout }: Output): string =>
  (check('error', stdout) as { errors: { code: string }[] }).errors[0]?.code ?? ''

test('a state that a host exports has the same plan elsewhere, without rights, tools and kernel', async () => {
  await lab.ok('apply', '-f', 'old.yaml', '--auto-approve')
  await lab.ok('status', '--state', 'state.json')
  const state = join(lab.directory, 'state.json')
  expect(statSync(state).mode & 0o777).toBe(0o600)
  check('state', readFileSync(state, 'utf8'))
  expect(JSON.parse(await lab.ok('status', '--state', '-'))).toMatchObject({
    kind: 'xdp-state',
    live: { generation: 1 },
  })
  chmodSync(state, 0o644)

  const here = JSON.parse(await lab.ok('plan', '-f', 'new.yaml', '--json'))
  const offline = await unprivileged(
    'plan',
    '-f',
    'new.yaml',
    '--against',
    'state.json',
    '--json',
    '--detailed-exitcode',
  )
  expect(offline).toMatchObject({ exitCode: EXIT.changesPending, stderr: '' })
  const there = check('plan', offline.stdout) as { against: { unknown: { what: string }[] } }
  expect(there).toMatchObject({ changes: here.changes, summary: here.summary, drift: [] })
  expect(there.against).toMatchObject({ kind: 'state', path: 'state.json', generation: 1 })
  expect(there.against.unknown.map(({ what }) => what)).toEqual(
    expect.arrayContaining(['since', 'connections', 'counters', 'capabilities', 'addresses']),
  )

  const same = await unprivileged('plan', '-f', 'old.yaml', '--against', 'state.json', '--detailed-exitcode')
  expect(same).toMatchObject({ exitCode: 0, stderr: '' })
  expect(same.stdout).toMatch(/Made without the kernel, against state\.json[\s\S]*No changes\. The state of/)

  // Guards of the host hold for its state too.
  lab.write('other.yaml', NEW.replace('eth0', 'eth7'))
  const refused = await unprivileged('plan', '-f', 'other.yaml', '--against', 'state.json', '--json')
  expect([refused.exitCode, codeOf(refused)]).toEqual([EXIT.unavailable, 'E103'])
  const needsKernel = await unprivileged(
    'plan',
    '-f',
    'new.yaml',
    '--against',
    'state.json',
    '--out',
    'p.json',
    '--json',
  )
  expect([needsKernel.exitCode, codeOf(needsKernel)]).toEqual([EXIT.usage, 'E300'])
  const other = await unprivileged('plan', '-f', 'new.yaml', '--against', 'missing.json', '--json')
  expect([other.exitCode, codeOf(other)]).toEqual([EXIT.noInput, 'E001'])

  const piped = (file: string): Promise<Output> => {
    const line = `"$0" "$1" plan -f new.yaml --against - --json < ${file}`
    return capture('sh', ['-c', line, process.execPath, lab.cli], { cwd: lab.directory, env: process.env })
  }
  expect(check('plan', (await piped('state.json')).stdout)).toMatchObject({
    changes: here.changes,
    against: { kind: 'state', path: 'stdin' },
  })
  const piping = await piped('old.yaml')
  expect([piping.exitCode, codeOf(piping)]).toEqual([EXIT.usage, 'E300'])
})

test('a plan from one config to another names both, and holds the limits of the second', async () => {
  const { exitCode, stdout, stderr } = await unprivileged('plan', '-f', 'new.yaml', '--against', 'old.yaml')
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(stdout).toMatch(
    /~ blocklist bad[\s\S]*against the config old\.yaml[\s\S]*0 to create, 1 to update, 0 to delete/,
  )
  const json = await unprivileged('plan', '-f', 'old.yaml', '--against', 'old.yaml', '--json', '--detailed-exitcode')
  expect(json.exitCode).toBe(0)
  expect(check('plan', json.stdout)).toMatchObject({ changes: [], against: { kind: 'config', path: 'old.yaml' } })
  lab.write('wide.yaml', `${OLD.replace('203.0.113.0/25', '203.0.0.0/8')}limits: { widest: { v4: 16, v6: 32 } }\n`)
  const refused = await unprivileged('plan', '-f', 'wide.yaml', '--against', 'old.yaml', '--json')
  expect([refused.exitCode, codeOf(refused)]).toEqual([EXIT.refused, 'E247'])
})

test('why answers by the file alone where nothing live can be read', async () => {
  const { exitCode, stdout, stderr } = await unprivileged('why', '203.0.113.200', '-f', 'new.yaml')
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(stdout).toMatch(/new\.yaml +drop +blocklist bad: 203\.0\.113\.0\/24 +# new\.yaml:6/)
  expect(stdout).toMatch(/live: not read: E104 [\s\S]*By the file alone/)
  const json = await unprivileged('why', '203.0.113.200', '-f', 'old.yaml', '--json')
  expect(check('why', json.stdout)).toMatchObject({
    live: null,
    desired: { verdict: 'pass' },
    offline: { unread: expect.stringContaining('E104') },
  })
  // An entry of the file names the host, which the file does not know.
  const wordsIn = async (file: string): Promise<string[]> => {
    const { stdout: text } = await unprivileged('why', '203.0.113.200', '-f', file, '--json')
    return (JSON.parse(text) as { offline: { unknown: { what: string }[] } }).offline.unknown.map(({ what }) => what)
  }
  lab.write('plain.yaml', 'version: 1\ninterfaces: { eth0: {} }\n')
  expect(await wordsIn('old.yaml')).toContain('addresses')
  expect(await wordsIn('plain.yaml')).not.toContain('addresses')
  // Without a file that the user names, the question is about the kernel.
  const plain = await unprivileged('why', '203.0.113.200', '--json')
  expect([plain.exitCode, codeOf(plain)]).toEqual([EXIT.notPermitted, 'E104'])
  const alone = JSON.parse(await lab.ok('why', '203.0.113.200', '-f', 'new.yaml', '--offline', '--json'))
  expect(alone).toMatchObject({ live: null, desired: { verdict: 'drop' }, offline: { unread: null } })
  const wrong = await unprivileged(
    'why',
    '203.0.113.200',
    '-f',
    'new.yaml',
    '--offline',
    '--interface',
    'eth1',
    '--json',
  )
  expect([wrong.exitCode, codeOf(wrong)]).toEqual([EXIT.usage, 'E282'])
})

const RICH = `version: 1
interfaces: { eth0: { mode: [native, generic] } }
policy: { default: drop, established: judge, essential: [icmp_errors, neighbor_discovery] }
limits: { bans: 4096, rate_buckets: 2048 }
balancer: { hash_key: 00112233445566778899aabbccddeeff }
protect: [192.0.2.2, { cidr: 192.0.2.3, protocol: tcp, port: 22 }]
anomalies: [land, { name: ip_options, action: observe, interfaces: [eth0] }]
syn_protection: { ports: [443, "8000-8099"] }
allowlist:
  - { cidrs: [192.0.2.0/24, "2001:db8::/64"], protocol: icmp, icmp_type: [echo-request, destination-unreachable] }
  - { name: office, cidrs: [198.51.100.0-198.51.100.9, 192.0.2.2, 192.0.2.3] }
blocklist:
  - 203.0.113.7
  - { cidr: 203.0.113.0/24, protocol: tcp, destination_port: [22, "5900-5999"], tcp_flags: [syn, "!ack"], interfaces: [eth0] }
  - { name: long, file: lists/long.txt }
rate_limits:
  - { name: dns, protocol: udp, destination_port: 53, packets_per_second: 1000, burst: 2000, cidrs: [10.0.0.0/8] }
services:
  web:
    vip: 192.0.2.10
    port: [80, 443]
    protocol: tcp
    forwarding: nat
    drain_timeout: 60s
    health: { type: tcp, port: 80 }
    fallback: sorry
    sorry: 192.0.2.3
    backends: [{ address: 192.0.2.2, weight: 2 }, { address: 192.0.2.4, state: drain }]
`

const ASKED = RICH.replace('    sorry: 192.0.2.3\n', '')
  .replace('  - { name: long, file: lists/long.txt }\n', '  - { name: seen, cidr: 192.0.2.7, action: observe }\n')
  .replace('health: { type: tcp, port: 80 }', 'hash: source')
  .replace('    fallback: sorry\n', '')

test('the live policy is listed as a config whose plan has no changes', async () => {
  lab.write('rich.yaml', RICH.replace('sorry: 192.0.2.3', 'sorry: { address: 192.0.2.3 }'))
  const long = Array.from({ length: 60 }, (_, i) => `203.0.113.${100 + 2 * i}`).join('\n')
  lab.write('lists/long.txt', long)
  await lab.ok('apply', '-f', 'rich.yaml', '--auto-approve')
  expect(await lab.ok('plan', '-f', 'rich.yaml')).toContain('No changes.')

  const written = check('list', await lab.ok('list', '--output', 'recovered', '--secrets', '--json'))
  expect(written).toMatchObject({ config: 'recovered/xdp.yaml', files: ['lists/long.txt'], text: null })
  const again = await lab.ok('plan', '-f', 'recovered/xdp.yaml', '--detailed-exitcode')
  expect(again).toContain('No changes. Live XDP state matches recovered/xdp.yaml.')

  // Without the secret the hash key would go, and nothing else.
  const printed = await lab.ok('list')
  expect(printed).not.toContain('00112233')
  expect(printed).toMatch(/# {3}`balancer\.hash_key`: --secrets writes it[\s\S]*version: 1/)
  lab.write('printed.yaml', printed)
  const { changes } = JSON.parse(await lab.ok('plan', '-f', 'printed.yaml', '--json'))
  expect(changes).toMatchObject([
    { kind: 'policy', before: { hash_key: expect.stringMatching(/^[0-9a-f]{8}$/) }, after: { hash_key: '' } },
  ])

  await lab.ok('destroy', '--auto-approve')
  const { exitCode, stdout } = await lab.xdp('list', '--json')
  expect([exitCode, codeOf({ exitCode, stdout, stderr: '' })]).toEqual([EXIT.failed, 'E283'])
})

/** Questions whose answers differ: every part of a policy decides one of them. */
const QUESTIONS = [
  '198.51.100.42',
  '203.0.113.9',
  '203.0.113.9 --protocol tcp --destination-port 22',
  '203.0.113.9 --protocol tcp --destination-port 443 --interface eth0',
  '192.0.2.2',
  '192.0.2.2 --protocol icmp',
  '10.1.2.3 --protocol udp --source-port 9 --destination-port 53',
  '192.0.2.3 --destination 192.0.2.10 --protocol tcp --source-port 1024 --destination-port 80',
  '192.0.2.7 --destination 192.0.2.10 --protocol tcp --source-port 5 --destination-port 443 --length 1400',
  '2001:db8::7 --ttl 1',
]

test('why --against answers for the host of a state as why does there', async () => {
  lab.write('asked.yaml', ASKED)
  await lab.ok('apply', '-f', 'asked.yaml', '--auto-approve')
  await lab.ok('status', '--state', 'asked.json')
  chmodSync(join(lab.directory, 'asked.json'), 0o644)
  interface Answer {
    readonly live: Record<string, unknown> & { readonly rate_limits: readonly object[] }
    readonly desired: object
    readonly offline: { against: { generation: number }; unknown: { what: string }[] } | null
  }
  const asked = (text: string): Answer => check('why', text) as Answer
  /** Facts that only the kernel has. */
  const comparable = ({ live, desired }: Answer) => ({
    live: {
      ...live,
      proven: null,
      rate_limits: live.rate_limits.map((one) => ({ ...one, used: null, exceeds: null })),
    },
    desired,
  })
  for (const question of sample(QUESTIONS, 5)) {
    const words = ['why', ...question.split(' '), '-f', 'asked.yaml', '--json']
    const here = asked(await lab.ok(...words))
    const { exitCode, stdout, stderr } = await unprivileged(...words, '--against', 'asked.json')
    expect({ question, exitCode, stderr }).toEqual({ question, exitCode: 0, stderr: '' })
    const there = asked(stdout)
    expect({ question, ...comparable(there) }).toEqual({ question, ...comparable(here) })
    expect([here.live['proven'], there.live['proven']]).toEqual([true, false])
    expect([here.offline, there.offline?.against.generation]).toEqual([null, expect.any(Number)])
  }

  // A ban is not part of a state, and the answer says so.
  await lab.ok('ban', '192.0.2.9', '--ttl', '1h')
  const text = await unprivileged('why', '192.0.2.9', '--against', 'asked.json')
  expect(text.stdout).toMatch(/live +drop +default-drop +\(from the state\)[\s\S]*file: no config file was found/)
  expect(text.stdout).toMatch(/By asked\.json, the state of .* \(generation \d+\), without the kernel[\s\S]*- bans: /)
  const wrong = async (...words: string[]) => {
    const output = await unprivileged('why', '192.0.2.9', '--json', ...words)
    return [output.exitCode, codeOf(output)]
  }
  expect(await wrong('--against', 'asked.json', '--interface', 'eth7')).toEqual([EXIT.unavailable, 'E103'])
  expect(await wrong('--against', 'asked.json', '--interface', 'lo')).toEqual([EXIT.failed, 'E114'])
  expect(await wrong('--against', 'asked.yaml')).toEqual([EXIT.usage, 'E300'])
  expect(await wrong('--against', 'asked.json', '--offline', '-f', 'asked.yaml')).toEqual([EXIT.usage, 'E300'])
  await lab.ok('destroy', '--auto-approve')
})

test('why names what decides otherwise about other packets of an address, a hidden ban too', async () => {
  const entry = '{ name: ssh, cidr: 203.0.113.0/24, protocol: tcp, destination_port: 22 }'
  const limit = '{ name: dns, protocol: udp, destination_port: 53, packets_per_second: 1000 }'
  const allowed = '{ name: ping, cidr: 203.0.113.0/24, protocol: icmp }'
  lab.write(
    'scoped.yaml',
    `version: 1\ninterfaces: { eth0: {} }\nanomalies: [land]\nallowlist: [${allowed}]\nblocklist:\n  - ${entry}\nrate_limits:\n  - ${limit}\n`,
  )
  await lab.ok('apply', '-f', 'scoped.yaml', '--auto-approve')
  const casesIn = async (...words: string[]) => {
    const { live, desired } = check(
      'why',
      await lab.ok('why', '203.0.113.9', '-f', 'scoped.yaml', '--json', ...words),
    ) as {
      live: { verdict: string; otherwise: { kind: string; verdict: string; at: string | null }[] }
      desired: { otherwise: unknown[] }
    }
    return {
      verdict: live.verdict,
      cases: live.otherwise.map(({ kind, verdict }) => `${verdict} ${kind}`),
      live,
      desired,
    }
  }
  const plain = await casesIn()
  expect(plain).toMatchObject({ verdict: 'pass', cases: ['drop blocklist', 'drop anomaly', 'drop rate_limit'] })
  expect(plain.live.otherwise[0]?.at).toBe('scoped.yaml:6')
  expect(plain.desired.otherwise).toEqual(
    plain.live.otherwise.map((one) => expect.objectContaining({ kind: one.kind })),
  )
  expect((await casesIn('--protocol', 'icmp')).cases).toEqual([])
  expect(await lab.ok('why', '203.0.113.9', '-f', 'scoped.yaml')).toMatch(
    /Other packets from 203\.0\.113\.9 are judged otherwise:[\s\S]*drop +blocklist ssh: 203\.0\.113\.0\/24 +tcp dport 22 +# scoped\.yaml:6/,
  )

  // A packet of ICMP that arrives whole passes: the question rests on nothing that a ban could turn.
  await lab.ok('ban', '203.0.113.9', '--ttl', '1h')
  expect(await casesIn()).toMatchObject({ verdict: 'drop', cases: ['pass allowlist'] })
  lab.write('ttl.yaml', `version: 1\ninterfaces: { eth0: {} }\nallowlist: [{ cidr: 203.0.113.0/24, ttl: 64 }]\n`)
  await lab.ok('apply', '-f', 'ttl.yaml', '--auto-approve')
  const { live } = JSON.parse(await lab.ok('why', '203.0.113.9', '--json'))
  expect(live).toMatchObject({
    verdict: 'pass',
    reason: 'allowlist',
    otherwise: [{ kind: 'ban', prefix: '203.0.113.9' }],
  })
})
