// A host under default drop stays reachable for those it allows: entries of ARP and neighbour discovery and routes from
// advertisements expire and are renewed, and errors about the path reach it. Timers are shortened, so that they expire
// many times in the test. Each is also seen to fail without its group of essential packets.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect } from 'vitest'
import { inDepth, inTurns } from '../support/depth.ts'
import { capture, ETH0, Lab } from '../support/hosts.ts'
import { compiled } from '../support/programs.ts'

/** Of the network behind the router, which alone is allowed; the router itself is not. */
const ALLOWED = { 4: '198.51.100.9', 6: '2001:db8:9::9' } as const
/** Behind the router's link with an MTU of NARROW bytes. */
const FAR = { 4: '203.0.113.9', 6: '2001:db8:77::9' } as const
const NARROW = 1400
const WIDE = 1500
/** Of default routes from advertisements, in seconds. */
const LIFETIME = 2

let lab: Lab
const running: ChildProcess[] = []

beforeEach(() => {
  lab = new Lab([ETH0])
  const { host, peer } = lab
  const far = lab.peerEnd('eth0')
  for (const [netns, device] of [
    [host, 'eth0'],
    [peer, far],
  ] as const) {
    lab.in(netns, 'ip', 'neigh', 'flush', 'dev', device, 'nud', 'permanent')
    for (const family of ['ipv4', 'ipv6'] as const) {
      const timer = (name: string, value: number) => `net.${family}.neigh.${device}.${name}=${value}`
      // Entries stay reachable for 100 to 300 ms, and then are confirmed again.
      lab.in(netns, 'sysctl', '-qw', timer('base_reachable_time_ms', 200), timer('delay_first_probe_time', 0))
      lab.in(netns, 'sysctl', '-qw', timer('retrans_time_ms', 100), timer('gc_stale_time', 1))
    }
  }
  lab.in(peer, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  lab.in(peer, 'ip', 'addr', 'add', `${ALLOWED[4]}/32`, 'dev', 'lo')
  lab.in(peer, 'ip', 'addr', 'add', `${ALLOWED[6]}/128`, 'dev', 'lo')
  lab.in(peer, 'ip', 'link', 'add', 'narrow', 'mtu', `${NARROW}`, 'type', 'veth', 'peer', 'name', 'end')
  lab.in(peer, 'ip', 'link', 'set', 'narrow', 'up')
  lab.in(peer, 'ip', 'link', 'set', 'end', 'up')
  lab.in(peer, 'ip', 'route', 'add', `${FAR[4]}/32`, 'dev', 'narrow')
  lab.in(peer, 'ip', '-6', 'route', 'add', `${FAR[6]}/128`, 'dev', 'narrow')
  lab.in(host, 'ip', 'route', 'add', 'default', 'via', '192.0.2.2')
  lab.in(host, 'ip', '-6', 'route', 'add', '2001:db8::/32', 'via', '2001:db8::2', 'mtu', `${WIDE}`)
})
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
  lab.close()
})

/** Applies default drop, with all groups of essential packets but one. */
async function drop(without?: string, ...flags: readonly string[]): Promise<void> {
  const groups = ['loopback', 'icmp_errors', 'neighbor_discovery', 'mld', 'dhcp_client'].filter(
    (one) => one !== without,
  )
  const allowed = `allowlist: [${ALLOWED[4]}, "${ALLOWED[6]}"]`
  lab.write(
    'xdp.yaml',
    `version: 1\ninterfaces: { eth0: {} }\npolicy: { default: drop, essential: [${groups.join(', ')}] }\n${allowed}\n`,
  )
  await lab.ok('apply', '--auto-approve', ...flags)
}

const forget = (): void => {
  lab.in(lab.host, 'ip', 'neigh', 'flush', 'dev', 'eth0')
  lab.in(lab.peer, 'ip', 'neigh', 'flush', 'dev', lab.peerEnd('eth0'))
}

