// The control plane of services: next hops and their drift, leaving backends, counters across edits, roles, and refused
// plans.

import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { inDepth, inTurns } from '../support/depth.ts'
import { ETH0, ETH1, EVERY_PIN, Lab } from '../support/hosts.ts'

let lab: Lab

beforeAll(() => {
  lab = new Lab([ETH0, ETH1])
})
afterAll(() => lab.close())
afterEach(async () => void (await lab.ok('destroy', '--auto-approve')))

const config = (services: string, rest = ''): string =>
  `version: 1\ninterfaces: { eth0: {}, eth1: {} }\n${rest}services:\n${services}`

const web = (backends: string, options = 'forwarding: dsr'): string =>
  `  web: { vip: 203.0.113.10, port: 443, protocol: tcp, ${options}, backends: [${backends}] }\n`

async function apply(text: string): Promise<void> {
  lab.write('xdp.yaml', text)
  await lab.ok('apply', '--auto-approve')
}

const status = async () => JSON.parse(await lab.ok('status', '--json'))
const plan = async () => JSON.parse(await lab.ok('plan', '--json'))
const why = async (...words: readonly string[]) =>
  JSON.parse(await lab.ok('why', '192.0.2.2', '--protocol', 'tcp', '--destination', '203.0.113.10', '--json', ...words))

inTurns('services are created and removed with all of their objects', async () => {
  await apply(config(web('192.0.2.2, 192.0.2.3')))
  expect(lab.pins()).toHaveLength(EVERY_PIN)
  const { services } = await status()
  expect(services).toMatchObject([
    {
      ...{ name: 'web', vip: '203.0.113.10', port: 443, protocol: 'tcp', forwarding: 'dsr', mode: 'well', packets: 0 },
      backends: [
        { address: '192.0.2.2', state: 'active', health: 'up', next_hop: { interface: 'eth0', vlan: 0, mtu: 1500 } },
        { address: '192.0.2.3', state: 'active', health: 'up', next_hop: { interface: 'eth0' } },
      ],
    },
  ])
  const before = await why('--destination-port', '443')
  expect(before.live).toMatchObject({ service: 'web', proven: true })
  expect((await why('--destination-port', '444')).live).toMatchObject({ verdict: 'pass', service: null })
  await apply(config('  {}\n'))
  expect((await status()).services).toEqual([])
  expect((await why('--destination-port', '443')).live).toMatchObject({ verdict: 'pass', service: null, proven: true })
  await lab.ok('destroy', '--auto-approve')
  expect(lab.pins()).toEqual([])
})

inTurns('an unresolved backend gets no traffic, and a later apply resolves it', async () => {
  await apply(config(web('192.0.2.2, 192.0.2.9')))
  const { warnings } = await plan()
  expect(warnings).toMatchObject([{ code: 'W211', message: expect.stringContaining('192.0.2.9') }])
  const flows = await Promise.all(
    [1, 2, 3, 4].map((port) => why('--destination-port', '443', '--source-port', `${port}`)),
  )
  expect(new Set(flows.map(({ live }) => live.backend))).toEqual(new Set(['192.0.2.2']))
  lab.in(lab.peer, 'ip', 'addr', 'add', '192.0.2.9/24', 'dev', lab.peerEnd('eth0'))
  await expect
    .poll(async () => (await plan()).drift)
    .toMatchObject([{ key: 'service:web', what: expect.stringContaining('next hop is known now') }])
  const found = await plan()
  expect(found.changes).toMatchObject([{ key: 'service:web', impact: 'hitless', reason: 'drift' }])
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ok('plan')).toContain('No changes.')
  lab.in(lab.peer, 'ip', 'addr', 'del', '192.0.2.9/24', 'dev', lab.peerEnd('eth0'))
})

inDepth('a changed MAC address of a backend is drift, which status shows and apply repairs', async () => {
  await apply(config(web('198.51.100.2')))
  const neighbour = (mac: string): string =>
    lab.in(lab.host, 'ip', 'neigh', 'replace', '198.51.100.2', 'lladdr', mac, 'dev', 'eth1', 'nud', 'permanent')
  const { services } = await status()
  const before = services[0].backends[0].next_hop.mac
  neighbour('02:00:00:00:00:77')
  expect((await status()).drifted).toMatchObject([
    { key: 'service:web', what: expect.stringContaining(`${before} on eth1 -> 02:00:00:00:00:77`) },
  ])
  await lab.ok('apply', '--auto-approve')
  expect((await status()).services[0].backends[0].next_hop.mac).toBe('02:00:00:00:00:77')
  // A stale neighbour entry is as good as a fresh one.
  lab.in(
    lab.host,
    'ip',
    'neigh',
    'replace',
    '198.51.100.2',
    'lladdr',
    '02:00:00:00:00:77',
    'dev',
    'eth1',
    'nud',
    'stale',
  )
  expect(await lab.ok('plan')).toContain('No changes.')
  neighbour(before)
})

inDepth(
  'a removed backend keeps its flows for a time, and later applies keep the deadline of a draining one',
  async () => {
    await apply(config(web('192.0.2.2, 192.0.2.3, 198.51.100.2')))
    const drained = '192.0.2.2, { address: 192.0.2.3, state: drain }'
    await apply(config(web(drained, 'forwarding: dsr, drain_timeout: 10m')))
    const [{ backends }] = (await status()).services
    expect(backends).toMatchObject([
      { address: '192.0.2.2', role: 'backend', drained_in: null },
      { address: '192.0.2.3', role: 'backend', state: 'drain' },
      { address: '198.51.100.2', role: 'leaving' },
    ])
    for (const { drained_in: left } of backends.slice(1)) {
      expect(left).toBeGreaterThan(500)
      expect(left).toBeLessThanOrEqual(600)
    }
    expect(await lab.ok('plan')).toContain('No changes.')
    await apply(config(web(`${drained}, { address: 198.51.100.2, weight: 2 }`, 'forwarding: dsr, drain_timeout: 10m')))
    const [later] = (await status()).services
    expect(later.backends.map(({ role }: { role: string }) => role)).toEqual(['backend', 'backend', 'backend'])
    expect(later.backends[1].drained_in).toBeLessThanOrEqual(backends[1].drained_in)
  },
)

