// Datagrams larger than the MTU, in fragments, from real clients to real backends and back, through every forwarding
// mode in both families.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { FORWARDING_MODES, FORWARDINGS, type Forwarding } from '../../src/features/forwarding/forwarding.ts'
import { BalanceLab, MIRROR, vipOf } from '../support/balance.ts'

/** Every forwarding mode, and NAT of both ends; each has its VIPs. */
type Mode = Forwarding | 'full-nat'
const NAMES: readonly Mode[] = [...FORWARDINGS, 'full-nat']
const FAMILIES = [4, 6] as const
const CASES = NAMES.flatMap((mode) => FAMILIES.map((family) => ({ mode, family })))
const vip = (mode: Mode, family: 4 | 6): string => vipOf(10 + NAMES.indexOf(mode), family)
const modeOf = (mode: Mode): Forwarding => (mode === 'full-nat' ? 'nat' : mode)
const COUNT = 6
const SIZE = 4000

let lab: BalanceLab

function lineOf(mode: Mode, family: 4 | 6): string {
  const pool = family === 4 ? '203.0.113.20' : '"2001:db8:e::20"'
  const snat = mode === 'full-nat' ? `, snat: true, snat_pool: [${pool}]` : ''
  const backends = [1, 2].map((n) => `"${lab.address(n, 1, family)}"`).join(', ')
  return (
    `  ${mode}-${family}: { vip: "${vip(mode, family)}", port: ${MIRROR}, protocol: udp, ` +
    `forwarding: ${modeOf(mode)}${snat}, backends: [${backends}] }\n`
  )
}

interface Status {
  readonly services: readonly Readonly<Record<string, number>>[]
  readonly interfaces: readonly { readonly name: string; readonly reasons?: Readonly<Record<string, unknown>> }[]
}

beforeAll(async () => {
  lab = await BalanceLab.open(2)
  const direct = CASES.filter(({ mode }) => !FORWARDING_MODES[modeOf(mode)].translatesReplies).map(({ mode, family }) =>
    vip(mode, family),
  )
  lab.holdVips(...direct)
  for (const { netns } of lab.backends) lab.run(netns, 'eth0', 'unwrap')
  await lab.mirror(...direct)
  const body = CASES.map(({ mode, family }) => lineOf(mode, family)).join('')
  lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {}, eth1: {}, eth2: {} }\nservices:\n${body}`)
  await lab.ok('apply', '--auto-approve')
})
afterAll(() => lab.close())

test.each(CASES)(
  `$mode, IPv$family: datagrams of ${SIZE} bytes arrive whole, and their answers`,
  async ({ mode, family }) => {
    const { answered, sent } = await lab.large(vip(mode, family), COUNT, SIZE)
    expect(answered).toBe(COUNT)
    const { services } = JSON.parse(await lab.ok('status', '--json')) as Status
    const service = services.find(({ name }) => (name as unknown) === `${mode}-${family}`)
    // Tunnels report what fits: the client fragments by that from then on.
    const isTunnel = FORWARDING_MODES[modeOf(mode)].overhead[family] > 0
    if (isTunnel) expect(service?.['too_big']).toBeGreaterThan(0)
    else expect(service?.['too_big']).toBe(0)
    // Three fragments each.
    expect(service?.['packets']).toBeGreaterThanOrEqual(3 * COUNT)
    expect(service?.['packets']).toBeLessThanOrEqual(3 * sent)
  },
)

test('stats shows the fragmented datagrams that are remembered', async () => {
  expect((await lab.large(vip('nat', 4), 1, SIZE)).answered).toBe(1)
  const { tables } = JSON.parse(await lab.ok('stats', '--json')) as {
    tables: readonly { readonly name: string; readonly used: number; readonly capacity: number }[]
  }
  const row = tables.find(({ name }) => name === 'fragments')
  expect(row?.used).toBeGreaterThan(0)
  expect(row?.capacity).toBe(131_072)
})
