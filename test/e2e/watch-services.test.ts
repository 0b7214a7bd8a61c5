// The daemon of a balancer: backends that die and come back under load, next hops that change, and health that outlives
// edits, other commands and the daemon.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BalanceLab, vipOf } from '../support/balance.ts'
import { inDepth } from '../support/depth.ts'
import { Watching } from '../support/watching.ts'

const WEB = vipOf(10)
const LATE = vipOf(11)
const ONLY = vipOf(12)
/** From the config, in milliseconds: no request goes to a backend later than this after its death. */
const CHECK = { interval: 600, timeout: 500, fall: 2 }
/** curl(1), EXIT CODES. The message varies, depending on which timeout of curl ends first. */
const CURL_TIMEDOUT = 28
const BOUND = CHECK.fall * CHECK.interval + CHECK.timeout

let lab: BalanceLab
let daemon: Watching
const PATIENCE = { interval: 50 }

const config = (weight = 1): string => `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {}, eth3: {} }
watch: { resync: 24h, metrics: "127.0.0.1:9469" }
services:
  web:
    vip: ${WEB}
    port: 80
    protocol: tcp
    forwarding: nat
    backends: [10.0.1.11, 10.0.2.11, { address: 10.0.3.11, weight: ${weight} }]
    health: { type: http, interval: ${CHECK.interval}ms, timeout: ${CHECK.timeout}ms, fall: ${CHECK.fall}, rise: 2 }
    fallback: drop
  late: { vip: ${LATE}, port: 80, protocol: tcp, forwarding: nat, backends: [10.0.2.99] }
  only: { vip: ${ONLY}, port: 80, protocol: tcp, forwarding: nat, backends: [10.0.1.12] }
`

const status = async () => JSON.parse(await lab.ok('status', '--json'))
interface Shown {
  readonly address: string
  readonly next_hop: { readonly mtu: number; readonly interface: string } | null
  readonly health: string
  readonly flows: number
}
const backends = async (name = 'web'): Promise<readonly Shown[]> =>
  (await status()).services.find((one: { name: string }) => one.name === name).backends
const down = async (): Promise<string[]> =>
  (await backends()).flatMap(({ address, health }) => (health === 'down' ? [address] : []))

/** A metric of the daemon. */
function metric(name: string): number {
  const script = `fetch('http://127.0.0.1:9469/metrics').then((answer) => answer.text()).then((text) => console.log(text))`
  const line = lab
    .in(lab.host, process.execPath, '-e', script)
    .split('\n')
    .find((one) => one.startsWith(`${name} `))
  return Number(line?.split(' ').at(-1))
}

/** Gives the first backend another MAC address, and announces it by ARP from each of its addresses. */
function move(mac: string): void {
  const announce = ['10.0.1.12', '10.0.1.11'].flatMap((own) => [
    'ip neigh flush dev eth0',
    `ping -qc1 -W5 10.0.1.1 -I ${own} >/dev/null`,
  ])
  lab.script(lab.backends[0]?.netns as string, `ip link set eth0 address ${mac}`, ...announce)
}

/** Measures the longest time for which this process did not run. */
function watchStalls(): { readonly longest: () => number } {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 5)
    last = now
  }, 5)
  return {
    longest() {
      clearInterval(timer)
      return longest
    },
  }
}

beforeAll(async () => {
  lab = await BalanceLab.open()
  lab.write('xdp.yaml', config())
  daemon = await Watching.ready(lab, '--debounce', '20ms')
})
afterAll(async () => {
  await daemon?.end('SIGKILL')
  lab.close()
})

test('a backend that dies under load gets no request after fall x interval + timeout, and is used again when it is back', async () => {
  await expect.poll(() => metric('xdp_health_checks_running') >= 0 && daemon.count('backend-down'), PATIENCE).toBe(0)
  const stalls = watchStalls()
  const load = await lab.ask(WEB)
  await expect.poll(async () => (await backends()).every(({ flows }) => flows > 0), PATIENCE).toBe(true)
  const died = Date.now()
  await lab.stopWeb(1)
  const event = await daemon.hear('backend-down')
  expect(event).toMatchObject({ service: 'web', backend: '10.0.1.11', reason: 'connection refused' })
  await expect.poll(down, PATIENCE).toEqual(['10.0.1.11'])
  expect(await lab.ok('status')).toMatch(/service web: 10\.0\.1\.11 is down since \S+: connection refused/)
  expect((await status()).watch.health).toMatchObject({ checked: 3, down: 1, backends: [{ backend: '10.0.1.11' }] })
  expect(metric('xdp_backend_up{service="web",backend="10.0.1.11"}')).toBe(0)
  expect(metric('xdp_service_healthy_backends{service="web"}')).toBe(2)
  const { services } = JSON.parse(await lab.ok('stats', '--json'))
  expect(services[2]).toMatchObject({ name: 'web', mode: 'well', backends: [{ health: 'down' }, {}, {}] })
  const before = (await backends())[0]?.flows
  const others = async (): Promise<number> => (await backends()).slice(1).reduce((sum, { flows }) => sum + flows, 0)
  const enough = (await others()) + 100
  await expect.poll(others, PATIENCE).toBeGreaterThan(enough)
  expect((await backends())[0]?.flows).toBe(before)
  await lab.startWeb(1)
  const returned = Date.now()
  await daemon.hear('backend-up', ({ backend }) => backend === '10.0.1.11')
  await expect.poll(async () => (await backends())[0]?.flows, PATIENCE).toBeGreaterThan(before as number)
  const asked = await load.stop()
  // The daemon, the client and this process may each have been stalled once for that long.
  const slack = 3 * Math.max(stalls.longest(), 1000 * metric('xdp_health_check_lateness_seconds_max')) + 250
  const failed = asked.filter(({ error }) => error !== undefined)
  expect(failed.length).toBeGreaterThan(0)
  expect(failed.filter(({ time }) => time < died - slack || time > died + BOUND + slack)).toEqual([])
  expect(asked.some(({ time, backend }) => time < died && backend === 'b1')).toBe(true)
  expect(asked.some(({ time, backend }) => time > returned && backend === 'b1')).toBe(true)
})

