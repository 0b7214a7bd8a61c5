// Going back from an unconfirmed apply with services: connections that began before it and during it continue.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ABI_VERSION, HEALTH_STATE_LINE } from '../../src/abi/generated.ts'
import { BalanceLab, vipOf } from '../support/balance.ts'

const VIP = vipOf(10)
let lab: BalanceLab

const config = (backends: readonly string[], list: string): string => `version: 1
interfaces: { eth0: {}, eth1: {}, eth2: {}, eth3: {} }
blocklist: ${list}
services:
  web: { vip: ${VIP}, port: 80, protocol: tcp, forwarding: nat, backends: [${backends.join(', ')}] }
`

beforeAll(async () => {
  lab = await BalanceLab.open()
})
afterAll(() => lab.close())

test('no connection to a backend of both policies ends, and the health map belongs to the previous one again', async () => {
  const backends = [1, 2].map((n) => lab.address(n))
  lab.write('xdp.yaml', config(backends, '[]'))
  await lab.ok('apply', '--auto-approve')
  const load = await lab.load(VIP, 20)
  const { generation } = JSON.parse(await lab.ok('status', '--json'))

  lab.write('xdp.yaml', config([...backends, lab.address(3)], '[203.0.113.0/24]'))
  await lab.ok('apply', '--auto-approve', '--confirm', '1h')
  const during = await lab.load(VIP, 20)
  await lab.ok('confirm', '--cancel')

  const status = JSON.parse(await lab.ok('status', '--json'))
  expect(status).toMatchObject({ generation, drift: false, leftovers: [], pending_confirmation: null })
  // A daemon of the previous generation may write health again: the kernel refuses generations older than this one.
  const map = join(lab.bpffs, 'xdp-as-code/default', `shared-${ABI_VERSION}`, 'health')
  const key = [HEALTH_STATE_LINE & 255, HEALTH_STATE_LINE >> 8, 0, 0].map(String)
  const { value } = JSON.parse(lab.in(lab.host, 'bpftool', '-j', 'map', 'lookup', 'pinned', map, 'key', ...key))
  expect(Number(value[0])).toBe(generation)

  const before = (await load.stop()).connections
  expect(before.filter(({ error }) => error !== undefined)).toEqual([])
  expect(before.length).toBeGreaterThan(0)
  // The new backend is gone with its policy; connections to the others continue.
  const lost = (await during.stop()).connections.filter(({ error }) => error !== undefined)
  expect(lost.filter(({ backend }) => backend !== 'b3')).toEqual([])
})
