// npm run bench fail2ban [-- --bans N --restored N]: how long real fail2ban takes with examples/fail2ban/xdp.py for a number
// of bans, and to restore bans after a restart; through the daemon and without it. Ends when the kernel has all of them.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { findFail2ban } from '../test/support/fail2ban.ts'
import { configureFail2ban, Fail2banServer } from '../test/support/fail2ban-server.ts'
import { makeHost, sh } from './support/host.ts'
import { conclude, table } from './support/report.ts'

const { values: options } = parseArgs({
  options: { bans: { type: 'string', default: '1000' }, restored: { type: 'string', default: '20000' } },
})
/** Addresses of one run of fail2ban-client. */
const PART = 1000
const POLL_MS = 100
const JAIL = 'guess'

const found = findFail2ban()
if (typeof found === 'string') throw new Error(found)
const fail2ban = found

const host = makeHost()
const file = host.write('xdp.yaml', `version: 1\ninterfaces: { ${host.device}: { mode: generic } }\n`)
const run = (...args: readonly string[]): string => {
  const [tool = '', ...words] = host.xdp(...args)
  return sh(tool, ...words)
}
run('apply', '--auto-approve', '-f', file)
const command = host.write('xdp', `#!/bin/sh\nexec ${host.xdp().slice(0, -2).join(' ')} "$@"\n`)
chmodSync(command, 0o755)
const place = { directory: host.directory, netns: host.netns, bpffs: host.bpffs, command }
configureFail2ban(place, 'xdp.py')

const addressOf = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
const banned = (): number => (JSON.parse(run('status', '--json')) as { bans: number }).bans

async function reaches(count: number): Promise<void> {
  while (banned() < count) await setTimeout(POLL_MS)
}

async function start(): Promise<Fail2banServer> {
  const server = new Fail2banServer(fail2ban, place)
  while (!server.said.includes(`Jail '${JAIL}' started`)) await setTimeout(POLL_MS)
  return server
}

function ban(server: Fail2banServer, first: number, count: number): void {
  for (let i = first; i < first + count; i += PART) {
    const part = Array.from({ length: Math.min(PART, first + count - i) }, (_, j) => addressOf(i + j))
    server.client('set', JAIL, 'banip', ...part)
  }
}

/** Seconds for the bans, and to restore them with more. */
async function measure(): Promise<{ readonly bans: number; readonly restored: number }> {
  const [few, many] = [Number(options.bans), Number(options.restored)]
  const first = await start()
  const began = performance.now()
  ban(first, 0, few)
  await reaches(few)
  const bans = (performance.now() - began) / 1000
  ban(first, few, many - few)
  await reaches(many)
  await first.end()
  const again = performance.now()
  const second = await start()
  await reaches(many)
  const restored = (performance.now() - again) / 1000
  second.client('unban', '--all')
  await second.end()
  return { bans, restored }
}

const alone = await measure()
const [tool = '', ...words] = host.xdp('watch', '-f', file)
const daemon = spawn(tool, words, { stdio: ['ignore', 'pipe', 'ignore'] })
let events = ''
daemon.stdout.on('data', (data) => {
  events += data
})
try {
  while (!events.includes('"ready"')) await setTimeout(POLL_MS)
  const watched = await measure()
  const rows = Object.entries({ 'without a daemon': alone, 'with a daemon': watched })
  console.log(
    table(
      ['seconds', `${options.bans} bans`, `${options.restored} restored`],
      rows.map(([name, { bans, restored }]) => [name, bans.toFixed(1), restored.toFixed(1)]),
    ),
  )
  conclude(
    'fail2ban',
    [
      { what: `seconds for ${options.bans} bans`, kind: 'target', limit: 60, measured: watched.bans },
      { what: `seconds to restore ${options.restored}`, kind: 'target', limit: 10, measured: watched.restored },
    ],
    { alone, watched },
  )
} finally {
  daemon.kill('SIGTERM')
  await once(daemon, 'close')
}
