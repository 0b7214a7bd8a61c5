// Live connections are judged before the switch: real connections in IPv4 and IPv6, to a server that the kernel knows as
// sshd, through plans, applies and a daemon.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EXIT } from '../../src/diagnostics.ts'
import { inDepth, inTurns, sample, usually } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'

const SCRIPT = fileURLToPath(new URL('../support/opens.mjs', import.meta.url))
/** Not 22: the name of the process matters. */
const SSH = 2222
const OTHER = 8080
const HOST = { 4: '192.0.2.1', 6: '2001:db8::1' } as const

let lab: Lab
const running: ChildProcess[] = []

beforeEach(() => {
  lab = new Lab([ETH0])
})
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
  lab.close()
})

async function start(netns: string, words: readonly string[], ...flags: readonly string[]) {
  const argv = [`--net=/run/netns/${netns}`, process.execPath, ...flags, SCRIPT, ...words]
  const child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] })
  running.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { child, lines, first: (await lines.next()).value as string }
}

/** A server of this name, and a held connection from the peer to it; returns a function that uses the connection. */
async function connected(family: 4 | 6, port: number, name: string): Promise<() => Promise<string>> {
  expect((await start(lab.host, ['serve', `tcp:${port}`], `--title=${name}`)).first).toBe('ready')
  const { child, lines, first } = await start(lab.peer, ['hold', `tcp:${HOST[family]}:${port}`])
  expect(first).toBe('true')
  return async () => {
    child.stdin?.write('again\n')
    return (await lines.next()).value as string
  }
}

const config = (...lines: readonly string[]): string =>
  lab.write('xdp.yaml', ['version: 1', 'interfaces: { eth0: {} }', ...lines, ''].join('\n'))

const BLOCKED = { 4: '192.0.2.0/24', 6: '2001:db8::/64' } as const

test.each(sample([4, 6] as const, 2))('an apply that cuts an SSH session is refused, in IPv%d', async (family) => {
  const echo = await connected(family, SSH, 'sshd')
  config(`blocklist: [${BLOCKED[family]}]`)

  const plan = await lab.ok('plan')
  expect(plan).toMatch(/would cut 1 of 1 live connection:\n .* → :2222 sshd by blocklist xdp\.yaml:3/)
  expect(plan).toMatch(/blocklist +cuts 1 connection /)
  const json = JSON.parse(await lab.ok('plan', '--json'))
  expect(json.cuts).toMatchObject({ connections: 1, omitted: 0 })
  expect(json.cuts.cut).toMatchObject([
    { kind: 'connection', local_port: SSH, process: 'sshd', guarded: 'ssh', inbound: true, list: 'blocklist' },
  ])

  const refused = await lab.xdp('apply', '--auto-approve')
  expect(refused.exitCode).toBe(EXIT.refused)
  expect(refused.stderr).toContain('E226')
  expect(refused.stderr).toContain('--allow-cut ssh')
  expect(lab.pins()).toEqual([])
  expect(await echo()).toBe('true')

  await lab.ok('apply', '--auto-approve', '--allow-cut', 'ssh')
  expect(await echo()).toBe('false')
  // It is cut already, so the next edit is not refused for it.
  config(`blocklist: [${BLOCKED[family]}, 203.0.113.9]`)
  await lab.ok('apply', '--auto-approve')
})

inDepth('default drop without the peer is refused, and with it is not', async () => {
  const echo = await connected(4, SSH, 'sshd')
  config('policy: { default: drop }', 'allowlist: [203.0.113.9]')
  expect((await lab.xdp('apply', '--auto-approve')).exitCode).toBe(EXIT.refused)
  expect((await lab.xdp('apply', '--auto-approve', '--allow-cut', '192.0.2.3')).exitCode).toBe(EXIT.refused)
  config('policy: { default: drop }', 'allowlist: [192.0.2.2]')
  await lab.ok('apply', '--auto-approve')
  expect(await echo()).toBe('true')
  // The allowlist alone decides now: its entry is what the session depends on.
  config('policy: { default: drop }', 'allowlist: [203.0.113.9]')
  const plan = await lab.ok('plan')
  expect(plan).toMatch(/allowlist +cuts 1 connection /)
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve', '--allow-cut', 'dns', '--allow-cut', 'gateway')
  expect(exitCode).toBe(EXIT.refused)
  expect(stderr).toContain('by policy.default drop')
  expect(await echo()).toBe('true')
})

