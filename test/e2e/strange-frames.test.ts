// Packets that strangers send: SYNs with the addresses and ports of live connections, and frames that are not for this
// host. And real clients that look like them: a source port used again, a MAC address that is new.

import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BalanceLab, script, vipOf } from '../support/balance.ts'
import { seal } from '../support/checksums.ts'
import { inDepth, usually } from '../support/depth.ts'
import { ethernet, ipv4, packet, SYN, tcp } from '../support/packets.ts'
import { compiled } from '../support/programs.ts'

const VIP = vipOf(10)
const CLIENT = '192.0.2.2'

let lab: BalanceLab
let injector: string
beforeAll(async () => {
  lab = await BalanceLab.open()
  injector = compiled('inject.c')
})
afterAll(() => lab.close())

function configure(backends: readonly string[], more = ''): void {
  lab.write(
    'xdp.yaml',
    `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {}, eth3: {} }
${more}
services:
  web: { vip: ${VIP}, port: 80, protocol: tcp, forwarding: nat, backends: [${backends.join(', ')}] }
`,
  )
}

const apply = (): Promise<string> => lab.ok('apply', '--auto-approve')
const FEW = (): string[] => [1, 2].map((number) => lab.address(number))
const MANY = (): string[] => [1, 2, 3].flatMap((number) => [1, 2, 3].map((n) => lab.address(number, n)))

interface Shown {
  readonly address: string
}

