// Entries with `socket: none` drop floods of ACK, RST, SYN-ACK and FIN, all of them, and no packet of a connection: real
// sockets on both sides, in IPv4 and IPv6, while the flood runs. The entry counts each packet that it drops.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'
import { compiled } from '../support/programs.ts'
import { wireDrops } from '../support/traffic.ts'

const support = (name: string): string => fileURLToPath(new URL(`../support/${name}`, import.meta.url))
const HOST = { 4: '192.0.2.1', 6: '2001:db8::1' } as const
const PEER = { 4: '192.0.2.2', 6: '2001:db8::2' } as const
/** On a device above eth0. */
const ABOVE = { 4: '198.51.100.1', 6: '2001:db8:1::1' } as const
type Ends = Readonly<Record<4 | 6, string>>
const ECHO = 8080
const HASTY = 8081
const HELD = 8082
const REUSED = 8083
/** ACK, RST, SYN-ACK, FIN, FIN-ACK, RST-ACK, PSH-ACK. */
const STRAY = ['10', '04', '12', '01', '11', '14', '18']
const FLOOD = 2800
/** A MAC address that no device has. */
const ASTRAY = '02:00:00:00:00:77'

let lab: Lab
const running: ChildProcess[] = []

beforeEach(() => {
  lab = new Lab([ETH0])
  // Answers to forged sources have a way, so that the host sends SYN cookies to them.
  lab.in(lab.host, 'ip', 'route', 'add', 'default', 'via', PEER[4])
  lab.in(lab.host, 'ip', '-6', 'route', 'add', 'default', 'via', PEER[6])
})
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
  lab.close()
})

function start(netns: string, ...argv: readonly string[]) {
  const child = spawn('nsenter', [`--net=/run/netns/${netns}`, ...argv], { stdio: ['pipe', 'pipe', 'inherit'] })
  running.push(child)
  const closed = once(child, 'close')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { child, closed, line: async (): Promise<string> => (await lines.next()).value }
}

const node = (netns: string, ...words: readonly (string | number)[]) =>
  start(netns, process.execPath, support('churn.mjs'), ...words.map(String))

/** Servers on every port. */
async function serve(netns: string) {
  const served = node(netns, 'serve', `echo:${ECHO}`, `hasty:${HASTY}`, `held:${HELD}`)
  const reused = start(netns, compiled('reuse.c'), `${REUSED}`)
  expect(await Promise.all([served.line(), reused.line()])).toEqual(['ready', 'ready'])
  return served
}

interface Churned {
  readonly good: number
  readonly errors: readonly string[]
}

const targets = (to: Ends, ...ports: readonly number[]): string[] =>
  ports.flatMap((port) => [`${to[4]}:${port}`, `${to[6]}:${port}`])

/** Connections from a namespace to the addresses. `localPort`: one after the other from this port. */
async function churn(netns: string, to: Ends, count: number, localPort?: number): Promise<Churned> {
  const numbers = localPort === undefined ? [count] : [count, localPort]
  return JSON.parse(await node(netns, 'churn', ...numbers, ...targets(to, ECHO, HASTY, REUSED)).line())
}

/** Sends floods to addresses until they are done. */
async function flood(to: Ends, port: number, count: number, rate: number, ...flags: readonly string[]): Promise<void> {
  const spoof = compiled('spoof.c')
  const floods = [to[4], to[6]].map((address) =>
    start(lab.peer, spoof, address, `${port}`, `${count}`, `${rate}`, ...flags),
  )
  await Promise.all(floods.map(({ closed }) => closed))
}

const STRAY_ENTRY = "  - { name: stray, cidrs: [0.0.0.0/0, '::/0'], protocol: tcp, socket: none }"

async function apply(...more: readonly string[]): Promise<void> {
  const lines = ['version: 1', 'interfaces: { eth0: {} }', 'blocklist:', STRAY_ENTRY, ...more, '']
  lab.write('xdp.yaml', lines.join('\n'))
  await lab.ok('apply', '--auto-approve')
}

const dropped = async (): Promise<number> => JSON.parse(await lab.ok('status', '--json')).lists[0].packets

