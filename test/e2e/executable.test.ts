// The executable of `npm run package`, without a Node beside it, and the content of its Debian package. test/packages
// installs that.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Built, built } from '../support/executable.ts'
import { Lab } from '../support/hosts.ts'

let lab: Lab
let made: Built | string = 'not made'

beforeAll(async () => {
  lab = new Lab()
  made = await built()
})
afterAll(() => lab.close())

/** Runs the executable in the namespace of the host, with no program in PATH. */
const xdp = ({ executable }: Built, ...args: readonly string[]) =>
  execa('/usr/bin/nsenter', [`--net=/run/netns/${lab.host}`, executable, '--bpffs', lab.bpffs, ...args], {
    env: { PATH: '/nonexistent', CACHE_DIRECTORY: lab.cache, STATE_DIRECTORY: lab.state },
    extendEnv: false,
    reject: false,
  })

test('applies, confirms by its guardian, bans, lists bans, and destroys, from one file', async (context) => {
  if (typeof made === 'string') return context.skip(made)
  const file = lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [203.0.113.0/24]\n')
  const version = JSON.parse((await xdp(made, '--version', '--json')).stdout)
  expect(version).toMatchObject({ node: { own: true }, build: expect.stringMatching(/^[0-9a-f]{16}$/) })
  const applied = await xdp(made, 'apply', '--auto-approve', '--confirm', '2m', '-f', file)
  expect(applied.stderr).toBe('')
  expect(await xdp(made, 'confirm')).toMatchObject({ exitCode: 0 })
  expect((await xdp(made, 'plan', '-f', file)).stdout).toContain('No changes.')
  await xdp(made, 'ban', '198.51.100.7', '--ttl', '1h')
  expect((await xdp(made, 'bans')).stdout).toContain('198.51.100.7')
  const status = JSON.parse((await xdp(made, 'status', '--json')).stdout)
  expect(status.program.digest).toBe(version.program.digest)
  expect(await xdp(made, 'destroy', '--auto-approve')).toMatchObject({ exitCode: 0 })
})

test('prints its schemas, and ignores NODE_OPTIONS', async (context) => {
  if (typeof made === 'string') return context.skip(made)
  const { stdout } = await execa(made.executable, ['schema', 'plan'], { env: { NODE_OPTIONS: '--no-such-flag' } })
  expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync('dist/schemas/plan.schema.json', 'utf8')))
})

test('is the process of health checks, with the channel of its daemon', async (context) => {
  if (typeof made === 'string') return context.skip(made)
  const child = spawn(made.executable, ['__checker'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced',
  })
  const [answer] = await once(child, 'message')
  expect(answer).toEqual({ id: 0, result: { outcome: 'good' } })
  child.disconnect()
  expect(await once(child, 'exit')).toEqual([0, null])
})

test('the package has the command, units, pages, completions and one conffile, all owned by root', async (context) => {
  if (typeof made === 'string') return context.skip(made)
  const { stdout } = await execa('dpkg-deb', ['--contents', made.deb])
  const files = stdout.split('\n').map((line) => line.split(/\s+/) as [string, string, ...string[]])
  expect(new Set(files.map(([, owner]) => owner))).toEqual(new Set(['root/root']))
  const modes = new Map(files.map((words) => [words[5], words[0]]))
  for (const path of [
    'etc/xdp/xdp.yaml',
    'usr/lib/systemd/system/xdp.service',
    'usr/lib/systemd/system/xdp-watch.service',
    'usr/share/man/man8/xdp.8.gz',
    'usr/share/man/man5/xdp.yaml.5.gz',
    'usr/share/bash-completion/completions/xdp',
    'usr/share/zsh/vendor-completions/_xdp',
    'usr/share/fish/vendor_completions.d/xdp.fish',
    'usr/share/xdp-as-code/xdp.schema.json',
    'usr/share/doc/xdp-as-code/copyright',
    'usr/share/doc/xdp-as-code/examples/xdp.yaml.example',
    'usr/share/doc/xdp-as-code/docs/install.md',
  ]) {
    expect(modes.get(`./${path}`), path).toBe('-rw-r--r--')
  }
  expect(modes.get('./usr/bin/xdp')).toBe('-rwxr-xr-x')
  const field = async (name: string) => (await execa('dpkg-deb', ['--field', (made as Built).deb, name])).stdout
  expect(await field('Depends')).toMatch(/\bbpftool\b.*\biproute2\b/)
  const control = join(lab.directory, 'control')
  await execa('dpkg-deb', ['--control', made.deb, control])
  expect(readFileSync(join(control, 'conffiles'), 'utf8')).toBe('/etc/xdp/xdp.yaml\n')
})
