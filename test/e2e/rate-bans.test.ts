// Rate limits that ban, end to end: a daemon bans the source that exceeds a limit, and neither a protected one, nor one of the
// allowlist, nor one that somebody else has banned otherwise.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { inTurns } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

const HOST = '192.0.2.1'
const [PLAIN, PROTECTED, FRIEND, KNOWN, OBSERVED] = [
  '192.0.2.7',
  '192.0.2.8',
  '192.0.2.9',
  '192.0.2.10',
  '192.0.2.11',
] as const
const CONFIG = `version: 1
interfaces: { eth0: {} }
protect: [${PROTECTED}]
allowlist: [${FRIEND}]
rate_limits:
  - { name: pings, protocol: icmp, packets_per_second: 1, burst: 2, ban: { for: 10m, after: 1s } }
`

let lab: Lab
let watching: Watching | undefined
beforeAll(() => {
  const peerAddresses = [PLAIN, PROTECTED, FRIEND, KNOWN, OBSERVED].map((address) => `${address}/24`)
  lab = new Lab([{ name: 'eth0', addresses: [`${HOST}/24`], peerAddresses }])
})
afterAll(async () => {
  await watching?.end()
  lab.close()
})

/**
 * Pings from all of these sources at once, in rounds of 100, until it is stopped: on a busy machine the daemon looks more
 * rarely than one round takes. Resolves to the answers in the last round, in the order of the sources.
 */
function flood(sources: readonly string[]): { readonly stop: () => Promise<readonly number[]> } {
  let stopped = false
  const rounds = (async () => {
    for (;;) {
      const received = await Promise.all(sources.map((source) => lab.ping(HOST, { source, count: 100 })))
      // Without its namespace, after a failure, ping answers nothing.
      if (stopped || received.includes(-1)) return received
    }
  })()
  return {
    stop() {
      stopped = true
      return rounds
    },
  }
}

interface Listed {
  readonly prefix: string
  readonly by: string | null
  readonly reason: string | null
  readonly action: string
  readonly ttl_left: number
}
const bans = async (): Promise<readonly Listed[]> =>
  (JSON.parse(await lab.ok('bans', '--json')) as { bans: Listed[] }).bans

test('a source that goes on beyond the rate is banned while a daemon runs, and no source that must not be', async () => {
  lab.write('xdp.yaml', CONFIG)
  const { warnings } = JSON.parse(await lab.ok('plan', '--json')) as { warnings: { code: string }[] }
  expect(warnings.map(({ code }) => code)).toContain('W265')
  expect(await lab.ok('plan')).toContain('bans sources for 10 min after 1 s')
  // The unit of the boot comes before that of the daemon.
  expect((await lab.xdp('apply', '--boot', '--auto-approve', '--json')).stderr).not.toContain('W265')
  watching = await Watching.ready(lab)
  expect(await lab.ok('plan', '--detailed-exitcode')).not.toContain('W265')
  await lab.ok('ban', KNOWN, '--observe', '--by', 'alice')

  // As the limit did while it observed.
  await lab.ok('ban', OBSERVED, '--observe', '--by', 'rate-limit', '--reason', 'rate limit pings')

  const sources = [PLAIN, PROTECTED, FRIEND, KNOWN, OBSERVED]
  const pings = flood(sources)
  const banned = new Set<string>()
  while (banned.size < 2) {
    const { message } = await watching.hear('banned')
    const [, names = message] = /^rate limit pings: banned (.*) for 10 min$/.exec(message) ?? []
    for (const name of names.split(', ')) banned.add(name)
  }
  expect(banned).toEqual(new Set([PLAIN, OBSERVED]))
  const received = await pings.stop()
  expect(received[sources.indexOf(FRIEND)]).toBe(100)
  // The order of events within one look is that of their kinds.
  const refusal = watching.lines.find(({ warnings: some }) => some?.some(({ code }) => code === 'W266'))
  expect(refusal?.message).toContain(`did not ban ${PROTECTED}: `)

  const all = await bans()
  expect(all.map(({ prefix, by, reason, action }) => [prefix, by, reason, action])).toEqual([
    [`${PLAIN}/32`, 'rate-limit', 'rate limit pings', 'drop'],
    [`${KNOWN}/32`, 'alice', null, 'observe'],
    [`${OBSERVED}/32`, 'rate-limit', 'rate limit pings', 'drop'],
  ])
  expect(all[0]?.ttl_left).toBeGreaterThan(500)
  expect(await lab.ping(HOST, { source: PLAIN })).toBe(0)
  expect(await lab.ok('why', PLAIN, '--protocol', 'icmp')).toContain('by rate-limit')
  const { rate_limits } = JSON.parse(await lab.ok('stats', '--json')) as { rate_limits: { bans: number }[] }
  expect(rate_limits[0]?.bans).toBe(2)
  expect(await lab.ok('status')).toMatch(/^pings .* 2$/m)
  expect(await lab.ok('unban', '--by', 'rate-limit')).toContain('Lifted 2 bans')
  expect(await watching.end()).toBe(0)
  watching = undefined
})

inTurns('of two limits that report a source at once, the longer ban stands, and log and counters say so', async () => {
  const limit = (name: string, rate: number, time: string): string =>
    `  - { name: ${name}, protocol: icmp, packets_per_second: ${rate}, burst: 1, ban: { for: ${time}, after: 1s } }\n`
  const config = CONFIG.slice(0, CONFIG.indexOf('  - {'))
  lab.write('xdp.yaml', `${config}${limit('long', 4, '24h')}${limit('short', 1, '10m')}`)
  watching = await Watching.ready(lab)
  await lab.ok('unban', '--all')
  const sources = [PLAIN, KNOWN, OBSERVED]
  const pings = flood(sources)
  const banned = new Set<string>()
  while (banned.size < sources.length) {
    const { message } = await watching.hear('banned')
    const [, names = ''] = /^rate limit long: banned (.*) for 1 d$/.exec(message) ?? []
    for (const name of names.split(', ')) if (name !== '') banned.add(name)
  }
  await pings.stop()
  const all = await bans()
  expect(all.map(({ prefix, reason }) => [prefix, reason])).toEqual(
    sources.map((source) => [`${source}/32`, 'rate limit long']),
  )
  expect(Math.min(...all.map(({ ttl_left }) => ttl_left))).toBeGreaterThan(80_000)
  const { rate_limits } = JSON.parse(await lab.ok('stats', '--json')) as {
    rate_limits: { name: string; bans: number }[]
  }
  expect(rate_limits.map(({ name, bans: made }) => [name, made])).toEqual([
    ['long', sources.length],
    ['short', 0],
  ])
  expect(watching.count('banned')).toBe(
    watching.lines.filter(({ message }) => /limit long: banned/.test(message)).length,
  )
  expect(await watching.end()).toBe(0)
  watching = undefined
})
