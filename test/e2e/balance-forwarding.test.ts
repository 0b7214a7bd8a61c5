// Real connections through every forwarding mode, in both families, with their counters and explanations.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { FORWARDING_MODES, FORWARDINGS, type Forwarding } from '../../src/features/forwarding/forwarding.ts'
import { BalanceLab, vipOf } from '../support/balance.ts'
import { usually } from '../support/depth.ts'

/** Every forwarding mode, and NAT of both ends; each has its VIPs. */
type Mode = Forwarding | 'full-nat'
const NAMES: readonly Mode[] = [...FORWARDINGS, 'full-nat']
const FAMILIES = [4, 6] as const
const CASES = NAMES.flatMap((mode) => FAMILIES.map((family) => ({ mode, family })))
const vip = (mode: Mode, family: 4 | 6): string => vipOf(10 + NAMES.indexOf(mode), family)

/** Opens TCP connections to each service, dozens at a time. */
const BURST = usually(300, { thoroughly: 3000 })

let lab: BalanceLab

const modeOf = (mode: Mode): Forwarding => (mode === 'full-nat' ? 'nat' : mode)

/** Keys of a service. */
function keysOf(mode: Mode, family: 4 | 6): string {
  const pool = family === 4 ? '203.0.113.20' : '"2001:db8:e::20"'
  return `forwarding: ${modeOf(mode)}${mode === 'full-nat' ? `, snat: true, snat_pool: [${pool}]` : ''}`
}

/** TCP and UDP services on one VIP. */
function services(mode: Mode, family: 4 | 6): string {
  const backends = [1, 2, 3].map((n) => `"${lab.address(n, 1, family)}"`).join(', ')
  const service = (protocol: string, port: number): string =>
    `  ${mode}-${family}-${protocol}: { vip: "${vip(mode, family)}", port: ${port}, protocol: ${protocol}, ` +
    `${keysOf(mode, family)}, backends: [${backends}] }\n`
  return service('tcp', 80) + service('udp', 7)
}

beforeAll(async () => {
  lab = await BalanceLab.open()
  const direct = CASES.filter(({ mode }) => !FORWARDING_MODES[modeOf(mode)].translatesReplies).map(({ mode, family }) =>
    vip(mode, family),
  )
  lab.holdVips(...direct)
  for (const { netns } of lab.backends) lab.run(netns, 'eth0', 'unwrap')
  await lab.echo(...direct)
  const body = CASES.map(({ mode, family }) => services(mode, family)).join('')
  lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {}, eth1: {}, eth2: {}, eth3: {} }\nservices:\n${body}`)
  await lab.ok('apply', '--auto-approve')
})
afterAll(() => lab.close())

test('a plan after the apply has no changes', async () => {
  expect(await lab.ok('plan')).toContain('No changes.')
})

test.each(CASES)('$mode: a client of IPv$family reaches every backend by TCP and UDP', async ({ mode, family }) => {
  const bodies = Array.from({ length: 8 }, () => lab.fetch(vip(mode, family)))
  expect(new Set(bodies).size, bodies.join()).toBeGreaterThan(1)
  const answers = await lab.flows(vip(mode, family), 200)
  expect(answers).toEqual({ b1: expect.any(Number), b2: expect.any(Number), b3: expect.any(Number) })
})

test.each(CASES)('$mode: under load over IPv$family every connection has its answer', async ({ mode, family }) => {
  const heard = await lab.burst(vip(mode, family), BURST)
  expect(Object.keys(heard).sort()).toEqual(['b1', 'b2', 'b3'])
  expect(Object.values(heard).reduce((sum, count) => sum + count, 0)).toBe(BURST)
  // A third for each, within five standard deviations.
  for (const count of Object.values(heard))
    expect(Math.abs(count - BURST / 3)).toBeLessThan(5 * Math.sqrt(BURST * (2 / 9)))
})

test('status counts the packets and flows of each service and each backend', async () => {
  const { services: found } = JSON.parse(await lab.ok('status', '--json'))
  expect(found).toHaveLength(CASES.length * 2)
  for (const service of found) {
    expect(service).toMatchObject({ mode: 'well', empty: 0, unresolved: 0, exhausted: 0, too_big: 0 })
    // The client's kernel may use a port twice while the UDP flow is still in the flow table.
    const opened = 8 + BURST
    expect(service.flows, service.name).toBeGreaterThanOrEqual(service.protocol === 'tcp' ? opened : 190)
    // A retransmitted SYN starts its flow again.
    expect(service.flows, service.name).toBeLessThanOrEqual(service.protocol === 'tcp' ? opened * 1.1 : 200)
    expect(service.hits + service.misses).toBe(service.packets)
    const sum = (key: string): number =>
      service.backends.reduce((all: number, one: Record<string, number>) => all + (one[key] ?? 0), 0)
    for (const key of ['flows', 'packets', 'bytes']) expect(sum(key), `${service.name} ${key}`).toBe(service[key])
    if (FORWARDING_MODES[service.forwarding as Forwarding].translatesReplies) expect(service.replies).toBeGreaterThan(0)
  }
})

test('stats shows the fill of the flow table and the source pools', async () => {
  const { tables, services: found } = JSON.parse(await lab.ok('stats', '--json'))
  const fill = Object.fromEntries(
    tables.map(({ name, used, capacity }: { name: string; used: number; capacity: number }) => [
      name,
      [used, capacity],
    ]),
  )
  const flows = found.reduce((sum: number, { flows }: { flows: number }) => sum + flows, 0)
  expect(fill['flows'][0]).toBeGreaterThan(flows / 2)
  expect(fill['flows'][0]).toBeLessThanOrEqual(flows)
  expect(fill['pools']).toEqual([2, 64])
  expect(fill['source_ports'][0]).toBeGreaterThan(190)
  expect(fill['source_ports'][1]).toBe(2 * 2 * 64512)
})

test.each(CASES.filter((_, i) => i % 3 === 0))(
  'why names equal backends in the kernel and by the file for $mode over IPv$family',
  async ({ mode, family }) => {
    const source = family === 4 ? '192.0.2.2' : '2001:db8::2'
    const words = ['--protocol', 'tcp', '--destination', vip(mode, family), '--destination-port', '80', '--json']
    const { live, desired } = JSON.parse(await lab.ok('why', source, ...words))
    expect(live).toMatchObject({
      verdict: 'redirect',
      reason: 'balanced-away',
      service: `${mode}-${family}-tcp`,
      proven: true,
    })
    expect(live.backend).toBe(desired.backend)
    expect(live.at).toMatch(/^xdp\.yaml:\d+$/)
  },
)