inTurns('the new program judges too: it alone knows that a ban is behind the entry that goes', async () => {
  const echo = await connected(4, SSH, 'sshd')
  config('allowlist: [192.0.2.2]')
  await lab.ok('apply', '--auto-approve')
  await lab.ok('ban', '192.0.2.2', '--force')
  expect(await echo()).toBe('true')
  config('allowlist: []')
  expect(JSON.parse(await lab.ok('plan', '--json')).cuts.cut).toEqual([])
  const pins = lab.pins()
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(exitCode).toBe(EXIT.refused)
  expect(stderr).toMatch(/E226.*:2222 sshd by ban/)
  expect(lab.pins()).toEqual(pins)
  expect(await echo()).toBe('true')
})

inTurns('a ban is judged as an apply is, and knows the protected prefixes of the live policy', async () => {
  const echo = await connected(4, SSH, 'sshd')
  lab.in(lab.host, 'ip', 'route', 'add', 'default', 'via', '192.0.2.3')
  lab.in(lab.host, 'ip', '-6', 'route', 'add', 'default', 'via', '2001:db8::3')
  const protect = 'protect: [{ cidr: 198.51.100.0/25, protocol: tcp, port: 22 }, "2001:db8:7::/48"]'
  config(protect)
  await lab.ok('apply', '--auto-approve')
  config('blocklist: []')
  const refused = async (prefix: string, ...flags: readonly string[]) => {
    const { exitCode, stderr } = await lab.xdp('ban', prefix, ...flags)
    expect([prefix, exitCode]).toEqual([prefix, EXIT.refused])
    return stderr
  }
  expect(await refused('192.0.2.2')).toMatch(
    /E226.*a ban of 192\.0\.2\.2: this would cut an SSH session: .* → :2222 sshd by ban/,
  )
  expect(await refused('198.51.100.7')).toMatch(/E229.*tcp from 198\.51\.100\.7 to port 22, protected by 198/)
  expect(await refused('2001:db8:7:1::/64')).toContain('E229')
  expect(await refused('198.51.100.0/24', '--allow-cut', 'ssh')).toContain('--allow-cut 198.51.100.0/25')
  lab.write('lines', '203.0.113.1\n192.0.2.2 1h\n203.0.113.2\n')
  const reading = ['sh', '-c', 'exec "$@" < lines', 'sh']
  const bulk = JSON.parse((await lab.xdpWithin(reading, 'ban', '--stdin', '--json')).stdout)
  expect(bulk).toMatchObject({ added: 2, refused: 1, errors: [{ code: 'E226', at: { line: 2 } }] })
  expect(await echo()).toBe('true')
  await lab.ok('ban', '198.51.100.7', '--allow-cut', '198.51.100.0/25')

  // An allowlist beats a ban, so this one cuts nothing.
  config('allowlist: [192.0.2.2]')
  await lab.ok('apply', '--auto-approve')
  await lab.ok('ban', '192.0.2.2')
  expect(await echo()).toBe('true')
  await lab.ok('unban', '192.0.2.2')
  config('blocklist: []')
  await lab.ok('apply', '--auto-approve')
  // The live policy protects nothing any more.
  await lab.ok('ban', '198.51.100.8')
  await lab.ok('ban', '192.0.2.2', '--allow-cut', 'ssh')
  expect(await echo()).toBe('false')
  // It is cut already.
  await lab.ok('ban', '192.0.2.2', '--ttl', '1h')
})