/** The number of answers to pings from the allowed address. */
const answers = (family: 4 | 6, count: number): Promise<number> =>
  lab.ping(family === 4 ? '192.0.2.1' : '2001:db8::1', { source: ALLOWED[family], count, seconds: 2 })

inTurns('neighbour entries expire and are renewed, in IPv4 and IPv6', async () => {
  await drop()
  for (const family of [4, 6] as const) {
    // 60 pings take 3 seconds: the entries of both ends are confirmed about ten times.
    expect(await answers(family, 60)).toBe(60)
    for (let round = 0; round < 3; round++) {
      forget()
      expect(await answers(family, 3)).toBe(3)
    }
  }
  const { interfaces } = JSON.parse(await lab.ok('status', '--json'))
  const essential = interfaces[0].reasons.essential.packets
  expect(essential).toBeGreaterThan(10)
})

inTurns('without neighbor_discovery, IPv6 does not survive the expiry of an entry', async () => {
  await drop('neighbor_discovery')
  forget()
  expect(await answers(4, 2)).toBe(2)
  expect(await answers(6, 2)).toBe(0)
})

/** Starts the router's advertisements; the result resolves after so many. */
function advertise(): (count: number) => Promise<void> {
  const program = compiled('advertise.c')
  const argv = [`--net=/run/netns/${lab.peer}`, program, lab.peerEnd('eth0'), `${LIFETIME}`]
  const child = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'ignore'] })
  running.push(child)
  let sent = 0
  createInterface({ input: child.stdout }).on('line', () => sent++)
  return async (count) => {
    const wanted = sent + count
    await expect.poll(() => sent, { interval: 50 }).toBeGreaterThanOrEqual(wanted)
  }
}

/** The kernel shows an expired route, with a negative time, until it collects it. */
function defaultRoutes(): unknown[] {
  const routes = JSON.parse(lab.in(lab.host, 'ip', '-6', '-j', 'route', 'show', 'default', 'dev', 'eth0') || '[]')
  return (routes as { expires?: number }[]).filter(({ expires = 1 }) => expires > 0)
}

inDepth('a default route from router advertisements is kept, and expires without neighbor_discovery', async () => {
  await drop()
  const sent = advertise()
  await expect.poll(defaultRoutes).toHaveLength(1)
  // Four a second: twice the lifetime of the route.
  for (let i = 0; i < 2 * LIFETIME; i++) {
    await sent(4)
    expect(defaultRoutes()).toHaveLength(1)
  }
  await expect(drop('neighbor_discovery')).rejects.toThrow('E227')
  await drop('neighbor_discovery', '--allow-cut', 'gateway')
  await expect.poll(defaultRoutes).toHaveLength(0)
  await drop()
  await expect.poll(defaultRoutes).toHaveLength(1)
})

/** MTU of the path to an address, as the host knows it. */
const pathMtu = (address: string): number => {
  const [route] = JSON.parse(lab.in(lab.host, 'ip', '-j', 'route', 'get', address)) as [
    { metrics?: { mtu?: number }[] },
  ]
  return route.metrics?.[0]?.mtu ?? WIDE
}

/** Sends packets of the host's own MTU that no router may fragment. */
const sendWide = (address: string): Promise<unknown> =>
  capture('nsenter', [
    `--net=/run/netns/${lab.host}`,
    ...['ping', '-n', '-q', '-c', '3', '-i', '0.2', '-W', '1', '-M', 'do'],
    ...['-s', `${WIDE - (address.includes(':') ? 48 : 28)}`, address],
  ])

inTurns('the host learns the MTU of a path, and does not without icmp_errors', async () => {
  await drop('icmp_errors')
  for (const address of Object.values(FAR)) {
    await sendWide(address)
    expect(pathMtu(address)).toBe(WIDE)
  }
  await drop()
  for (const address of Object.values(FAR)) {
    await sendWide(address)
    await expect.poll(() => pathMtu(address)).toBe(NARROW)
  }
})
