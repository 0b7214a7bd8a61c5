// A user who is logged in over SSH, with OpenSSH's server: the session is found from inside and from outside of it, also
// where sudo has removed its variables and behind tmux, and ends only where --force-cut allows it.

import { execFileSync, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EXIT } from '../../src/diagnostics.ts'
import { unpacked } from '../support/debian.ts'
import { inTurns, sample } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'
import { findSsh, type Login, librariesIn, SshServer } from '../support/sshd.ts'
import { whyNoTmux } from '../support/tmux.ts'

const HOST = { 4: '192.0.2.1', 6: '2001:db8::1' } as const
const LAN = { 4: '192.0.2.0/24', 6: '2001:db8::/64' } as const
const PEERS = { 4: '192.0.2.2/31', 6: '2001:db8::2/127' } as const

const ssh = findSsh()
const sudo = unpacked('sudo')
const sudoRoots = 'root' in sudo ? [sudo.root] : []
/** The real one where Debian has it; else its effect on the variables of the session. */
const SUDO = sudoRoots.length > 0 ? 'sudo -n' : 'env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin'
let lab: Lab
let server: SshServer | undefined

beforeEach(() => {
  lab = new Lab([ETH0])
})
afterEach(() => {
  server?.close()
  server = undefined
  lab.close()
})

const config = (...lines: readonly string[]): string =>
  lab.write('xdp.yaml', ['version: 1', 'interfaces: { eth0: { mode: generic } }', ...lines, ''].join('\n'))

/** `xdp …` as a line for the session's shell, which is in the host's namespace already. */
const line = (...args: readonly string[]): string =>
  ['cd', lab.directory, '&&', ...lab.argv(...args).slice(2)].join(' ')

const isAlive = async ({ run }: Login): Promise<boolean> => (await run('echo here')).output === 'here'

test.skipIf(typeof ssh === 'string').each(sample([4, 6] as const, 2))(
  `a session over IPv%d is not cut by its own user, nor by others${typeof ssh === 'string' ? `: ${ssh}` : ''}`,
  async (family) => {
    if (typeof ssh === 'string') return
    server = await SshServer.start(ssh, lab)
    const login = await server.logIn(HOST[family])
    config(`blocklist: ["${LAN[family]}"]`)

    const within = await login.run(line('apply', '--auto-approve'))
    expect([within.exitCode, within.output]).toEqual([EXIT.refused, expect.stringMatching(/E226.* → :22 sshd by/s)])
    const outside = await lab.xdp('apply', '--auto-approve')
    expect([outside.exitCode, outside.stderr]).toEqual([EXIT.refused, expect.stringMatching(/E226.* → :22 sshd by/s)])
    expect(lab.pins()).toEqual([])

    config('blocklist: []')
    await lab.ok('apply', '--auto-approve')
    expect((await login.run(line('ban', LAN[family], '--allow-cut', HOST[family]))).output).toContain('E226')
    expect((await lab.xdp('ban', PEERS[family])).stderr).toContain('E226')
    expect(await isAlive(login)).toBe(true)

    config(`blocklist: ["${LAN[family]}"]`)
    await lab.ok('apply', '--auto-approve', '--force-cut')
    expect(await login.ended).toBe(255)
  },
)

const reason = typeof ssh === 'string' ? ssh : whyNoTmux()
test.skipIf(reason !== undefined)(
  `a session of a server with another name and port is found by its own commands, behind sudo and tmux too${reason === undefined ? '' : `: ${reason}`}`,
  async () => {
    if (typeof ssh === 'string') return
    server = await SshServer.start(ssh, lab, { port: 2200, name: 'gatekeeper' }, sudoRoots)
    const login = await server.logIn(HOST[4])
    config('policy: { default: drop, established: judge }', 'allowlist: [203.0.113.1]')
    expect(JSON.parse(await lab.ok('plan', '--json')).cuts.cut).toMatchObject([
      { kind: 'connection', local_port: 2200, process: 'gatekeeper', guarded: null },
    ])
    const refused = /E226.* → :2200 gatekeeper by policy\.default drop/s
    const apply = line('apply', '--auto-approve')
    const scrubbed = await login.run(`${SUDO} sh -c '${apply}'`)
    expect([scrubbed.exitCode, scrubbed.output]).toEqual([EXIT.refused, expect.stringMatching(refused)])
    const tmux = `tmux -L xdp-ssh-${process.pid} -f /dev/null`
    await login.run(`${tmux} new-session -d '${apply} > out 2>&1; echo $? > status; ${tmux} wait-for -S done'`)
    const { output } = await login.run(`${tmux} wait-for done; cd ${lab.directory}; cat status out`)
    expect(output).toMatch(/^4\n/)
    expect(output).toMatch(refused)
    expect(await isAlive(login)).toBe(true)
  },
)

