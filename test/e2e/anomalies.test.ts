// Anomalies end to end: packets between hosts, the guard of live connections, and what is reported.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'

const HOST = '192.0.2.1'

let lab: Lab
beforeAll(() => {
  lab = new Lab([ETH0])
})
afterAll(() => lab.close())

interface Anomaly {
  readonly name: string
  readonly packets: number
  readonly dropped_packets: number
}
const anomalies = async (command: 'status' | 'stats'): Promise<readonly Anomaly[]> =>
  (JSON.parse(await lab.ok(command, '--json')) as { anomalies: Anomaly[] }).anomalies

const config = (...entries: readonly string[]): string =>
  `version: 1\ninterfaces: { eth0: {} }\nanomalies:\n${entries.map((entry) => `  - ${entry}\n`).join('')}`

test('observed ones go on and are counted, and the plan shows the names', async () => {
  // Addresses of the lab are for documentation, and so bogons.
  lab.write('xdp.yaml', config('tcp_null', '{ name: bogons, interfaces: [eth0], action: observe }', 'ip_options'))
  expect(await lab.ok('plan')).toContain('anomalies: bogons observe on eth0, tcp_null, ip_options')
  expect(JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))).toMatchObject({ verified: true })
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  expect(await lab.ping(HOST, { count: 5 })).toBe(5)
  const rows = await anomalies('status')
  expect(rows).toMatchObject([
    { name: 'bogons', action: 'observe', interfaces: ['eth0'], packets: 5, dropped_packets: 0 },
    { name: 'tcp_null', action: 'drop', interfaces: [], packets: 0 },
    { name: 'ip_options', packets: 0 },
  ])
  expect(await anomalies('stats')).toEqual(rows)
  expect(await lab.ok('why', '192.0.2.2')).toContain('Such packets have the anomaly bogons, which is only counted.')
})

test('those that drop do, keep their counters, and why proves it', async () => {
  lab.write('xdp.yaml', config('bogons'))
  expect(await lab.ok('plan')).toContain('anomalies: bogons observe on eth0, tcp_null, ip_options -> bogons')
  expect(await lab.ok('plan')).toContain('while bogons was only observed, it would have dropped 5 packets (490 B)\n')
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping(HOST, { count: 3 })).toBe(0)
  expect(await anomalies('stats')).toMatchObject([{ name: 'bogons', packets: 8, dropped_packets: 3 }])
  const why = JSON.parse(await lab.ok('why', '192.0.2.2', '--json'))
  expect(why.live).toMatchObject({ verdict: 'drop', reason: 'anomaly', proven: true })
  expect(why.live.anomalies).toEqual([{ name: 'bogons', action: 'drop' }])
  expect(await lab.ok('status')).toMatch(/^bogons +drop +every one +8 /m)
  expect(JSON.parse(await lab.ok('stats', '--json')).totals.reasons.anomaly.packets).toBe(3)
  expect(await lab.ok('stats', '--format', 'prometheus')).toContain(
    'xdp_anomaly_dropped_packets_total{anomaly="bogons"} 3',
  )
})

test('a policy without any counts none', async () => {
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\n')
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping(HOST, { count: 2 })).toBe(2)
  expect(await anomalies('status')).toEqual([])
})
