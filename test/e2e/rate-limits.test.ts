// Rate limits end to end: packets between hosts, what is reported of them, and what an edit or a new program keeps.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { ETH0, Lab } from '../support/hosts.ts'

const HOST = '192.0.2.1'

const config = (limits: string, more = ''): string =>
  `version: 1\ninterfaces: { eth0: {} }\n${more}rate_limits:\n${limits}`
const PINGS = '  - { name: pings, protocol: icmp, packets_per_second: 1, burst: 5 }\n'

let lab: Lab
beforeAll(() => {
  lab = new Lab([ETH0])
})
afterAll(() => lab.close())

/** Twenty packets a second, of which one is the rate. */
const burst = (count: number): Promise<number> => lab.ping(HOST, { count })

/** Measures how many packets the rate of one a second has refilled. */
function watchRefill(): () => number {
  const begun = performance.now()
  return () => Math.ceil((performance.now() - begun) / 1000)
}

interface Limit {
  readonly name: string
  readonly packets: number
  readonly exceeding_packets: number
  readonly exceeding_bytes: number
}
const limits = async (command: 'status' | 'stats' = 'status'): Promise<readonly Limit[]> =>
  (JSON.parse(await lab.ok(command, '--json')) as { rate_limits: Limit[] }).rate_limits

test('drops packets beyond the burst, and every report says so', async () => {
  lab.write('xdp.yaml', config(PINGS))
  expect(await lab.ok('plan')).toContain('rate_limit pings')
  expect(JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))).toMatchObject({ verified: true })
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  const refilled = watchRefill()
  expect(await burst(5)).toBe(5)
  const received = await burst(20)
  expect(received).toBeLessThanOrEqual(Math.min(refilled(), 19))
  const [pings] = await limits()
  expect(pings).toMatchObject({ name: 'pings', per: 'source', action: 'drop', packets: 25 })
  expect(pings?.exceeding_packets).toBe(20 - received)
  expect(await limits('stats')).toEqual(await limits())
  expect(await lab.ok('status')).toMatch(new RegExp(`^pings +source +drop +25 +${20 - received} `, 'm'))
  const reasons = JSON.parse(await lab.ok('stats', '--json')).totals.reasons
  expect(reasons['rate-limit'].packets).toBe(pings?.exceeding_packets)
})

test('an edit of something else keeps what a source has used, and the counters', async () => {
  // Large enough that a slow apply does not refill it.
  const large = PINGS.replace('burst: 5', 'burst: 20')
  lab.write('xdp.yaml', config(large))
  await lab.ok('apply', '--auto-approve')
  const before = await limits()
  await burst(30)
  lab.write('xdp.yaml', config(large, 'blocklist: [203.0.113.0/24]\n'))
  await lab.ok('apply', '--auto-approve')
  expect(await burst(18)).toBeLessThan(18)
  const after = await limits()
  expect(after[0]?.packets).toBe((before[0]?.packets ?? 0) + 48)
})

test('an edited rate holds from the next packet; observe drops nothing', async () => {
  lab.write('xdp.yaml', config(PINGS.replace('burst: 5', 'burst: 5, action: observe')))
  expect(await lab.ok('plan')).toContain('observe')
  await lab.ok('apply', '--auto-approve')
  const refilled = watchRefill()
  expect(await burst(20)).toBe(20)
  // Counted since it observes: what it would have dropped.
  const [pings] = await limits()
  expect(pings?.packets).toBe(20)
  expect(pings?.exceeding_packets).toBeGreaterThanOrEqual(Math.max(1, 20 - 5 - refilled()))
  lab.write('xdp.yaml', config(PINGS))
  const { exceeding_packets: packets = 0, exceeding_bytes: bytes } = pings ?? {}
  expect(JSON.parse(await lab.ok('plan', '--json')).changes).toMatchObject([{ observed: { packets, bytes } }])
  expect(await lab.ok('plan')).toContain(`while it observed, it would have dropped ${packets} packets (`)
})

test('why names the limit, the line and what is left', async () => {
  lab.write('xdp.yaml', config(PINGS.replace('burst: 5', 'burst: 60')))
  await lab.ok('apply', '--auto-approve')
  await burst(40)
  const why = JSON.parse(await lab.ok('why', '192.0.2.2', '--protocol', 'icmp', '--json'))
  expect(why.live).toMatchObject({ verdict: 'pass', proven: true, rate_limits: [{ name: 'pings', at: 'xdp.yaml:4' }] })
  expect(why.live.rate_limits[0].used).toBeGreaterThan(0)
  expect(why.desired.rate_limits).toMatchObject([{ name: 'pings', action: 'drop', at: 'xdp.yaml:4', used: null }])
  expect(await lab.ok('why', '192.0.2.2', '--protocol', 'udp')).not.toContain('Rate limit')
  expect(await lab.ok('why', '192.0.2.2', '--protocol', 'icmp')).toMatch(
    /Rate limit pings counts such packets; \d+ % of/,
  )
})

test('more limits than the table has room for take a larger one, and the limits before keep what was used', async () => {
  const others = (count: number): string =>
    Array.from({ length: count }, (_, i) => `  - { name: other-${i}, protocol: udp, packets_per_second: 1000 }\n`).join(
      '',
    )
  lab.write('xdp.yaml', config(PINGS.replace('packets_per_second: 1, burst: 5', 'packets_per_second: 1, burst: 60')))
  await lab.ok('apply', '--auto-approve')
  await burst(80)
  lab.write(
    'xdp.yaml',
    config(`${PINGS.replace('packets_per_second: 1, burst: 5', 'packets_per_second: 1, burst: 60')}${others(2)}`),
  )
  expect(await lab.ok('plan', '--commands')).toContain('carry_rates')
  await lab.ok('apply', '--auto-approve')
  expect(await burst(30)).toBeLessThan(30)
})

test('a new limit begins with its whole burst, though it takes the place of one that is used up', async () => {
  const named = (name: string): string =>
    config(PINGS.replace('pings', name).replace('packets_per_second: 1, burst: 5', 'packets_per_second: 1, burst: 60'))
  lab.write('xdp.yaml', named('pings'))
  await lab.ok('apply', '--auto-approve')
  expect(await burst(80)).toBeLessThan(80)
  lab.write('xdp.yaml', named('others'))
  await lab.ok('apply', '--auto-approve')
  expect(await burst(50)).toBe(50)
  lab.write('xdp.yaml', named('pings'))
  await lab.ok('apply', '--auto-approve')
  expect(await burst(50)).toBe(50)
})

test('a limit that goes, and its counters with it', async () => {
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\n')
  expect(await lab.ok('plan')).toContain('- rate_limit pings')
  await lab.ok('apply', '--auto-approve')
  expect(await burst(20)).toBe(20)
  expect(await limits()).toEqual([])
})
