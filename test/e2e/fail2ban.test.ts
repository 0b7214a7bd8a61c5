// examples/fail2ban and examples/crowdsec in use: a log line makes fail2ban ban with our action, and a packet is
// dropped; after the unban it passes. Calls the bouncer script like CrowdSec's custom bouncer.

import { execFileSync } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { inDepth, sample } from '../support/depth.ts'
import { findFail2ban } from '../support/fail2ban.ts'
import { type ActionFile, configureFail2ban, Fail2banServer, guess, type Place } from '../support/fail2ban-server.ts'
import { Lab } from '../support/hosts.ts'
import { Watching } from '../support/watching.ts'

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url))
const HOST = '192.0.2.1'
const PEER = '192.0.2.2'

let lab: Lab
let command: string
let watching: Watching | undefined
let server: Fail2banServer | undefined
beforeEach(async () => {
  lab = new Lab()
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: { mode: generic } }\n')
  await lab.ok('apply', '--auto-approve')
  // The `xdp` that the examples call, in the namespace and with the bpffs of the lab.
  command = lab.write('xdp', `#!/bin/sh\nexec ${lab.argv().join(' ')} "$@"\n`)
  chmodSync(command, 0o755)
})
afterEach(async () => {
  await server?.end()
  await watching?.end('SIGKILL')
  server = undefined
  watching = undefined
  lab.close()
})

const received = (): Promise<number> => lab.ping(HOST, { count: 1 })

interface Listed {
  readonly prefix: string
  readonly by: string | null
  readonly reason: string | null
  readonly ttl_left: number | null
}
const bans = async (): Promise<readonly Listed[]> =>
  (JSON.parse(await lab.ok('bans', '--json')) as { bans: Listed[] }).bans

const place = (): Place => ({ directory: lab.directory, netns: lab.host, bpffs: lab.bpffs, command })

const PATHS: readonly (readonly [ActionFile, 'without' | 'with'])[] = [
  ['xdp.conf', 'without'],
  ['xdp.py', 'without'],
  ['xdp.py', 'with'],
]

test.for(sample(PATHS, PATHS.length))(
  'fail2ban bans and lifts with %s, %s a daemon',
  async ([action, daemon], context) => {
    const fail2ban = findFail2ban()
    if (typeof fail2ban === 'string') return context.skip(fail2ban)
    if (daemon === 'with') watching = await Watching.ready(lab)
    const log = configureFail2ban(place(), action)
    const running = new Fail2banServer(fail2ban, place())
    server = running
    await expect.poll(() => running.said).toContain("Jail 'guess' started")
    expect(await received()).toBe(1)
    guess(log, PEER)
    await expect.poll(received).toBe(0)
    const [ban] = await bans()
    expect(ban).toMatchObject({ prefix: `${PEER}/32`, by: 'fail2ban', reason: 'jail guess' })
    expect(ban?.ttl_left).toBeGreaterThan(590)
    running.client('set', 'guess', 'unbanip', PEER)
    await expect.poll(received).toBe(1)
    // It lifts no ban of others.
    running.client('set', 'guess', 'banip', '10.0.0.1', '10.0.0.2')
    await expect.poll(async () => (await bans()).length).toBe(2)
    await lab.ok('ban', '10.0.0.1', '--by', 'operator')
    await lab.ok('ban', '10.0.0.3', '--by', 'fail2ban', '--reason', 'jail another')
    running.client('unban', '--all')
    await expect.poll(async () => (await bans()).map(({ prefix }) => prefix)).toEqual(['10.0.0.1/32', '10.0.0.3/32'])
    expect(running.said).not.toMatch(/ERROR/)
  },
)

test.for(sample(['without', 'with'] as const, 2))(
  'fail2ban restores its bans after a restart, %s a daemon',
  async (daemon, context) => {
    const fail2ban = findFail2ban()
    if (typeof fail2ban === 'string') return context.skip(fail2ban)
    if (daemon === 'with') watching = await Watching.ready(lab)
    configureFail2ban(place(), 'xdp.py')
    const addresses = Array.from({ length: 600 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)
    const prefixes = addresses.map((address) => `${address}/32`)
    const first = new Fail2banServer(fail2ban, place())
    server = first
    await expect.poll(() => first.said).toContain("Jail 'guess' started")
    first.client('set', 'guess', 'banip', ...addresses)
    const listed = async (): Promise<readonly string[]> => (await bans()).map(({ prefix }) => prefix)
    await expect.poll(listed).toEqual(prefixes)
    await first.end()
    // A stop lifts the bans of the jail.
    expect(await listed()).toEqual([])
    const second = new Fail2banServer(fail2ban, place())
    server = second
    await expect.poll(listed).toEqual(prefixes)
    expect((await bans()).every(({ ttl_left }) => ttl_left !== null && ttl_left <= 600)).toBe(true)
    expect(second.said).not.toMatch(/ERROR/)
  },
)

inDepth('the script for the CrowdSec bouncer adds and deletes bans', async () => {
  const bouncer = (...args: readonly string[]): string =>
    execFileSync(join(EXAMPLES, 'crowdsec/xdp-bouncer'), args, {
      env: { ...process.env, XDP: command },
      encoding: 'utf8',
      stdio: 'pipe',
    })
  bouncer('add', PEER, '3600', 'crowdsecurity/ssh-bf "quoted" $(id)', '{"id": 1}')
  expect(await received()).toBe(0)
  const { bans } = JSON.parse(await lab.ok('bans', '--json')) as { bans: { ttl_left: number }[] }
  expect(bans).toMatchObject([{ prefix: `${PEER}/32`, by: 'crowdsec', reason: 'crowdsecurity/ssh-bf quoted id' }])
  bouncer('del', PEER, '3600', 'crowdsecurity/ssh-bf', '{"id": 1}')
  expect(await received()).toBe(1)
  expect(() => bouncer('add', 'FR', '3600', 'a country', '{}')).toThrow()
})
