// A service on several ports, its backups, and the answer of a service without backends, by real connections while
// backends die and return.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { BalanceLab, vipOf } from '../support/balance.ts'
import { Watching } from '../support/watching.ts'

const WEB = vipOf(10)
const NOBODY = { 4: vipOf(11), 6: vipOf(11, 6) } as const
const HTTP = [80, 8080] as const
/** Addresses of the client, each for its own flows. */
const CLIENTS = Array.from({ length: 8 }, (_, i) => `192.0.2.${100 + i}`)
/** Addresses without a flow before the other backends return. */
const NEWCOMERS = Array.from({ length: 8 }, (_, i) => `192.0.2.${110 + i}`)
const PATIENCE = { interval: 50 }
/** curl(1), EXIT CODES: failed to connect; a timeout would be 28. */
const CURL_REFUSED = 7

let lab: BalanceLab
let daemon: Watching

const config = (onEmpty = 'reject'): string => `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {}, eth3: {} }
watch: { resync: 24h }
services:
  web:
    vip: ${WEB}
    port: [80, 8080]
    protocol: [tcp, udp]
    forwarding: nat
    hash: source
    on_empty: ${onEmpty}
    backends: [10.0.1.11, 10.0.2.11, { address: 10.0.3.11, backup: true }]
    health: { type: http, port: 80, interval: 600ms, timeout: 500ms, fall: 2, rise: 2 }
  nobody4: { vip: ${NOBODY[4]}, port: [7, 80], protocol: [tcp, udp], forwarding: nat, on_empty: reject, backends: [] }
  nobody6: { vip: "${NOBODY[6]}", port: any, protocol: [tcp, udp], forwarding: dsr, on_empty: reject, backends: [] }
`

/** The name of the backend that answers a client. */
const ask = (client: string, port: number): string =>
  lab.in(lab.peer, 'curl', '-sS', '-m', '5', '--interface', client, `http://${WEB}:${port}/`).trim()

const everyAnswer = (clients: readonly string[] = CLIENTS): string[] =>
  clients.flatMap((client) => HTTP.map((port) => ask(client, port)))

/** The exit status of a request. */
const failure = (url: string): number =>
  Number(lab.script(lab.peer, `curl -s -m 5 ${url} >/dev/null && echo 0 || echo $?`))

/** The error that a connected UDP socket of the client gets for a datagram. */
function datagram(vip: string, port: number): string {
  const script = `
    const socket = require('node:dgram').createSocket('${vip.includes(':') ? 'udp6' : 'udp4'}')
    socket.on('error', (error) => { console.log(error.code); socket.close() })
    socket.on('message', () => { console.log('answer'); socket.close() })
    socket.connect(${port}, '${vip}', () => socket.send('hello'))
    setTimeout(() => { console.log('silence'); socket.close() }, 5000).unref()`
  return lab.in(lab.peer, process.execPath, '-e', script).trim()
}

const service = async (name = 'web') => {
  const { services } = JSON.parse(await lab.ok('status', '--json'))
  return services.find((one: { name: string }) => one.name === name)
}

const rejected = async (): Promise<number> => {
  const { interfaces } = JSON.parse(await lab.ok('status', '--json'))
  return interfaces.find(({ name }: { name: string }) => name === 'eth0').reasons.rejected?.packets ?? 0
}

beforeAll(async () => {
  lab = await BalanceLab.open()
  const client = lab.peerEnd('eth0')
  lab.script(lab.peer, ...[...CLIENTS, ...NEWCOMERS].map((address) => `ip addr add ${address}/24 dev ${client}`))
  lab.write('xdp.yaml', config())
  daemon = await Watching.ready(lab, '--debounce', '20ms')
})
afterAll(async () => {
  await daemon?.end('SIGKILL')
  lab.close()
})

test('all ports of a service lead a client to one backend, and no client to the backup', () => {
  const answers = CLIENTS.map((client) => HTTP.map((port) => ask(client, port)))
  for (const [first, second] of answers) expect(second).toBe(first)
  expect(new Set(answers.flat())).toEqual(new Set(['b1', 'b2']))
})