inDepth('counters outlive edits, larger maps and another build; a new owner of a slot starts at zero', async () => {
  await apply(config(web('192.0.2.2, 192.0.2.3')))
  // No server answers these connections: the test only counts that the balancer forwards them.
  const route = ['route', 'replace', '203.0.113.0/24', 'via', '192.0.2.1']
  lab.in(lab.peer, 'ip', ...route)
  const knock = (): string =>
    lab.in(lab.peer, 'sh', '-c', 'for i in 1 2 3 4 5 6; do curl -s -m 0.05 http://203.0.113.10:443/ || true; done')
  knock()
  const counted = async (): Promise<[number, number, number[]]> => {
    const [service] = (await status()).services.filter(({ name }: { name: string }) => name === 'web')
    return [service.packets, service.flows, service.backends.map(({ packets }: { packets: number }) => packets)]
  }
  const before = await counted()
  expect(before[1]).toBeGreaterThanOrEqual(6)
  const many = Array.from(
    { length: 70 },
    (_, i) =>
      `  s${i}: { vip: 203.0.113.20, port: ${1000 + i}, protocol: udp, forwarding: dsr, backends: [192.0.2.2, 192.0.2.3] }\n`,
  ).join('')
  await apply(config(many + web('192.0.2.2, 192.0.2.3, 198.51.100.2')))
  const [packets, flows, [first, second, third]] = await counted()
  expect([packets, flows, [first, second]]).toEqual(before)
  expect(third).toBe(0)
  await apply(config(web('192.0.2.2, 192.0.2.3')))
  expect((await counted())[2].slice(0, 2)).toEqual(before[2])
  await apply(
    config(`  other: { vip: 203.0.113.10, port: 443, protocol: tcp, forwarding: dsr, backends: [192.0.2.2] }\n`),
  )
  expect((await status()).services).toMatchObject([{ name: 'other', packets: 0, flows: 0, backends: [{ packets: 0 }] }])
})

inTurns('lists apply before services, and roles select the parts per interface', async () => {
  const blocklist = 'blocklist: [192.0.2.2]\n'
  await apply(config(web('198.51.100.2'), blocklist))
  expect((await why('--destination-port', '443')).live).toMatchObject({
    verdict: 'drop',
    reason: 'blocklist',
    service: null,
  })
  await apply(config(web('198.51.100.2'), `allowlist: [192.0.2.0/24]\n${blocklist}`))
  expect((await why('--destination-port', '443')).live).toMatchObject({ service: 'web', proven: true })
  const limited = config(web('198.51.100.2')).replace(
    'eth0: {}, eth1: {}',
    'eth0: { roles: [filter] }, eth1: { roles: [balance] }',
  )
  lab.write('xdp.yaml', limited)
  const { changes } = await plan()
  expect(changes.filter(({ kind }: { kind: string }) => kind === 'interface')).toMatchObject([
    { key: 'interface:eth0', op: 'update', impact: 'hitless', after: { roles: ['filter'] } },
    { key: 'interface:eth1', op: 'update', impact: 'hitless', after: { roles: ['balance'] } },
  ])
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ok('plan')).toContain('No changes.')
  lab.in(lab.peer, 'sh', '-c', 'curl -s -m 0.05 http://203.0.113.10:443/ || true')
  expect((await status()).services[0].packets, 'eth0 does not balance any more').toBe(0)
})

inDepth('on_empty decides without backends', async () => {
  await apply(config(web('')))
  expect((await why('--destination-port', '443')).live).toMatchObject({
    verdict: 'drop',
    reason: 'no-backend',
    proven: true,
  })
  await apply(config(web('{ address: 192.0.2.2, weight: 0 }', 'forwarding: dsr, on_empty: pass')))
  expect((await why('--destination-port', '443')).live).toMatchObject({
    verdict: 'pass',
    reason: 'no-backend-pass',
    proven: true,
  })
  await apply(config(web('192.0.2.2')))
  expect((await why('--destination-port', '443')).live).toMatchObject({
    verdict: 'redirect',
    backend: '192.0.2.2',
    proven: true,
  })
})

inTurns('refuses this host as a backend, and the VIP of an SSH session', async () => {
  lab.write('xdp.yaml', config(web('192.0.2.1, 192.0.2.2')))
  const own = await lab.xdp('apply', '--auto-approve')
  expect(own.exitCode).toBe(4)
  expect(own.stderr).toContain('E212')
  lab.write('xdp.yaml', config(web('192.0.2.2').replace('203.0.113.10, port: 443', '192.0.2.1, port: any')))
  const [file, ...rest] = lab.argv('apply', '--auto-approve')
  const login = ['env', 'SSH_CONNECTION=192.0.2.2 50000 192.0.2.1 2222', file as string, ...rest]
  expect(() =>
    lab.in(lab.host, 'sh', '-c', `cd ${lab.directory} && ${login.map((word) => `'${word}'`).join(' ')}`),
  ).toThrow('E211')
  expect((await status()).generation).toBe(0)
})