const macOf = (device: string): string =>
  (JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show', 'dev', device)) as [Shown])[0].address

/** Sends frames from the client's side. */
function inject(frames: readonly Uint8Array[]): void {
  const lines = frames.map((frame) => `${Buffer.from(frame).toString('hex')}\n`).join('')
  execFileSync('nsenter', [`--net=/run/netns/${lab.peer}`, injector, lab.peerEnd('eth0')], { input: lines })
}

const syn = (port: number, destination: string): Uint8Array =>
  seal(
    packet(
      ethernet({ destination }),
      ipv4({ source: CLIENT, destination: VIP }),
      tcp({ source: port, destination: 80, flags: SYN }),
    ),
  )

/** Source ports of the client's connections to the VIP. */
const clientPorts = (): number[] =>
  lab
    .in(lab.peer, 'ss', '-Htn', 'state', 'established', 'dst', VIP)
    .split('\n')
    .flatMap((line) => /:(\d+)\s+\S+:80\b/.exec(line)?.[1] ?? [])
    .map(Number)

interface Counted {
  readonly packets: number
  readonly hits: number
  readonly flows: number
}

const web = async (): Promise<Counted> => (JSON.parse(await lab.ok('status', '--json')).services as [Counted])[0]

const reasonCount = async (reason: string): Promise<number> => {
  const { interfaces } = JSON.parse(await lab.ok('stats', '--json')) as {
    readonly interfaces: readonly {
      readonly name: string
      readonly reasons: Readonly<Record<string, { packets: number }>>
    }[]
  }
  return interfaces.find(({ name }) => name === 'eth0')?.reasons[reason]?.packets ?? 0
}

test('SYNs of strangers move none of 30 connections after an edit of backends', async () => {
  configure(FEW())
  await apply()
  const load = await lab.load(VIP, 30)
  await expect.poll(async () => (await web()).hits).toBeGreaterThan(90)
  configure(MANY())
  await apply()
  const ports = clientPorts()
  expect(ports).toHaveLength(30)
  const { flows } = await web()
  const mac = macOf('eth0')
  for (let round = 0; round < 3; round++) inject(ports.map((port) => syn(port, mac)))
  await expect.poll(async () => (await web()).flows).toBeGreaterThanOrEqual(flows + 90)
  const { connections } = await load.stop()
  expect(connections.filter(({ error }) => error !== undefined)).toEqual([])
  expect(connections).toHaveLength(30)
})

test.each(usually(['reset'] as const, { thoroughly: ['reset', 'closed'] as const }))(
  'a client uses its source port again after its connection was %s',
  async (end) => {
    configure(FEW())
    await apply()
    const ask = (port: number): unknown =>
      JSON.parse(lab.in(lab.peer, process.execPath, script('reconnect'), VIP, '80', `${port}`, end))
    for (const port of [41001, 41002, 41003, 41004]) {
      const answers = ask(port) as { readonly first: string; readonly second: string }
      expect(answers.first).toMatch(/b\d/)
      expect(answers.second).toMatch(/b\d/)
    }
    configure(MANY())
    await apply()
    for (const port of [41001, 41002, 41003, 41004])
      expect(ask(port)).toMatchObject({ second: expect.stringMatching(/b\d/) })
  },
)

test('frames for other hosts and for groups are left to the stack', async () => {
  configure(FEW())
  await apply()
  const before = { ...(await web()), others: await reasonCount('other-host') }
  const others = ['02:00:5e:10:00:99', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:12']
  inject(others.map((mac, i) => syn(42000 + i, mac)))
  await expect.poll(() => reasonCount('other-host')).toBe(before.others + others.length)
  expect(await web()).toMatchObject({ packets: before.packets, flows: before.flows })
  inject([syn(42010, macOf('eth0'))])
  await expect.poll(async () => (await web()).flows).toBe(before.flows + 1)
})

test('a virtual MAC address on a macvlan device is served after an apply, and a new one of the interface too', async () => {
  configure(FEW())
  await apply()
  const virtual = '00:00:5e:00:01:33'
  lab.in(lab.host, 'ip', 'link', 'add', 'vrrp0', 'link', 'eth0', 'address', virtual, 'type', 'macvlan')
  lab.in(lab.host, 'ip', 'link', 'set', 'vrrp0', 'up')
  const own = macOf('eth0')
  const counted = async (mac: string, port: number): Promise<void> => {
    const { flows } = await web()
    inject([syn(port, mac)])
    await expect.poll(async () => (await web()).flows).toBe(flows + 1)
  }
  expect(await lab.ok('plan')).toContain('has another MAC address than at the last apply')
  await apply()
  expect(await lab.ok('plan')).toContain('No changes')
  await counted(virtual, 43001)
  await counted(own, 43002)
  lab.in(lab.host, 'ip', 'link', 'del', 'vrrp0')
  await apply()
  const others = await reasonCount('other-host')
  inject([syn(43003, virtual)])
  await expect.poll(() => reasonCount('other-host')).toBe(others + 1)
})

test('a reply that a client forges does not leave from the VIP', async () => {
  configure(FEW())
  await apply()
  const { replies } = (JSON.parse(await lab.ok('stats', '--json')).services as [{ replies: number }])[0]
  const forged = seal(
    packet(
      ethernet({ destination: macOf('eth0') }),
      ipv4({ source: lab.address(1), destination: CLIENT }),
      tcp({ source: 80, destination: 40000, flags: SYN }),
    ),
  )
  const packets = await reasonCount('default-pass')
  inject([forged])
  await expect.poll(() => reasonCount('default-pass')).toBeGreaterThan(packets)
  expect((JSON.parse(await lab.ok('stats', '--json')).services as [{ replies: number }])[0].replies).toBe(replies)
  expect(lab.fetch(VIP)).toMatch(/b\d/)
})

inDepth('a key of the hash stays secret, and an edit of it moves new flows only', async () => {
  const key = '5d1c0a7e93b24f68a1d2c3e4f5061728'
  configure(MANY())
  await apply()
  const load = await lab.load(VIP, 20)
  await expect.poll(async () => (await web()).hits).toBeGreaterThan(0)
  configure(MANY(), `balancer: { hash_key: "${key}" }`)
  const outputs: string[] = []
  for (const words of [['plan'], ['plan', '--json'], ['plan', '--commands'], ['validate'], ['validate', '--json']])
    outputs.push((await lab.xdp(...words)).stdout)
  outputs.push(
    await lab.ok('apply', '--auto-approve', '--json'),
    await lab.ok('status'),
    await lab.ok('status', '--json'),
  )
  for (const output of outputs) expect(output).not.toContain(key)
  expect(outputs[0]).toMatch(/hash_key: none -> fingerprint [0-9a-f]{8}/)
  expect(await lab.ok('status')).toMatch(/Hash key: fingerprint [0-9a-f]{8}/)
  expect(await lab.ok('plan')).toContain('No changes')
  const { connections } = await load.stop()
  expect(connections.filter(({ error }) => error !== undefined)).toEqual([])
})
