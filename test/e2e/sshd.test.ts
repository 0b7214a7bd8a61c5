// A user who is logged in over SSH, with OpenSSH's server: the session is found from inside and from outside of it, also
// where sudo has removed its variables and behind tmux, and ends only where --force-cut allows it.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { EXIT } from '../../src/diagnostics.ts'
import { sample } from '../support/depth.ts'
import { ETH0, Lab } from '../support/hosts.ts'
import { findSsh, type Login, SshServer } from '../support/sshd.ts'
import { whyNoTmux } from '../support/tmux.ts'

const HOST = { 4: '192.0.2.1', 6: '2001:db8::1' } as const
const LAN = { 4: '192.0.2.0/24', 6: '2001:db8::/64' } as const
const PEERS = { 4: '192.0.2.2/31', 6: '2001:db8::2/127' } as const

const ssh = findSsh()
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
    server = await SshServer.start(ssh, lab, { port: 2200, name: 'gatekeeper' })
    const login = await server.logIn(HOST[4])
    config('policy: { default: drop, established: judge }', 'allowlist: [203.0.113.1]')
    expect(JSON.parse(await lab.ok('plan', '--json')).cuts.cut).toMatchObject([
      { kind: 'connection', local_port: 2200, process: 'gatekeeper', guarded: null },
    ])
    const refused = /E226.* → :2200 gatekeeper by policy\.default drop/s
    const apply = line('apply', '--auto-approve')
    // sudo leaves out the variables of the session.
    const scrubbed = await login.run(`env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c '${apply}'`)
    expect([scrubbed.exitCode, scrubbed.output]).toEqual([EXIT.refused, expect.stringMatching(refused)])
    const tmux = `tmux -L xdp-ssh-${process.pid} -f /dev/null`
    await login.run(`${tmux} new-session -d '${apply} > out 2>&1; echo $? > status; ${tmux} wait-for -S done'`)
    const { output } = await login.run(`${tmux} wait-for done; cd ${lab.directory}; cat status out`)
    expect(output).toMatch(/^4\n/)
    expect(output).toMatch(refused)
    expect(await isAlive(login)).toBe(true)
  },
)