/** Sends floods of stray packets while `body` opens connections: the entry must drop exactly the flood. */
async function underFlood(body: () => Promise<readonly Churned[]>): Promise<void> {
  const [before, lostBefore] = [await dropped(), wireDrops(lab, 'eth0')]
  const floods = [ECHO, 4321].map((port) => flood(HOST, port, FLOOD, 4000, ...STRAY))
  const churned = await body()
  await Promise.all(floods)
  expect(churned.flatMap(({ errors }) => errors)).toEqual([])
  const sent = 2 * floods.length * FLOOD
  const lost = wireDrops(lab, 'eth0') - lostBefore
  const drops = (await dropped()) - before
  expect(drops, `${lost} lost on the wire`).toBeLessThanOrEqual(sent)
  expect(drops).toBeGreaterThanOrEqual(sent - lost)
}

const macOf = (netns: string, device: string): string =>
  JSON.parse(lab.in(netns, 'ip', '-j', 'link', 'show', device))[0].address

/** Makes frames of a namespace to the addresses go to a MAC address. */
function lead(netns: string, device: string, to: readonly string[], mac: string): void {
  for (const address of to)
    lab.in(netns, 'ip', 'neigh', 'replace', address, 'lladdr', mac, 'dev', device, 'nud', 'permanent')
}

/** A device with a MAC address of its own above eth0, whose connections are those of this host too. */
function stack(): void {
  const far = lab.peerEnd('eth0')
  lab.in(lab.host, 'ip', 'link', 'add', 'mac0', 'link', 'eth0', 'type', 'macvlan', 'mode', 'bridge')
  for (const [netns, device, last] of [
    [lab.host, 'mac0', 1],
    [lab.peer, far, 2],
  ] as const) {
    lab.in(netns, 'ip', 'addr', 'add', `198.51.100.${last}/24`, 'dev', device)
    lab.in(netns, 'ip', 'addr', 'add', `2001:db8:1::${last}/64`, 'dev', device, 'nodad')
    lab.in(netns, 'ip', 'link', 'set', device, 'up')
  }
  lead(lab.peer, far, Object.values(ABOVE), macOf(lab.host, 'mac0'))
}

test('the flood is dropped, and no packet of connections in either direction', async () => {
  stack()
  await Promise.all([serve(lab.host), serve(lab.peer)])
  await apply()
  await underFlood(() =>
    Promise.all([
      churn(lab.peer, HOST, 30),
      churn(lab.host, PEER, 30),
      churn(lab.peer, ABOVE, 20),
      // From a port whose last connection waits in TIME-WAIT on the host.
      churn(lab.peer, HOST, 10, 20_001),
    ]),
  )
})

async function byCookies(mode: '1' | '2'): Promise<void> {
  lab.in(lab.host, 'sysctl', '-qw', `net.ipv4.tcp_syncookies=${mode}`, 'net.ipv4.tcp_max_syn_backlog=8')
  await serve(lab.host)
  await apply()
  await underFlood(async () => {
    const syns = mode === '1' ? [flood(HOST, ECHO, 15_000, 8000), flood(HOST, REUSED, 15_000, 8000)] : []
    const churned = [await churn(lab.peer, HOST, 30)]
    await Promise.all(syns)
    return churned
  })
  const [names = [], values = []] = lab
    .in(lab.host, 'cat', '/proc/net/netstat')
    .split('\n')
    .map((line) => line.split(' '))
  expect(Number(values[names.indexOf('SyncookiesRecv')])).toBeGreaterThan(0)
}

test('connections by SYN cookies are complete under a flood of SYNs too', () => byCookies('1'))
inDepth('likewise where every SYN gets a cookie', () => byCookies('2'))

/** Sockets of the port in a state, in IPv4 and IPv6. */
const socketsIn = (netns: string, state: string): number =>
  lab
    .in(netns, 'ss', '-Htn', 'state', state, `( sport = :${HELD} or dport = :${HELD} )`)
    .split('\n')
    .filter((line) => line !== '').length