test('status and why show one service with all of its ports', async () => {
  expect(await service()).toMatchObject({
    port: [80, 8080],
    protocol: ['tcp', 'udp'],
    mode: 'well',
    flows: 2 * CLIENTS.length,
    backends: [{ role: 'backend' }, { role: 'backend' }, { role: 'backup', health: 'up', flows: 0 }],
  })
  const text = await lab.ok('status')
  expect(text).toContain(`tcp+udp ${WEB}:80,8080`)
  expect(text).toContain('backup, up')
  for (const port of ['80', '8080']) {
    const words = ['--protocol', 'tcp', '--destination', WEB, '--destination-port', port, '--json']
    const { live, desired } = JSON.parse(await lab.ok('why', CLIENTS[0] as string, ...words))
    expect(live).toMatchObject({ service: 'web', backup: false, proven: true })
    expect(live.at).toMatch(/^xdp\.yaml:\d+$/)
    expect(desired).toMatchObject({ service: 'web', backend: live.backend })
  }
})

test.each([4, 6] as const)('a service without backends refuses TCP and UDP at once over IPv%i', async (family) => {
  const before = await rejected()
  const vip = NOBODY[family]
  expect(failure(`http://${family === 6 ? `[${vip}]` : vip}/`)).toBe(CURL_REFUSED)
  expect(datagram(vip, 7)).toBe('ECONNREFUSED')
  expect(await rejected()).toBe(before + 2)
  expect(await service(`nobody${family}`)).toMatchObject({ packets: 0, empty: 2, mode: 'empty' })
  const words = ['--protocol', 'tcp', '--destination', vip, '--destination-port', '80', '--json']
  const { live } = JSON.parse(await lab.ok('why', family === 4 ? '192.0.2.2' : '2001:db8::2', ...words))
  expect(live).toMatchObject({ verdict: 'tx', reason: 'rejected', service: `nobody${family}`, proven: true })
})

test('a backup takes over while no other backend is healthy, and keeps its connections when they return', async () => {
  await lab.stopWeb(1)
  await daemon.hear('backend-down')
  await expect.poll(() => new Set(everyAnswer()), PATIENCE).toEqual(new Set(['b2']))
  expect((await service()).mode).toBe('well')
  await lab.stopWeb(2)
  await daemon.hear('service-health', ({ mode }) => mode === 'backup')
  await expect.poll(async () => (await service()).mode, PATIENCE).toBe('backup')
  expect(new Set(everyAnswer())).toEqual(new Set(['b3']))
  const words = ['--protocol', 'tcp', '--destination', WEB, '--destination-port', '8080']
  expect(await lab.ok('why', CLIENTS[0] as string, ...words)).toContain('backup (no other backend takes it) 10.0.3.11')
  expect(await lab.ok('plan')).toContain('No changes.')
  const load = await lab.load(WEB, 4)
  await expect.poll(async () => (await service()).backends[2].packets, PATIENCE).toBeGreaterThan(100)
  await lab.startWeb(1)
  await daemon.hear('service-health', ({ mode }) => mode === 'well')
  await expect.poll(async () => (await service()).mode, PATIENCE).toBe('well')
  expect(new Set(everyAnswer(NEWCOMERS))).toEqual(new Set(['b1']))
  // By hash: source, a flow is a client.
  expect(new Set(everyAnswer())).toEqual(new Set(['b3']))
  const { connections } = await load.stop()
  expect(connections.map(({ error }) => error)).toEqual([undefined, undefined, undefined, undefined])
})

test('without any healthy backend clients are refused at once, and served again when one returns', async () => {
  await lab.stopWeb(3)
  await lab.stopWeb(1)
  await daemon.hear('service-health', ({ mode }) => mode === 'empty')
  await expect.poll(async () => (await service()).mode, PATIENCE).toBe('empty')
  for (const port of HTTP) expect(failure(`http://${WEB}:${port}/`)).toBe(CURL_REFUSED)
  expect(datagram(WEB, 80)).toBe('ECONNREFUSED')
  await lab.startWeb(2)
  await daemon.hear('service-health', ({ mode }) => mode === 'well')
  await expect.poll(() => failure(`http://${WEB}/`), PATIENCE).toBe(0)
  expect(new Set(everyAnswer())).toEqual(new Set(['b2']))
})

test('an edit of on_empty is a plan without effect on flows', async () => {
  lab.write('xdp.yaml', config('drop'))
  await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
  expect(await service()).toMatchObject({ mode: 'well' })
  expect(ask(CLIENTS[0] as string, 80)).toBe('b2')
})
