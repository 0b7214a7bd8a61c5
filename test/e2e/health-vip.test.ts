// Checks through VIPs: a backend whose server answers at its own address is down where packets of clients would find no
// VIP or no decapsulation. Two of the VIPs are addresses of the balancer itself, as with VRRP.

import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BalanceLab, MIRROR, vipOf } from '../support/balance.ts'
import { Watching } from '../support/watching.ts'

const MODES = ['dsr', 'ipip', 'gue'] as const
const CASES = MODES.flatMap((mode, i) =>
  ([4, 6] as const).map((family) => ({ mode, family, vip: vipOf(40 + i, family) })),
)
const VIPS = CASES.map(({ vip }) => vip)
const OWN = CASES.filter(({ mode }) => mode === 'dsr').map(({ vip }) => vip)
/** An IPv4 VIP with backends of IPv6, checked by requests with an answer. */
const MIXED = vipOf(50)

let lab: BalanceLab
let daemon: Watching

const add = (vip: string): string => `ip addr add ${vip}/${vip.includes(':') ? 128 : 32} dev lo`
const remove = (vip: string): string => `ip addr del ${vip}/${vip.includes(':') ? 128 : 32} dev lo`

function config(): string {
  const service = (name: string, vip: string, forwarding: string, family: 4 | 6, check: string): string => {
    const backends = [1, 2].map((n) => `"${lab.address(n, 1, family)}"`).join(', ')
    return `  ${name}: { vip: "${vip}", port: 80, protocol: tcp, forwarding: ${forwarding}, backends: [${backends}],
    health: { ${check}, via: vip, interval: 500ms, timeout: 450ms, fall: 2, rise: 1 }, fallback: drop }\n`
  }
  const services = CASES.map(({ mode, family, vip }) => service(`${mode}-${family}`, vip, mode, family, 'type: tcp'))
  // An answer as large as the network carries.
  const large = service('dsr-large', OWN[0] as string, 'dsr', 4, 'type: udp, send: fill 1472, expect: "--"').replace(
    'port: 80, protocol: tcp',
    `port: ${MIRROR}, protocol: udp`,
  )
  const mixed = service('mixed', MIXED, 'gue', 6, `type: http, body: "b"`)
  return `version: 1\ninterfaces: { eth0: {}, eth1: {}, eth2: {} }\npolicy: { default: drop }\nservices:\n${services.join('')}${large}${mixed}`
}

/** Names of services by backend and health: `b1 up`. */
async function states(): Promise<Record<string, string[]>> {
  const { services } = JSON.parse(await lab.ok('status', '--json'))
  const found: Record<string, string[]> = {}
  for (const { name, backends } of services) {
    for (const { address, health } of backends) {
      const number = lab.backends.find(({ v4, v6 }) => v4 === address || v6 === address)?.number
      const key = `b${number} ${health}`
      found[key] = [...(found[key] ?? []), name].sort()
    }
  }
  return found
}

const ALL = [...CASES.map(({ mode, family }) => `${mode}-${family}`), 'dsr-large', 'mixed'].sort()
const TUNNELS = ALL.filter((name) => !name.startsWith('dsr'))
const DIRECT = ALL.filter((name) => name.startsWith('dsr'))

/** Interfaces of the balancer that are not of the laboratory. */
const devices = (): string[] =>
  JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show'))
    .map(({ ifname }: { ifname: string }) => ifname)
    .filter((name: string) => name.startsWith('xdpc'))

const pins = (): string[] => {
  const own = `${lab.bpffs}/xdp-as-code`
  const found = readdirSync(own, { recursive: true }) as string[]
  return found.filter((path) => path.endsWith('/checks'))
}

beforeAll(async () => {
  lab = await BalanceLab.open(2)
  const [good, poor] = lab.backends.map(({ netns }) => netns) as [string, string]
  lab.script(good, 'sysctl -qw net.ipv4.conf.all.arp_ignore=1', ...[...VIPS, MIXED].map(add))
  lab.run(good, 'eth0', 'unwrap')
  lab.script(poor, 'sysctl -qw net.ipv4.conf.all.arp_ignore=1')
  lab.script(lab.host, ...OWN.map(add))
  for (const netns of [good, poor]) {
    lab.script(netns, 'sysctl -qw net.ipv4.ip_nonlocal_bind=1')
    await lab.mirrorIn(netns, OWN[0] as string)
  }
  lab.write('xdp.yaml', config())
  daemon = await Watching.ready(lab)
})
afterAll(async () => {
  await daemon?.end('SIGKILL')
  lab?.close()
})

test('only a backend that takes packets of clients is up', async () => {
  await expect.poll(states).toEqual({ 'b1 up': ALL, 'b2 down': ALL })
  expect(daemon.lines.filter(({ event }) => event === 'trouble')).toEqual([])
})

test('a backend comes up when it has the VIP and decapsulates, and goes down when it loses either', async () => {
  const [first, second] = lab.backends.map(({ netns }) => netns) as [string, string]
  lab.script(second, ...[...VIPS, MIXED].map(add))
  await expect.poll(states).toEqual({ 'b1 up': ALL, 'b2 up': DIRECT, 'b2 down': TUNNELS })
  lab.run(second, 'eth0', 'unwrap')
  await expect.poll(states).toEqual({ 'b1 up': ALL, 'b2 up': ALL })
  lab.script(first, ...OWN.map(remove))
  lab.run(second, 'eth0', 'pass')
  const now = { 'b1 down': DIRECT, 'b1 up': TUNNELS, 'b2 down': TUNNELS, 'b2 up': DIRECT }
  await expect.poll(states).toEqual(now)
})

test('a killed daemon leaves no device and no process, and the next one checks again', async () => {
  expect(devices()).toHaveLength(1)
  expect(pins()).toHaveLength(1)
  await daemon.end('SIGKILL')
  await expect.poll(devices).toEqual([])
  const [first, second] = lab.backends.map(({ netns }) => netns) as [string, string]
  lab.script(first, ...OWN.map(add))
  lab.run(second, 'eth0', 'unwrap')
  daemon = await Watching.ready(lab)
  await expect.poll(states).toEqual({ 'b1 up': ALL, 'b2 up': ALL })
})

test('a daemon without such checks has no device, and destroy removes what a killed one left', async () => {
  lab.write('xdp.yaml', config().replaceAll('via: vip', 'via: backend'))
  await expect.poll(devices).toEqual([])
  await expect.poll(pins).toEqual([])
  lab.write('xdp.yaml', config())
  await expect.poll(() => devices().length).toBe(1)
  await expect.poll(states).toEqual({ 'b1 up': ALL, 'b2 up': ALL })
  await daemon.end('SIGKILL')
  await lab.ok('destroy', '--auto-approve')
  expect(readdirSync(lab.bpffs)).not.toContain('xdp-as-code')
})
