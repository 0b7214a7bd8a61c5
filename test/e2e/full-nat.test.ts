// Full NAT with real connections: under a flood of SYNs with forged sources, when the pool gets more addresses, when the
// router on the client's side changes, and with an address of this host in the pool.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BalanceLab, HTTP, type Load, vipOf } from '../support/balance.ts'
import { usually } from '../support/depth.ts'
import { compiled } from '../support/programs.ts'

const VIP = vipOf(10)
/** SYNs, and their number per second: more than an address has ports. */
const FLOOD = usually({ count: 80_000, rate: 12_000 }, { thoroughly: { count: 110_000, rate: 5_500 } })
const CONNECTIONS = 40

let lab: BalanceLab

const write = (...pool: readonly string[]): string =>
  lab.write(
    'xdp.yaml',
    `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {} }
services:
  web:
    vip: ${VIP}
    port: ${HTTP}
    protocol: tcp
    forwarding: nat
    snat: true
    snat_pool: [${pool.join(', ')}]
    backends: [${lab.address(1)}, ${lab.address(2)}]
`,
  )

const apply = (): Promise<string> => lab.ok('apply', '--auto-approve')

/** Errors of the connections of a load. */
async function errorsOf(load: Load): Promise<(string | undefined)[]> {
  const { connections } = await load.stop()
  expect(connections.length).toBe(CONNECTIONS)
  return connections.map(({ error }) => error).filter((error) => error !== undefined)
}

beforeAll(async () => {
  lab = await BalanceLab.open(2)
  write('203.0.113.20')
  await apply()
})
afterAll(() => lab.close())

test('clients connect while a flood of forged SYNs takes every port', async () => {
  const program = compiled('spoof.c')
  const words = [program, VIP, `${HTTP}`, `${FLOOD.count}`, `${FLOOD.rate}`]
  const flood = spawn('nsenter', [`--net=/run/netns/${lab.peer}`, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(flood, 'close')
  await once(flood.stdout, 'data')
  const clients = await lab.ask(VIP)
  expect(await ended).toEqual([0, null])
  const { tables } = JSON.parse(await lab.ok('stats', '--json'))
  const ports = tables.find(({ name }: { name: string }) => name === 'source_ports')
  const asked = await clients.stop()
  // TCP has half of the ports in this figure.
  expect(ports.used).toBeGreaterThan((ports.capacity / 2) * 0.9)
  expect(asked.length).toBeGreaterThan(50)
  const failed = asked.filter(({ error }) => error !== undefined)
  expect(failed.length, JSON.stringify(failed.slice(0, 5))).toBeLessThanOrEqual(asked.length / 100)
})

test('connections survive when the pool gets more addresses, as the plan says', async () => {
  const load = await lab.load(VIP, CONNECTIONS)
  write('203.0.113.20', '203.0.113.19', '203.0.113.21')
  const plan = JSON.parse(await lab.ok('plan', '--json'))
  expect(plan.changes.map(({ impact }: { impact: string }) => impact)).toEqual(['hitless'])
  await apply()
  expect(await errorsOf(load)).toEqual([])
  expect(await lab.ok('plan')).toContain('No changes.')
  expect(Object.keys(await lab.burst(VIP, 100)).sort()).toEqual(['b1', 'b2'])
})

test('connections survive when their packets come from another router', async () => {
  const load = await lab.load(VIP, CONNECTIONS)
  for (const mac of ['02:00:00:00:aa:01', '02:00:00:00:aa:02'])
    lab.script(lab.peer, `ip link set ${lab.peerEnd('eth0')} address ${mac}`)
  expect(await errorsOf(load)).toEqual([])
})

test('flows do not get ports of connections of this host, if the pool has an address of its own', async () => {
  const own = '10.0.1.1'
  write(own)
  const range = (first: number, last: number): string =>
    lab.script(lab.host, `sysctl -qw net.ipv4.ip_local_port_range="${first} ${last}"`)
  range(1024, 65_535)
  const refused = await lab.xdp('plan')
  expect(refused.exitCode).toBe(4)
  expect(refused.stderr).toContain('E217')
  range(20_000, 50_000)
  const planned = await lab.xdp('plan')
  expect(planned.stdout + planned.stderr).toContain('W227')
  await apply()
  const load = await lab.load(VIP, CONNECTIONS)
  const backend = lab.backends[0]?.netns as string
  const peers = lab.in(backend, 'ss', '-tnH', 'state', 'established', `dst ${own}`)
  const ports = [...peers.matchAll(/10\.0\.1\.1:(\d+)/g)].map(([, port]) => Number(port))
  expect(ports.length).toBeGreaterThan(0)
  expect(ports.filter((port) => port >= 20_000 && port <= 50_000)).toEqual([])
  expect(await errorsOf(load)).toEqual([])
})
