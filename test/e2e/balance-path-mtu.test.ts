// A router of a smaller MTU between the balancer and a backend of a tunnel: its reports reach the balancer, which reports
// to clients what fits. Real transfers by TCP and UDP.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type BackendHost, BalanceLab, MIRROR, vipOf } from '../support/balance.ts'
import { sample } from '../support/depth.ts'

const FAMILIES = [4, 6] as const
type Family = (typeof FAMILIES)[number]
const MODES = ['ipip', 'gue'] as const
const CASES = MODES.flatMap((mode) => FAMILIES.map((family) => ({ mode, family })))
/** IPv6 requires 1280 behind the headers of its tunnel. */
const MTU = 1400
const vip = (mode: (typeof MODES)[number], family: Family): string => vipOf(10 + MODES.indexOf(mode), family)

/** An outer source that the router has a route to: an address of the balancer, and a prefix routed to it. */
const OUTER = 'outer_source: { v4: 10.0.1.1/32, v6: "2001:db8:8::/64" }'

let lab: BalanceLab
let far: ReturnType<BalanceLab['addBehind']>

beforeAll(async () => {
  lab = await BalanceLab.open(1)
  const router = lab.backends[0] as BackendHost
  far = lab.addBehind(router, MTU)
  lab.script(router.netns, 'ip -6 route add 2001:db8:8::/64 via 2001:db8:1::1')
  const vips = CASES.map(({ mode, family }) => vip(mode, family))
  lab.script(far.netns, ...vips.map((one) => `ip addr add ${one}/${one.includes(':') ? 128 : 32} dev lo`))
  lab.run(far.netns, 'eth0', 'unwrap')
  await lab.mirrorIn(far.netns, ...vips)
  await applyAll()
})
afterAll(() => lab.close())

/** @param more keys of the services, `own` of their only backend */
async function applyAll(more = '', own = ''): Promise<void> {
  const services = CASES.flatMap(({ mode, family }) =>
    (['tcp', 'udp'] as const).map(
      (protocol) =>
        `  ${mode}-${family}-${protocol}: { vip: "${vip(mode, family)}", port: ${MIRROR}, protocol: ${protocol}, ` +
        `forwarding: ${mode}, ${OUTER}, ${more}backends: [{ address: "${family === 4 ? far.v4 : far.v6}"${own} }] }\n`,
    ),
  )
  lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {}, eth1: {} }\nservices:\n${services.join('')}`)
  await lab.ok('apply', '--auto-approve')
}

/** Packets by reason, of all interfaces. */
async function packets(reason: string): Promise<number> {
  const { interfaces } = JSON.parse(await lab.ok('stats', '--json')) as {
    interfaces: readonly { readonly reasons: Readonly<Record<string, { readonly packets: number }>> }[]
  }
  return interfaces.reduce((sum, { reasons }) => sum + (reasons[reason]?.packets ?? 0), 0)
}

/** Forgets what the client's kernel learnt. */
const flush = (): string => lab.script(lab.peer, 'ip route flush cache', 'ip -6 route flush cache')

/** The MTU of the routes to the backend. */
async function routesWith(mtu: string): Promise<void> {
  lab.script(
    lab.host,
    `ip route replace 10.9.0.0/24 via ${lab.address(1)} ${mtu}`,
    `ip -6 route replace 2001:db8:9::/64 via ${lab.address(1, 1, 6)} ${mtu}`,
  )
  await lab.ok('apply', '--auto-approve')
  flush()
}

// First, while no path MTU is known.
test('the MTU of a route to the backend counts, and no router has to report it', async () => {
  await routesWith(`mtu ${MTU}`)
  for (const { mode, family } of sample(CASES, 2)) expect(await lab.upload(vip(mode, family), 400_000)).toBe(400_000)
  expect(await packets('path-mtu')).toBe(0)
  await routesWith('')
})

test.each([
  ['a service', `mtu: ${MTU}, `, ''],
  ['a backend, in place of a larger one of its service,', 'mtu: 9000, ', `, mtu: ${MTU}`],
])('the MTU of %s counts likewise', async (_, more, own) => {
  await applyAll(more, own)
  flush()
  for (const { mode, family } of sample(CASES, 2)) expect(await lab.upload(vip(mode, family), 400_000)).toBe(400_000)
  expect(await packets('path-mtu')).toBe(0)
  expect(await lab.ok('plan')).toContain('No changes.')
  await applyAll()
  flush()
})

describe.each(sample(CASES, 2))('$mode over IPv$family', ({ mode, family }) => {
  test('a large upload arrives', async () => {
    const before = await packets('path-mtu')
    expect(await lab.upload(vip(mode, family), 400_000)).toBe(400_000)
    expect(await packets('path-mtu')).toBeGreaterThan(before)
  })

  test('datagrams of 1,340 and 4,000 bytes arrive', async () => {
    flush()
    expect((await lab.large(vip(mode, family), 2, 1340)).answered).toBe(2)
    expect((await lab.large(vip(mode, family), 2, 4000)).answered).toBe(2)
  })
})