test('health outlives edits, an apply beside the daemon, and the daemon', async () => {
  await lab.stopWeb(1)
  await daemon.hear('backend-down')
  await expect.poll(down, PATIENCE).toEqual(['10.0.1.11'])
  lab.write('xdp.yaml', config(2))
  await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
  expect(await down()).toEqual(['10.0.1.11'])
  lab.write('xdp.yaml', config(3))
  await lab.ok('apply', '--auto-approve')
  expect(await down()).toEqual(['10.0.1.11'])
  await daemon.end('SIGKILL')
  daemon = await Watching.ready(lab, '--debounce', '20ms')
  await expect.poll(() => metric('xdp_health_checks_total'), PATIENCE).toBeGreaterThan(9)
  expect([await down(), metric('xdp_health_writes_total')]).toEqual([['10.0.1.11'], 0])
  expect(daemon.count('backend-down') + daemon.count('backend-up')).toBe(0)
  await lab.startWeb(1)
  await daemon.hear('backend-up')
  await expect.poll(down, PATIENCE).toEqual([])
})

test('one failed check after a restart takes no backend out that passed its checks before', async () => {
  const once = `${lab.directory}/fails/once`
  lab.script(lab.host, `mkdir -m 777 ${lab.directory}/fails`, `chmod 755 ${lab.directory}`)
  const checked = `  once:
    vip: ${vipOf(14)}
    port: 80
    protocol: tcp
    forwarding: nat
    backends: [10.0.3.12]
    health: { type: exec, command: [/bin/sh, -c, "if rm ${once} 2>/dev/null; then exit 1; fi"], interval: 400ms, timeout: 300ms, fall: 3 }
`
  lab.write('xdp.yaml', config(3) + checked)
  await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
  const isUp = async (): Promise<boolean> => (await backends('once'))[0]?.health === 'up'
  await expect.poll(isUp, PATIENCE).toBe(true)
  const record = `/run/xdp/default.${statSync(lab.bpffs).dev}.standings.json`
  // The record follows a result by a quarter of a second.
  await expect.poll(() => readFileSync(record, 'utf8'), PATIENCE).toContain('once/10.0.3.12')
  await daemon.end('SIGKILL')
  lab.write('fails/once', '')
  daemon = await Watching.ready(lab, '--debounce', '20ms')
  await expect.poll(() => existsSync(once), PATIENCE).toBe(false)
  await expect.poll(() => metric('xdp_health_checks_total'), PATIENCE).toBeGreaterThan(20)
  expect(daemon.lines.filter(({ event, service }) => event === 'backend-down' && service === 'once')).toEqual([])
  lab.write('xdp.yaml', config(3))
  await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
})

test('a service without healthy backends uses its fallback, and recovers', async () => {
  await Promise.all([1, 2, 3].map((number) => lab.stopWeb(number)))
  await daemon.hear('service-health', ({ mode }) => mode === 'drop')
  const mode = async (): Promise<string> =>
    (await status()).services.find((one: { name: string }) => one.name === 'web').mode
  await expect.poll(mode, PATIENCE).toBe('drop')
  // Dropped by the fallback, not refused by a dead backend.
  const ask = () => lab.in(lab.peer, 'curl', '-sS', '-m', '0.5', `http://${WEB}/`)
  expect(ask).toThrow(expect.objectContaining({ status: CURL_TIMEDOUT }))
  await Promise.all([1, 2, 3].map((number) => lab.startWeb(number)))
  await daemon.hear('service-health', ({ mode: now }) => now === 'well')
  await expect.poll(down, PATIENCE).toEqual([])
  expect(lab.fetch(WEB)).toMatch(/^b[123]$/)
})