test('both ends close at once, and why finds their socket', async () => {
  const server = await serve(lab.host)
  await apply()
  const client = node(lab.peer, 'hold', 8, ...targets(HOST, HELD))
  expect(await client.line()).toBe('ready')
  const sockets = lab.in(lab.host, 'ss', '-Htn', 'state', 'established', `sport = :${HELD}`)
  const [, port] = /\[::ffff:192\.0\.2\.2\]:(\d+)/.exec(sockets) ?? []
  const ask = (sourcePort: string) =>
    lab.ok(
      ...['why', PEER[4], '--protocol', 'tcp', '--source-port', sourcePort],
      ...['--destination', HOST[4], '--destination-port', `${HELD}`],
    )
  const own = await ask(`${port}`)
  expect(own).toMatch(/live +pass +default-pass +\(proven by a packet\)/)
  expect(own).toContain('Packets for which this host has no socket are dropped, unless they open a connection.')
  const stray = await ask('9')
  expect(stray).toMatch(/live +drop +blocklist stray: 0\.0\.0\.0\/0 +\(proven by a packet\)/)
  expect(stray).toMatch(/xdp\.yaml +drop +blocklist stray: 0\.0\.0\.0\/0 +# xdp\.yaml:4/)

  // While frames go astray, the FINs cross.
  const far = lab.peerEnd('eth0')
  const plain = (all: readonly string[]): string[] => all.map((one) => one.replace(/\/.*/, ''))
  const [hosts, peers] = [plain(ETH0.addresses), plain(ETH0.peerAddresses)]
  const [mac, farMac] = [macOf(lab.host, 'eth0'), macOf(lab.peer, far)]
  lead(lab.host, 'eth0', peers, ASTRAY)
  lead(lab.peer, far, hosts, ASTRAY)
  for (const { child } of [server, client]) child.stdin?.write('\n')
  for (const netns of [lab.host, lab.peer]) await expect.poll(() => socketsIn(netns, 'fin-wait-1')).toBe(16)
  lead(lab.host, 'eth0', peers, farMac)
  lead(lab.peer, far, hosts, mac)
  expect(JSON.parse(await client.line())).toEqual({ good: 16, errors: [] })
  await expect.poll(() => socketsIn(lab.host, 'time-wait')).toBe(16)
  expect(await dropped()).toBe(0)
})

test('packets that this host forwards, serves or only sees pass, and those to it do not', async () => {
  lab.in(lab.host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  const VIP = { 4: '203.0.113.10', 6: '2001:db8:2::10' } as const
  const others = { 4: '203.0.113.9', 6: '2001:db8:2::9' } as const
  const foreign = { 4: '192.0.2.77', 6: '2001:db8::77' } as const
  for (const address of [...Object.values(VIP), ...Object.values(others)])
    lab.in(lab.peer, 'ip', 'route', 'add', address, 'via', address.includes(':') ? HOST[6] : HOST[4])
  lead(lab.peer, lab.peerEnd('eth0'), Object.values(foreign), ASTRAY)
  const service = (name: string, vip: string, backend: string): string =>
    `  ${name}: { vip: "${vip}", port: ${ECHO}, protocol: tcp, forwarding: dsr, backends: ["${backend}"] }`
  await apply('services:', service('web4', VIP[4], PEER[4]), service('web6', VIP[6], PEER[6]))
  for (const to of [VIP, others, foreign]) await flood(to, ECHO, 70, 10_000, ...STRAY)
  expect(await dropped()).toBe(0)
  for (const to of [VIP, HOST]) await flood(to, to === VIP ? 4321 : ECHO, 70, 10_000, ...STRAY)
  expect(await dropped()).toBe(140)
  lab.in(lab.host, 'sysctl', '-qw', 'net.ipv4.ip_forward=0', 'net.ipv6.conf.all.forwarding=0')
  // Addresses of others are dropped here in any case.
  await flood(VIP, ECHO, 70, 10_000, ...STRAY)
  expect(await dropped()).toBe(140)
  await flood(others, ECHO, 70, 10_000, ...STRAY)
  expect(await dropped()).toBe(280)
})
