// Plans and verdicts without the kernel: as a user without rights, where bpftool, ip and the bpffs cannot be reached.

import { chmodSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EXIT } from '../../src/diagnostics.ts'
import { capture, ETH0, Lab, type Output } from '../support/hosts.ts'
import { check } from '../support/schemas.ts'

let lab: Lab

const OLD =
  'version: 1\ninterfaces: { eth0: {} }\nblocklist:\n  - 198.51.100.42\n  - { name: bad, cidrs: [203.0.113.0/25] }\n'
const NEW = OLD.replace('203.0.113.0/25', '203.0.113.0/24')

beforeAll(() => {
  lab = new Lab([ETH0])
  chmodSync(lab.directory, 0o755)
  lab.write('old.yaml', OLD)
  lab.write('new.yaml', NEW)
})
afterAll(() => lab.close())

/** Runs `xdp …` as user 65534, in a mount namespace in which every tool of the kernel refuses to run. */
function unprivileged(...args: readonly string[]): Promise<Output> {
  const hide = ['/usr/sbin/bpftool', '/usr/bin/ip', '/usr/bin/flock'].map((tool) => `mount --bind /dev/null ${tool}`)
  const body = [
    ...hide,
    'mount -t tmpfs none /sys/fs/bpf',
    'exec setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH=/nonexistent "$@"',
  ].join(' && ')
  const command = [process.execPath, lab.cli, ...args]
  return capture('unshare', ['--mount', 'sh', '-c', body, 'sh', ...command], { cwd: lab.directory, env: process.env })
}

const codeOf = ({ stdout }: Output): string =>
  (check('error', stdout) as { errors: { code: string }[] }).errors[0]?.code ?? ''

test('a state that a host exports has the same plan elsewhere, without rights, tools and kernel', async () => {
  await lab.ok('apply', '-f', 'old.yaml', '--auto-approve')
  await lab.ok('status', '--state', 'state.json')
  const state = join(lab.directory, 'state.json')
  expect(statSync(state).mode & 0o777).toBe(0o600)
  check('state', readFileSync(state, 'utf8'))
  expect(JSON.parse(await lab.ok('status', '--state', '-'))).toMatchObject({
    kind: 'xdp-state',
    live: { generation: 1 },
  })
  chmodSync(state, 0o644)

  const here = JSON.parse(await lab.ok('plan', '-f', 'new.yaml', '--json'))
  const offline = await unprivileged('plan', '-f', 'new.yaml', '--against', 'state.json', '--json', '--detailed-exitcode')
  expect(offline).toMatchObject({ exitCode: EXIT.changesPending, stderr: '' })
  const there = check('plan', offline.stdout) as { against: { unknown: { what: string }[] } }
  expect(there).toMatchObject({ changes: here.changes, summary: here.summary, drift: [] })
  expect(there.against).toMatchObject({ kind: 'state', path: 'state.json', generation: 1 })
  expect(there.against.unknown.map(({ what }) => what)).toEqual(
    expect.arrayContaining(['since', 'connections', 'counters', 'capabilities', 'addresses']),
  )

  const same = await unprivileged('plan', '-f', 'old.yaml', '--against', 'state.json', '--detailed-exitcode')
  expect(same).toMatchObject({ exitCode: 0, stderr: '' })
  expect(same.stdout).toMatch(/Made without the kernel, against state\.json[\s\S]*No changes\. The state of/)

  // Guards of the host hold for its state too.
  lab.write('other.yaml', NEW.replace('eth0', 'eth7'))
  const refused = await unprivileged('plan', '-f', 'other.yaml', '--against', 'state.json', '--json')
  expect([refused.exitCode, codeOf(refused)]).toEqual([EXIT.unavailable, 'E103'])
  const needsKernel = await unprivileged('plan', '-f', 'new.yaml', '--against', 'state.json', '--out', 'p.json', '--json')
  expect([needsKernel.exitCode, codeOf(needsKernel)]).toEqual([EXIT.usage, 'E300'])
  const other = await unprivileged('plan', '-f', 'new.yaml', '--against', 'missing.json', '--json')
  expect([other.exitCode, codeOf(other)]).toEqual([EXIT.noInput, 'E001'])
})

test('a plan from one config to another names both, and holds the limits of the second', async () => {
  const { exitCode, stdout, stderr } = await unprivileged('plan', '-f', 'new.yaml', '--against', 'old.yaml')
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(stdout).toMatch(
    /~ blocklist bad[\s\S]*against the config old\.yaml[\s\S]*0 to create, 1 to update, 0 to delete/,
  )
  const json = await unprivileged('plan', '-f', 'old.yaml', '--against', 'old.yaml', '--json', '--detailed-exitcode')
  expect(json.exitCode).toBe(0)
  expect(check('plan', json.stdout)).toMatchObject({ changes: [], against: { kind: 'config', path: 'old.yaml' } })
  lab.write('wide.yaml', `${OLD.replace('203.0.113.0/25', '203.0.0.0/8')}limits: { widest: { v4: 16, v6: 32 } }\n`)
  const refused = await unprivileged('plan', '-f', 'wide.yaml', '--against', 'old.yaml', '--json')
  expect([refused.exitCode, codeOf(refused)]).toEqual([EXIT.refused, 'E247'])
})

test('why answers by the file alone where nothing live can be read', async () => {
  const { exitCode, stdout, stderr } = await unprivileged('why', '203.0.113.200', '-f', 'new.yaml')
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(stdout).toMatch(/new\.yaml +drop +blocklist bad: 203\.0\.113\.0\/24 +# new\.yaml:5/)
  expect(stdout).toMatch(/live: not read: E104 [\s\S]*By the file alone/)
  const json = await unprivileged('why', '203.0.113.200', '-f', 'old.yaml', '--json')
  expect(check('why', json.stdout)).toMatchObject({
    live: null,
    desired: { verdict: 'pass' },
    offline: { unread: expect.stringContaining('E104') },
  })
  // Without a file that the user names, the question is about the kernel.
  const plain = await unprivileged('why', '203.0.113.200', '--json')
  expect([plain.exitCode, codeOf(plain)]).toEqual([EXIT.notPermitted, 'E104'])
  const alone = JSON.parse(await lab.ok('why', '203.0.113.200', '-f', 'new.yaml', '--offline', '--json'))
  expect(alone).toMatchObject({ live: null, desired: { verdict: 'drop' }, offline: { unread: null } })
  const wrong = await unprivileged('why', '203.0.113.200', '-f', 'new.yaml', '--offline', '--interface', 'eth1', '--json')
  expect([wrong.exitCode, codeOf(wrong)]).toEqual([EXIT.usage, 'E282'])
})
