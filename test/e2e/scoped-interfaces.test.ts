// Entries that are limited to interfaces: one source is dropped on one interface and passes on the other.

import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, ETH1, Lab } from '../support/hosts.ts'

/** Reaches the host over both interfaces. */
const ROAMER = '203.0.113.9'
const OVER = { eth0: '192.0.2.1', eth1: '198.51.100.1' } as const
const PASSES = 2
const DROPPED = 0

const config = (interfaces: string, entries: string): string =>
  `version: 1\ninterfaces: { ${interfaces} }\nblocklist:\n${entries}\n`
const BOTH = 'eth0: {}, eth1: { mode: generic, missing: skip }'
const onOne = (name: string): string => `  - { name: roamers, cidr: 203.0.113.0/24, interfaces: [${name}] }`

let lab: Lab
beforeAll(() => {
  lab = new Lab([{ ...ETH0, peerAddresses: [...ETH0.peerAddresses, `${ROAMER}/32`] }, ETH1])
  routes()
})
afterAll(() => lab.close())

/** Replies to the roamer leave over eth1, whichever interface it came from. */
function routes(): void {
  for (const name of ['all', 'eth0', 'eth1']) lab.in(lab.host, 'sysctl', '-qw', `net.ipv4.conf.${name}.rp_filter=0`)
  lab.in(lab.host, 'ip', 'route', 'replace', `${ROAMER}/32`, 'via', '198.51.100.2')
}

const pings = async (count = 2): Promise<readonly number[]> => [
  await lab.ping(OVER.eth0, { source: ROAMER, count }),
  await lab.ping(OVER.eth1, { source: ROAMER, count }),
]

interface Status {
  readonly interfaces: readonly { readonly name: string; readonly packets: { readonly drop: number } }[]
  readonly lists: readonly { readonly name: string; readonly packets: number }[]
  readonly drift: boolean
}
const status = async (): Promise<Status> => JSON.parse(await lab.ok('status', '--json')) as Status

test('without a policy the source reaches the host over both interfaces', async () => {
  expect(await pings()).toEqual([PASSES, PASSES])
})

test('an entry drops its source on its interface only, and the counters say so', async () => {
  lab.write('xdp.yaml', config(BOTH, onOne('eth0')))
  expect(await lab.ok('plan')).toContain('any on eth0')
  const applied = JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))
  // Elsewhere in two families, inside and just outside of the entry, inside of it on eth0 and on eth1.
  expect(applied).toMatchObject({ verified: true, probes: { run: 6, passed: 6 } })
  expect(await pings()).toEqual([DROPPED, PASSES])
  const { interfaces, lists } = await status()
  expect(interfaces).toMatchObject([
    { name: 'eth0', packets: { drop: 2 } },
    { name: 'eth1', packets: { drop: 0 } },
  ])
  expect(lists).toMatchObject([{ name: 'roamers', packets: 2 }])
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
})

test('why names the interfaces, and judges on the one asked for', async () => {
  const { live, desired } = JSON.parse(await lab.ok('why', ROAMER, '--json'))
  const blocked = {
    verdict: 'drop',
    list: 'roamers',
    interfaces: ['eth0'],
    lists: [{ scope: 'any on eth0', matches: true }],
  }
  const passed = { verdict: 'pass', list: null, interfaces: ['eth1'], lists: [{ name: 'roamers', matches: false }] }
  expect(live).toMatchObject({ ...blocked, proven: true, elsewhere: [{ ...passed, proven: true }] })
  expect(desired).toMatchObject({ ...blocked, at: 'xdp.yaml:4', elsewhere: [passed] })
  const asked = JSON.parse(await lab.ok('why', ROAMER, '--interface', 'eth1', '--json'))
  expect(asked.live).toMatchObject({ ...passed, proven: true, elsewhere: [] })
  expect(asked.desired).toMatchObject({ ...passed, elsewhere: [] })
  expect(await lab.ok('why', ROAMER)).toMatch(/^live on eth1 +pass +default-pass +\(proven by a packet\)$/m)
  // Asking counts no packet.
  expect((await status()).lists).toMatchObject([{ packets: 2 }])
})

test('an edit moves the entry to the other interface', async () => {
  lab.write('xdp.yaml', config(BOTH, onOne('eth1')))
  const plan = JSON.parse(await lab.ok('plan', '--json'))
  expect(plan.changes).toMatchObject([{ key: 'list:roamers', op: 'update', impact: 'hitless' }])
  await lab.ok('apply', '--auto-approve')
  expect(await pings(1)).toEqual([1, DROPPED])
})

test('an entry of a missing interface waits for it, and finds it under another slot', async () => {
  lab.unplug('eth1')
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  lab.plug(ETH1)
  routes()
  await lab.ok('apply', '--auto-approve')
  expect(await pings(1)).toEqual([1, DROPPED])
  expect((await status()).drift).toBe(false)
})

test('lines of the kernel that name another interface are drift, which apply repairs', async () => {
  const generation = lab.pins().find((pin) => pin.endsWith('/policy')) as string
  const pin = `${lab.bpffs}/xdp-as-code/${generation}`
  const dump = execFileSync('bpftool', ['-j', 'map', 'dump', 'pinned', pin], { encoding: 'utf8', maxBuffer: 1 << 28 })
  const lines = JSON.parse(dump) as { key: string[]; value: string[] }[]
  const name = [...Buffer.from('eth1\0')].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`)
  const line = lines.find(({ value }) => value.slice(8, 13).join() === name.join())
  const bytes = (line?.value ?? []).map((byte) => Number(byte))
  // Set 0 becomes set 1, which no rule names.
  bytes[0] = 2
  const words = [...bytes].map(String)
  execFileSync('bpftool', ['map', 'update', 'pinned', pin, 'key', ...(line?.key ?? []), 'value', ...words])
  expect((await status()).drift).toBe(true)
  await lab.ok('apply', '--auto-approve')
  expect((await status()).drift).toBe(false)
  expect(await pings(1)).toEqual([1, DROPPED])
})

test('an unknown interface is refused with its place, and the kernel stays as it is', async () => {
  lab.write('xdp.yaml', config(BOTH, onOne('eth2')))
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(exitCode).toBe(78)
  expect(stderr).toContain('xdp.yaml:4:57: error[E056 unknown-interface]: the config has no interface "eth2"')
  expect(await pings(1)).toEqual([1, DROPPED])
})