inDepth('a connection that is no session is shown, and cut', async () => {
  const echo = await connected(4, OTHER, 'httpd')
  config('blocklist: [192.0.2.0/24]')
  expect(await lab.ok('plan')).toContain(':8080 httpd by blocklist')
  await lab.ok('apply', '--auto-approve')
  expect(await echo()).toBe('false')
})

inTurns('a resolver is guarded, and named', async () => {
  lab.write('resolv.conf', 'nameserver 192.0.2.2\n')
  const resolving = ['unshare', '--mount', 'sh', '-c', 'mount --bind resolv.conf /etc/resolv.conf && exec "$@"', 'sh']
  const xdp = (...args: readonly string[]) => lab.xdpWithin(resolving, ...args)
  config('blocklist: [192.0.2.2]')
  const refused = await xdp('apply', '--auto-approve')
  expect([refused.exitCode, refused.stderr]).toEqual([
    EXIT.refused,
    expect.stringMatching(/E228.*the resolver 192\.0\.2\.2/),
  ])
  // Under default drop its answers pass, because a socket waits for them.
  config('policy: { default: drop }', 'allowlist: [203.0.113.1]')
  expect((await xdp('apply', '--auto-approve')).exitCode).toBe(0)
  const ban = await xdp('ban', '192.0.2.0/30')
  expect([ban.exitCode, ban.stderr]).toEqual([EXIT.refused, expect.stringContaining('E228')])
  config('blocklist: [192.0.2.2]')
  expect((await xdp('apply', '--auto-approve', '--allow-cut', 'dns')).exitCode).toBe(0)
})

inTurns('next hops and checked backends are shown, and cut', async () => {
  const service = [
    'services:',
    '  web:',
    '    vip: "2001:db8::10"',
    '    port: 80',
    '    protocol: tcp',
    '    forwarding: nat',
    '    backends: ["2001:db8::2"]',
    '    health: { type: tcp }',
  ]
  config(...service)
  await lab.ping(HOST[6])
  await lab.ok('apply', '--auto-approve')
  config(...service, 'blocklist: ["2001:db8::/64"]')
  const { cuts, warnings } = JSON.parse(await lab.ok('plan', '--json'))
  expect(cuts.cut).toMatchObject([
    { kind: 'next-hop', peer: '2001:db8::2', guarded: null, list: 'blocklist' },
    { kind: 'backend', peer: '2001:db8::2', peer_port: 80, guarded: null, list: 'blocklist' },
  ])
  expect(JSON.stringify(warnings)).toContain('W251')
  await lab.ok('apply', '--auto-approve')
})

inDepth('an entry for another interface or port cuts nothing', async () => {
  const echo = await connected(4, SSH, 'sshd')
  config('blocklist: [{ cidr: 192.0.2.0/24, protocol: tcp, destination_port: 80 }]')
  const json = JSON.parse(await lab.ok('plan', '--json'))
  expect(json.cuts).toEqual({ connections: 1, omitted: 0, cut: [] })
  await lab.ok('apply', '--auto-approve')
  expect(await echo()).toBe('true')
})

inTurns('gateways and protected prefixes are guarded', async () => {
  lab.in(lab.host, 'ip', 'route', 'add', 'default', 'via', '192.0.2.3')
  lab.in(lab.host, 'ip', '-6', 'route', 'add', 'default', 'via', '2001:db8::3')
  config('blocklist: [192.0.2.3, "2001:db8::3"]')
  const gateway = await lab.xdp('apply', '--auto-approve')
  expect(gateway.exitCode).toBe(EXIT.refused)
  expect(gateway.stderr).toContain('E227')
  expect(gateway.stderr).toMatch(/192\.0\.2\.3.*2001:db8::3/s)

  const protect = 'protect: [{ cidr: 192.0.2.0/25, protocol: tcp, port: 22 }]'
  config(protect, 'blocklist: [192.0.2.77]')
  const refused = await lab.xdp('apply', '--auto-approve')
  expect(refused.exitCode).toBe(EXIT.refused)
  expect(refused.stderr).toContain('E229')
  expect(refused.stderr).toContain('tcp from 192.0.2.77 to port 22, protected by 192.0.2.0/25 at xdp.yaml:3')
  config(protect, 'blocklist: [{ cidr: 192.0.2.77, protocol: tcp, destination_port: 80 }, 192.0.2.200]')
  await lab.ok('apply', '--auto-approve')
  config(protect, 'blocklist: [192.0.2.77]')
  await lab.ok('apply', '--auto-approve', '--allow-cut', '192.0.2.0/25')
})

