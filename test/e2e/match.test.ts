// Entries that ask for header fields, and entries that only observe, end to end: packets between hosts, and what is
// reported of them.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'

const HOST = '192.0.2.1'

const config = (entries: string, more = ''): string =>
  `version: 1\ninterfaces: { eth0: {} }\n${more}blocklist:\n${entries}`
const BIG =
  '  - { name: big, cidr: any, protocol: icmp, icmp_type: echo-request, length: "100-65535", destination: 192.0.2.0/24 }\n'

let lab: Lab
beforeAll(() => {
  lab = new Lab([ETH0])
})
afterAll(() => lab.close())

interface Listed {
  readonly name: string
  readonly packets: number
  readonly observed?: { readonly packets: number; readonly bytes: number }
}
const lists = async (command: 'status' | 'stats' = 'status'): Promise<readonly Listed[]> =>
  (JSON.parse(await lab.ok(command, '--json')) as { lists: Listed[] }).lists

test('drops echo requests by their length, verified by packets, and why distinguishes them', async () => {
  lab.write('xdp.yaml', config(BIG))
  expect(await lab.ok('plan')).toContain('icmp type echo-request length 100-65535 to 192.0.2.0/24')
  expect(JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))).toMatchObject({ verified: true })
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  // 56 bytes of data are a datagram of 84 bytes.
  expect(await lab.ping(HOST, { count: 3 })).toBe(3)
  const why = async (...flags: readonly string[]) =>
    JSON.parse(await lab.ok('why', '192.0.2.2', '--destination', HOST, '--protocol', 'icmp', ...flags, '--json')).live
  expect(await why('--length', '1000')).toMatchObject({ verdict: 'drop', list: 'big', proven: true })
  expect(await why('--length', '99')).toMatchObject({ verdict: 'pass', reason: 'default-pass', proven: true })
  expect(await why('--length', '1000', '--icmp-type', 'echo-reply')).toMatchObject({ verdict: 'pass', proven: true })
  expect(await why('--length', '1000', '--fragment', 'later')).toMatchObject({ verdict: 'pass', proven: true })
})

test('an entry that observes drops nothing, and every report says what it would drop', async () => {
  lab.write('xdp.yaml', config(BIG.replace('"100-65535"', '"50-65535", action: observe')))
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping(HOST, { count: 4 })).toBe(4)
  // A frame is 14 bytes longer than its datagram.
  expect(await lists()).toMatchObject([{ name: 'big', packets: 0, observed: { packets: 4, bytes: 4 * 98 } }])
  expect(await lists('stats')).toEqual(await lists())
  expect(await lab.ok('status')).toMatch(/^big +blocklist +2 +0 +0 B +4 /m)
  const { totals } = JSON.parse(await lab.ok('stats', '--json'))
  expect(totals.reasons.observed.packets).toBe(4)
  const flags = ['--destination', HOST, '--protocol', 'icmp', '--length', '84']
  const { live } = JSON.parse(await lab.ok('why', '192.0.2.2', ...flags, '--json'))
  expect(live).toMatchObject({ verdict: 'pass', reason: 'observed', list: 'big', observed: ['big'], proven: true })
  expect(await lab.ok('why', '192.0.2.2', ...flags)).toContain('List big only observes such packets')
})

test('the plan that makes it drop shows what it would have dropped, and begins at zero when it observes again', async () => {
  const dropping = BIG.replace('"100-65535"', '"50-65535"')
  lab.write('xdp.yaml', config(dropping))
  expect(await lab.ok('plan')).toContain('while it observed, it would have dropped 4 packets (392 B) from 1 source\n')
  const { changes } = JSON.parse(await lab.ok('plan', '--json'))
  expect(changes).toMatchObject([{ key: 'list:big', observed: { packets: 4, bytes: 392, sources: 1 } }])
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping(HOST, { count: 2 })).toBe(0)
  expect(await lists()).toMatchObject([{ name: 'big', packets: 2 }])
  expect((await lists())[0]?.observed).toBeUndefined()
  lab.write('xdp.yaml', config(dropping.replace('length:', 'action: observe, length:')))
  await lab.ok('apply', '--auto-approve')
  expect((await lists())[0]?.observed).toEqual({ packets: 0, bytes: 0 })
})

test('a rate limit counts only packets with its flags', async () => {
  const limit = '  - { name: pings, protocol: icmp, ttl: "0-10", destination: 192.0.2.1, packets_per_second: 1 }\n'
  lab.write('xdp.yaml', `version: 1\ninterfaces: { eth0: {} }\nrate_limits:\n${limit}`)
  expect(JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))).toMatchObject({ verified: true })
  expect(await lab.ping(HOST, { count: 4 })).toBe(4)
  const why = async (ttl: string) =>
    JSON.parse(
      await lab.ok('why', '192.0.2.2', '--destination', HOST, '--protocol', 'icmp', '--ttl', ttl, '--json'),
    ).live.rate_limits.map(({ name }: { readonly name: string }) => name)
  expect(await why('10')).toEqual(['pings'])
  expect(await why('11')).toEqual([])
})
