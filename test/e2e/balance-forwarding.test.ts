// Real connections through every way to forward, of both families, and the counters and explanations that go with them.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BalanceLab, VIP4, VIP6 } from '../support/balance.ts'

let lab: BalanceLab

const backends = (family: 4 | 6): string => [1, 2, 3].map((n) => `"${lab.address(n, 1, family)}"`).join(', ')

/** Services of TCP and UDP on a VIP. */
const services = (name: string, vip: string, family: 4 | 6, options: string): string =>
  ['tcp', 'udp']
    .map(
      (protocol) =>
        `  ${name}-${protocol}: { vip: "${vip}", port: ${protocol === 'tcp' ? 80 : 7}, protocol: ${protocol}, ${options}, backends: [${backends(family)}] }\n`,
    )
    .join('')

const config = (body: string): string => `version: 1
interfaces:
  eth0: {}
  eth1: {}
  eth2: {}
  eth3: {}
services:
${body}`

async function apply(body: string): Promise<void> {
  lab.write('xdp.yaml', config(body))
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ok('plan')).toContain('No changes.')
}

/** Every backend answers some of the flows, and every flow is answered. */
async function expectService(vip: string): Promise<void> {
  const bodies = Array.from({ length: 12 }, () => lab.fetch(vip))
  expect(new Set(bodies).size, bodies.join()).toBeGreaterThan(1)
  const answers = await lab.flows(vip, 300)
  expect(answers).toEqual({ b1: expect.any(Number), b2: expect.any(Number), b3: expect.any(Number) })
}

describe.each(['nat', 'full NAT', 'dsr', 'ipip', 'gue'] as const)('%s', (mode) => {
  const isNat = mode === 'nat' || mode === 'full NAT'
  const pool = (family: 4 | 6): string => (family === 4 ? '203.0.113.20' : '"2001:db8:e::20"')
  const options = (family: 4 | 6): string =>
    mode === 'full NAT' ? `forwarding: nat, snat: true, snat_pool: [${pool(family)}]` : `forwarding: ${mode}`

  beforeAll(async () => {
    lab = await BalanceLab.open()
    if (!isNat) lab.holdVips()
    if (mode === 'ipip' || mode === 'gue') for (const { netns } of lab.backends) lab.run(netns, 'eth0', 'unwrap')
    await lab.echo(isNat ? 'addresses' : 'vips')
    await apply(services('v4', VIP4, 4, options(4)) + services('v6', VIP6, 6, options(6)))
  })
  afterAll(() => lab.close())

  test.each([VIP4, VIP6])('a client of %s reaches every backend by TCP and UDP', async (vip) => {
    await expectService(vip)
  })

  test('counters tell of it, and why names the backend of a flow', async () => {
    const status = JSON.parse(await lab.ok('status', '--json'))
    for (const service of status.services) {
      expect(service).toMatchObject({ mode: 'well', empty: 0, unresolved: 0, exhausted: 0 })
      expect(service.flows).toBeGreaterThan(10)
      const sum = (key: string): number =>
        service.backends.reduce((all: number, one: Record<string, number>) => all + (one[key] ?? 0), 0)
      expect(sum('flows')).toBe(service.flows)
      expect(sum('packets')).toBe(service.packets)
      expect(sum('bytes')).toBe(service.bytes)
    }
    const why = JSON.parse(
      await lab.ok(
        'why',
        '192.0.2.2',
        '--protocol',
        'tcp',
        '--destination',
        VIP4,
        '--destination-port',
        '80',
        '--json',
      ),
    )
    expect(why.live).toMatchObject({ verdict: 'redirect', reason: 'balanced-away', service: 'v4-tcp', proven: true })
    expect(why.live.backend).toBe(why.desired.backend)
    expect(why.live.at).toMatch(/^xdp\.yaml:\d+$/)
  })
})