/** A daemon, and a function that waits for its next event of a name. */
function watching() {
  const child = lab.start('watch', '--json')
  running.push(child)
  const events = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  const next = async (name: string): Promise<Record<string, unknown>> => {
    for (;;) {
      const { value, done } = await events.next()
      if (done) throw new Error(`the daemon ended before ${name}`)
      const event = JSON.parse(value)
      if (event.event === name) return event
    }
  }
  return { child, next }
}

inTurns('a daemon keeps the last good policy, and says so', async () => {
  const echo = await connected(4, SSH, 'sshd')
  config('blocklist: [203.0.113.9]')
  const { next } = watching()
  await next('ready')
  config('blocklist: [192.0.2.0/24]')
  expect(JSON.stringify(await next('refused'))).toContain('E226')
  expect(await echo()).toBe('true')
  expect(await lab.ok('why', '203.0.113.9')).toContain('drop')
  config('blocklist: [203.0.113.10]')
  await next('applied')
  expect(await echo()).toBe('true')
})

inTurns('limits of the config refuse an edit that reaches too far, in plan, apply and a daemon', async () => {
  const limits = 'limits: { max_removed: 3, max_blocked: 1%, widest: { v4: 8 } }'
  config(limits, 'blocklist: [203.0.113.1, 203.0.113.3, 203.0.113.5, 203.0.113.7]')
  await lab.ok('apply', '--auto-approve')
  const pins = lab.pins()
  const reaching = [
    ['E245', ['blocklist: []'], '--accept-removed'],
    ['E246', ['blocklist: [203.0.113.1, 203.0.113.3, 40.0.0.0/8, 50.0.0.0/8, 60.0.0.0/8]'], '--accept-blocked'],
    ['E247', ['blocklist: [203.0.113.1, 203.0.113.3, 40.0.0.0/7]'], '--accept-wide'],
  ] as const
  for (const [code, lines, flag] of reaching) {
    config(limits, ...lines)
    for (const verb of usually([['plan']], { thoroughly: [['plan'], ['apply', '--auto-approve']] })) {
      const { exitCode, stderr } = await lab.xdp(...verb)
      expect([code, exitCode, stderr]).toEqual([code, EXIT.refused, expect.stringContaining(code)])
      expect(stderr).toContain(flag)
    }
    expect(await lab.ok('plan', flag)).toMatch(/Plan: 0 to create, [01] to update, [01] to delete/)
  }
  expect(lab.pins()).toEqual(pins)
  const [code, , flag] = reaching[2]
  expect((await lab.xdp('apply', '--auto-approve')).exitCode).toBe(EXIT.refused)
  await lab.ok('apply', '--auto-approve', flag)
  // The daemon starts, because there is nothing to change, and refuses the next edit of a list.
  const { child, next } = watching()
  await next('ready')
  config(limits, 'blocklist: [203.0.113.1, 203.0.113.3, 203.0.113.9, 40.0.0.0/7]')
  expect(JSON.stringify(await next('refused'))).toContain(code)
  expect(await lab.ok('why', '41.0.0.1')).toContain('drop')
  child.kill('SIGTERM')
})

inTurns('words that name no peer are refused', async () => {
  config('blocklist: []')
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve', '--allow-cut', 'ftp')
  expect(exitCode).toBe(EXIT.usage)
  expect(stderr).toContain('--allow-cut "ftp" is neither a kind of peer nor an address')
})
