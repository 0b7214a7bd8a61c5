// Connections that the host opened pass the filter, and nobody else's: real sockets on both sides, in IPv4 and IPv6.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect } from 'vitest'
import { inDepth, inTurns } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'

const SCRIPT = fileURLToPath(new URL('../support/opens.mjs', import.meta.url))
const HOST = { 4: '192.0.2.1', 6: '2001:db8::1' } as const
const PEER = { 4: '192.0.2.2', 6: '2001:db8::2' } as const
/** In the range of local ports, where a server is taken for a client. */
const HIGH = 40_000

let lab: Lab
const running: ChildProcess[] = []

beforeEach(async () => {
  lab = new Lab([ETH0])
  await Promise.all(
    [lab.host, lab.peer].map(async (netns) => {
      const { lines } = start(netns, 'serve', 'tcp:8080', `tcp:${HIGH}`, 'udp:5353', `udp:${HIGH}`)
      expect((await lines.next()).value).toBe('ready')
    }),
  )
})
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
  lab.close()
})

function start(netns: string, ...words: readonly string[]) {
  const argv = [`--net=/run/netns/${netns}`, process.execPath, SCRIPT, ...words]
  const child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] })
  running.push(child)
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
}

/** Asks about the ports in IPv4, then in IPv6, and so on. */
async function ask(
  job: 'connect' | 'refused',
  netns: string,
  to: typeof HOST | typeof PEER,
  ports: readonly string[],
): Promise<boolean[]> {
  const targets = ports.flatMap((port) => [to[4], to[6]].map((address) => port.replace(':', `:${address}:`)))
  const { child, lines } = start(netns, job, ...targets)
  const { value } = await lines.next()
  await once(child, 'close')
  return JSON.parse(value)
}

/** Whether each exchange with the addresses got its answer: `tcp:8080` in IPv4, then in IPv6, and so on. */
const exchanges = (netns: string, to: typeof HOST | typeof PEER, ...ports: readonly string[]): Promise<boolean[]> =>
  ask('connect', netns, to, ports)

const all = (value: boolean, count: number): boolean[] => Array.from({ length: 2 * count }, () => value)

async function apply(policy: string, ...lists: readonly string[]): Promise<void> {
  lab.write('xdp.yaml', ['version: 1', 'interfaces: { eth0: {} }', policy, ...lists, ''].join('\n'))
  await lab.ok('apply', '--auto-approve')
}

const reasons = async (): Promise<Record<string, { packets: number }>> =>
  JSON.parse(await lab.ok('status', '--json')).interfaces[0].reasons

inTurns('default drop passes connections that the host opened, and none that it did not', async () => {
  await apply('policy: { default: drop }', 'allowlist: []')
  expect(await exchanges(lab.host, PEER, 'tcp:8080', `tcp:${HIGH}`, 'udp:5353')).toEqual(all(true, 3))
  expect(await exchanges(lab.peer, HOST, 'tcp:8080', `tcp:${HIGH}`, 'udp:5353')).toEqual(all(false, 3))
  // docs/filter.md says so of UDP servers on local ports.
  expect(await exchanges(lab.peer, HOST, `udp:${HIGH}`)).toEqual(all(true, 1))
  expect((await reasons())['established']?.packets).toBeGreaterThan(0)
})

inTurns(
  'ICMP errors about packets of the host pass, and connections beside services; with `judge` neither does',
  async () => {
    const policy = (established: string) =>
      `policy: { default: drop, essential: [neighbor_discovery], established: ${established} }`
    await apply(policy('pass'), 'allowlist: []')
    expect(await ask('refused', lab.host, PEER, ['udp:9'])).toEqual(all(true, 1))
    const service = `{ vip: 203.0.113.10, port: 80, protocol: tcp, forwarding: dsr, backends: [${PEER[4]}] }`
    await apply(policy('pass'), 'allowlist: []', `services: { web: ${service} }`)
    expect(await ask('refused', lab.host, PEER, ['udp:9'])).toEqual(all(true, 1))
    expect(await exchanges(lab.host, PEER, 'tcp:8080', 'udp:5353')).toEqual(all(true, 2))
    await apply(policy('judge'), 'allowlist: []')
    expect(await ask('refused', lab.host, PEER, ['udp:9'])).toEqual(all(false, 1))
    expect(await exchanges(lab.host, PEER, 'tcp:8080', 'udp:5353')).toEqual(all(false, 2))
  },
)

inDepth('an entry decides for its addresses, and any that judges wins', async () => {
  const network = `cidrs: [192.0.2.0/24, "2001:db8::/32"]`
  await apply('policy: { default: pass }', 'blocklist:', `  - { name: abroad, ${network}, established: pass }`)
  expect(await exchanges(lab.host, PEER, 'tcp:8080', 'udp:5353')).toEqual(all(true, 2))
  expect(await exchanges(lab.peer, HOST, 'tcp:8080', 'udp:5353')).toEqual(all(false, 2))
  await apply(
    'policy: { default: pass, established: pass }',
    'blocklist:',
    `  - { name: abroad, ${network} }`,
    `  - { cidr: ${PEER[4]}, established: judge }`,
  )
  expect(await exchanges(lab.host, PEER, 'tcp:8080', 'udp:5353')).toEqual([false, true, false, true])
})

inTurns('a ban and a blocked client cut a connection to a server of the host', async () => {
  const { child, lines } = start(lab.peer, 'hold', `tcp:${HOST[4]}:8080`)
  expect((await lines.next()).value).toBe('true')
  await apply('policy: { default: pass, established: pass }', `blocklist: [${PEER[4]}]`)
  child.stdin?.write('\n')
  expect((await lines.next()).value).toBe('false')
  // A connection of the host to the peer passes the entry, and not the ban.
  expect(await exchanges(lab.host, PEER, 'tcp:8080')).toEqual(all(true, 1))
  await lab.ok('ban', '--force', PEER[4])
  expect(await exchanges(lab.host, PEER, 'tcp:8080')).toEqual([false, true])
})

inDepth('another range of local ports is drift, which apply repairs', async () => {
  await apply('policy: { default: drop }', 'allowlist: []')
  lab.in(lab.host, 'sysctl', '-qw', 'net.ipv4.ip_local_port_range=10000 20000')
  expect(await exchanges(lab.host, PEER, 'tcp:8080', 'udp:5353')).toEqual(all(false, 2))
  const plan = await lab.ok('plan')
  expect(plan).toContain('net.ipv4.ip_local_port_range changed 32768-60999 -> 10000-20000')
  await lab.ok('apply', '--auto-approve')
  expect(await exchanges(lab.host, PEER, 'tcp:8080', 'udp:5353')).toEqual(all(true, 2))
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
})

inTurns('why says that connections of the host pass, and finds the socket of a whole tuple', async () => {
  await apply('policy: { default: drop }', 'allowlist: []')
  const { lines } = start(lab.host, 'hold', `tcp:${PEER[4]}:8080`)
  expect((await lines.next()).value).toBe('true')
  expect(await lab.ok('why', PEER[4])).toContain('Packets of connections that this host opened pass.')
  const [, port] = /:(\d+)\s+192\.0\.2\.2:8080/.exec(lab.in(lab.host, 'ss', '-Htn', 'state', 'established')) ?? []
  const tuple = [
    '--destination',
    HOST[4],
    '--protocol',
    'tcp',
    '--source-port',
    '8080',
    '--destination-port',
    `${port}`,
  ]
  expect(await lab.ok('why', PEER[4], ...tuple)).toMatch(/live +pass +established +\(proven by a packet\)/)
})
