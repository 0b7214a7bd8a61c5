// examples/fail2ban and examples/crowdsec in use: a log line makes fail2ban ban with our action, and a packet is
// dropped; after the unban it passes. Calls the bouncer script like CrowdSec's custom bouncer.

import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, chmodSync, copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { inDepth } from '../support/depth.ts'
import { findFail2ban } from '../support/fail2ban.ts'
import { Lab } from '../support/hosts.ts'

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url))
const HOST = '192.0.2.1'
const PEER = '192.0.2.2'

let lab: Lab
let command: string
beforeEach(async () => {
  lab = new Lab()
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: { mode: generic } }\n')
  await lab.ok('apply', '--auto-approve')
  // The `xdp` that the examples call, in the namespace and with the bpffs of the lab.
  command = lab.write('xdp', `#!/bin/sh\nexec ${lab.argv().join(' ')} "$@"\n`)
  chmodSync(command, 0o755)
})
afterEach(() => lab.close())

const received = (): Promise<number> => lab.ping(HOST, { count: 1 })

test('fail2ban bans with the action, and lifts the ban', async (context) => {
  const fail2ban = findFail2ban()
  if (typeof fail2ban === 'string') return context.skip(fail2ban)
  const log = lab.write('auth.log', '')
  const action = join(lab.directory, 'action.d')
  mkdirSync(action)
  copyFileSync(join(EXAMPLES, 'fail2ban/xdp.conf'), join(action, 'xdp.conf'))
  lab.write('filter.d/guess.conf', '[Definition]\nfailregex = ^ guess from <HOST>$\n')
  const files = ['logtarget = STDERR', 'dbfile = None', 'allowipv6 = auto']
  lab.write(
    'fail2ban.conf',
    `[Definition]\nloglevel = INFO\nsocket = ${lab.directory}/f2b.sock\npidfile = ${lab.directory}/f2b.pid\n${files.join('\n')}\n`,
  )
  const jail = ['enabled = true', 'filter = guess', `logpath = ${log}`, 'backend = polling', 'maxretry = 1']
  lab.write(
    'jail.conf',
    `[guess]\n${jail.join('\n')}\nbantime = 600\nfindtime = 600\nusedns = no\nignoreself = false\naction = xdp[xdp="${command}"]\n`,
  )
  const where = ['-c', lab.directory, '-s', `${lab.directory}/f2b.sock`, '-p', `${lab.directory}/f2b.pid`]
  const env = { ...process.env, ...fail2ban.env }
  const [file, ...rest] = [...fail2ban.server, '-f', ...where, 'start']
  const server = spawn(file ?? '', rest, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [server.stdout, server.stderr]) {
    stream.on('data', (data) => {
      said += data
    })
  }
  const ended = new Promise((resolve) => server.on('close', resolve))
  try {
    await expect.poll(() => said).toContain("Jail 'guess' started")
    expect(await received()).toBe(1)
    const now = new Date()
    const stamp = new Date(now.getTime() - now.getTimezoneOffset() * 60_000)
      .toISOString()
      .slice(0, 19)
      .replace('T', ' ')
    appendFileSync(log, `${stamp} guess from ${PEER}\n`)
    await expect.poll(received).toBe(0)
    const { bans } = JSON.parse(await lab.ok('bans', '--json')) as { bans: { ttl_left: number }[] }
    expect(bans).toMatchObject([{ prefix: `${PEER}/32`, by: 'fail2ban', reason: 'jail guess' }])
    expect(bans[0]?.ttl_left).toBeGreaterThan(590)
    const [client, ...args] = [...fail2ban.client, ...where, 'set', 'guess', 'unbanip', PEER]
    execFileSync(client ?? '', args, { env, stdio: 'pipe' })
    await expect.poll(received).toBe(1)
    expect(said).not.toMatch(/ERROR/)
  } finally {
    server.kill('SIGTERM')
    await ended
  }
})

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