inTurns('the user of mosh is found by the UDP socket of its server', async ({ skip }) => {
  const mosh = unpacked('mosh')
  if (typeof ssh === 'string') return skip(ssh)
  if (!('root' in mosh)) return skip(mosh.reason)
  server = await SshServer.start(ssh, lab, undefined, [mosh.root])
  const login = await server.logIn(HOST[4])
  config(`blocklist: [${LAN[4]}]`)
  const answer = join(lab.directory, 'answer')
  execFileSync('mkfifo', [answer])
  const script = lab.write('run.sh', `{ ${line('apply', '--auto-approve')}; } > ${answer} 2>&1\n`)
  const { output } = await login.run(`LC_ALL=C.UTF-8 mosh-server new -s -c 8 -p 60001 -- sh ${script}`)
  const [, port, key] = /^MOSH CONNECT (\d+) (\S+)$/m.exec(output) ?? []
  // The server runs the script once its client has come, which needs a terminal.
  const client = `stty rows 24 cols 80; exec ${mosh.root}/usr/bin/mosh-client ${HOST[4]} ${port}`
  const child = spawn('nsenter', [`--net=/run/netns/${lab.peer}`, 'script', '-qfec', client, '/dev/null'], {
    env: { ...process.env, MOSH_KEY: key, LC_ALL: 'C.UTF-8', TERM: 'xterm', LD_LIBRARY_PATH: librariesIn(mosh.root) },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  try {
    expect(await readFile(answer, 'utf8')).toMatch(/E226.*192\.0\.2\.2:\d+ → :60001 mosh-server by blocklist/)
  } finally {
    child.kill('SIGKILL')
  }
})

const PATIENCE = { interval: 100 }
const pendingNow = async () => JSON.parse(await lab.ok('status', '--json')).pending_confirmation
const resultsNow = async (): Promise<string[]> =>
  JSON.parse(await lab.ok('history', '--json')).entries.map(({ result }: { readonly result: string }) => result)

test.skipIf(typeof ssh === 'string')(
  `with --confirm-on ssh another login of the same user confirms, neither the session that was there nor another host${typeof ssh === 'string' ? `: ${ssh}` : ''}`,
  async () => {
    if (typeof ssh === 'string') return
    server = await SshServer.start(ssh, lab, { port: 2200, name: 'sshd' }, sudoRoots)
    const login = await server.logIn(HOST[4])
    const confirmed = (time: string): string =>
      line('apply', '--auto-approve', '--confirm', time, '--confirm-on', 'ssh')
    config('blocklist: []')
    await lab.ok('apply', '--auto-approve')

    config('blocklist: [203.0.113.1]')
    expect((await login.run(`${SUDO} env`)).output).not.toContain('SSH_CONNECTION')
    const applied = await login.run(`${SUDO} sh -c '${confirmed('1h')}'`)
    expect(applied.output).toMatch(/xdp confirm, or a new SSH connection from 192\.0\.2\.2 to port 2200\n?$/)
    expect(await pendingNow()).toMatchObject({ guarded: true, confirm_on: { addresses: ['192.0.2.2'], ports: [2200] } })
    expect(await isAlive(await server.logIn(HOST[4], '192.0.2.3'))).toBe(true)
    expect(await lab.ok('status')).toContain('A new SSH connection from 192.0.2.2 to port 2200 confirms')
    expect(await pendingNow()).toMatchObject({ guarded: true })
    expect(await isAlive(await server.logIn(HOST[4]))).toBe(true)
    await expect.poll(pendingNow, PATIENCE).toBe(null)
    await expect.poll(resultsNow, PATIENCE).toEqual(['confirmed', 'applied'])

    config('blocklist: [203.0.113.2]')
    expect((await login.run(confirmed('2s'))).exitCode).toBe(0)
    await expect.poll(async () => (await resultsNow())[0], PATIENCE).toBe('reverted')
    expect(await isAlive(login)).toBe(true)
  },
)

test('--confirm-on is refused without a session, a time, or a known word', async () => {
  config('blocklist: []')
  const alone = ['unshare', '--pid', '--fork', '--mount-proc', 'env', '-u', 'SSH_CONNECTION', '-u', 'SSH_CLIENT']
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [['--confirm', '1m', '--confirm-on', 'ssh'], /E260.*this command runs in no SSH session/],
    [['--confirm', 'off', '--confirm-on', 'ssh'], /E300.*--confirm off waits for no confirmation/],
    [['--confirm', '1m', '--confirm-on', 'mosh'], /E300.*--confirm-on "mosh" is unknown/],
  ]
  for (const [flags, message] of refusals) {
    const { exitCode, stderr } = await lab.xdpWithin(alone, 'apply', '--auto-approve', ...flags)
    expect([exitCode, stderr]).toEqual([EXIT.usage, expect.stringMatching(message)])
  }
  const local = [...alone.slice(0, 4), 'env', 'SSH_CONNECTION=192.0.2.1 5000 192.0.2.1 22']
  const refused = await lab.xdpWithin(local, 'apply', '--auto-approve', '--confirm', '1m', '--confirm-on', 'ssh')
  expect(refused.stderr).toMatch(/E260.*comes from this host itself \(192\.0\.2\.1\)/)
  const client = [...alone.slice(0, 4), 'env', 'SSH_CONNECTION=192.0.2.2 5000 192.0.2.1 22']
  const timeless = await lab.xdpWithin(client, 'apply', '--auto-approve', '--confirm-on', 'ssh')
  expect([timeless.exitCode, timeless.stderr]).toEqual([
    EXIT.usage,
    expect.stringMatching(/E300.*neither --confirm nor/),
  ])
  expect(lab.pins()).toEqual([])
})