test('without an edit follows a backend to another MAC address, and sends traffic to one that appears', async () => {
  const warned = daemon.lines.flatMap(({ warnings = [] }) => warnings.map(({ message }) => message))
  expect(warned.filter((message) => message.includes('10.0.2.99'))).toHaveLength(1)
  const b2 = lab.backends[1]?.netns as string
  expect(lab.fetch(ONLY)).toBe('b1')
  move('02:00:5e:10:00:99')
  await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:only'))
  expect(lab.fetch(ONLY)).toBe('b1')
  lab.script(b2, 'ip addr add 10.0.2.99/24 dev eth0')
  await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:late'))
  expect(lab.fetch(LATE)).toBe('b2')
  expect(daemon.count('drift')).toBe(0)
})

test('follows a rule and a route that change a next hop, and the next edit keeps the new one', async () => {
  const changed = () => daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:only'))
  lab.script(lab.host, 'ip rule add to 10.0.1.12 pref 100 unreachable')
  await changed()
  const [only] = await backends('only')
  expect(only).toMatchObject({ address: '10.0.1.12', next_hop: null })
  lab.script(lab.host, 'ip rule del pref 100')
  await changed()
  expect(lab.fetch(ONLY)).toBe('b1')
  lab.script(lab.host, 'ip route add 10.0.1.12/32 dev eth1 mtu 1300')
  await changed()
  lab.write('xdp.yaml', config(7))
  await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:web'))
  expect((await backends('only'))[0]).toMatchObject({ next_hop: { mtu: 1300 } })
  lab.script(lab.host, 'ip route del 10.0.1.12/32 dev eth1')
  await changed()
})

test('switches at once to another gateway of the route when one is gone, and an edit keeps it', async () => {
  const GATEWAYS = ['10.0.2.98', '10.0.3.98'] as const
  const [b2, b3] = [lab.backends[1]?.netns as string, lab.backends[2]?.netns as string]
  lab.script(b2, `ip addr add ${GATEWAYS[0]}/24 dev eth0`)
  lab.script(b3, `ip addr add ${GATEWAYS[1]}/24 dev eth0`)
  const hops = `nexthop via ${GATEWAYS[0]} dev eth2 nexthop via ${GATEWAYS[1]} dev eth3`
  // Otherwise the kernel also spreads flows over unreachable gateways.
  lab.script(lab.host, 'sysctl -qw net.ipv4.fib_multipath_use_neigh=1', `ip route add 10.9.9.9/32 ${hops}`)
  // Comparing sends no ARP request: both gateways are known.
  for (const gateway of GATEWAYS) lab.in(lab.host, 'ping', '-qc1', '-W5', gateway)
  const via = async (): Promise<string | undefined> => (await backends('far'))[0]?.next_hop?.interface
  const far = `  far: { vip: ${vipOf(13)}, port: 80, protocol: tcp, forwarding: nat, backends: [10.9.9.9] }\n`
  lab.write('xdp.yaml', config(7) + far)
  await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:far'))
  const first = (await via()) as string
  const [gone, other] = first === 'eth2' ? (['eth2', 'eth3'] as const) : (['eth3', 'eth2'] as const)
  const address = GATEWAYS[gone === 'eth2' ? 0 : 1]
  lab.script(gone === 'eth2' ? b2 : b3, `ip addr del ${address}/24 dev eth0`)
  lab.script(lab.host, `ip neigh replace ${address} dev ${gone} nud failed`)
  await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:far'))
  expect(await via()).toBe(other)
  lab.write('xdp.yaml', config(8) + far)
  await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:web'))
  expect(await via()).toBe(other)
  lab.script(lab.host, 'ip route del 10.9.9.9/32')
})

inDepth('many events of other neighbours and routes make no reconcile', async () => {
  const reconciles = async (): Promise<number> =>
    Object.values((await status()).watch.reconciles as Record<string, number>).reduce((sum, one) => sum + one, 0)
  const before = await reconciles()
  const neighbours = Array.from(
    { length: 200 },
    (_, i) => `neigh replace 10.0.3.${i + 20} lladdr 02:00:00:00:00:01 dev eth3`,
  )
  const storm = lab.write('storm', Array.from({ length: 20 }, () => neighbours.join('\n')).join('\n'))
  lab.in(lab.host, 'ip', '-batch', storm)
  lab.script(lab.host, 'ip route add 203.0.113.0/24 dev eth3', 'ip route del 203.0.113.0/24')
  // A relevant event behind all of these.
  move('02:00:5e:10:00:98')
  await daemon.hear('applied', ({ changes = [] }) => changes.some(({ key }) => key === 'service:only'))
  expect(await reconciles()).toBeLessThan(before + 6)
})

inDepth('an apply without a daemon marks all backends as up', async () => {
  await lab.stopWeb(2)
  await daemon.hear('backend-down', ({ backend }) => backend === '10.0.2.11')
  await expect.poll(down, PATIENCE).toEqual(['10.0.2.11'])
  expect(await daemon.end()).toBe(0)
  expect(await down()).toEqual(['10.0.2.11'])
  expect(await lab.ok('apply', '--auto-approve')).toContain('No changes')
  expect(await down()).toEqual([])
})
