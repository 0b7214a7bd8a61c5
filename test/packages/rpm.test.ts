// The RPM, judged by rpm of Debian: its description, dependencies, files and scripts; installed into a root, upgraded with an
// edited config, and removed.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unpacked } from '../support/debian.ts'
import { built } from '../support/executable.ts'

interface Tools {
  /** Runs one of the programs of rpm, and returns its output. Throws if it fails. */
  readonly run: (tool: 'rpm' | 'rpmkeys' | 'rpmdb', ...args: readonly string[]) => string
  readonly old: string
  readonly recent: string
}

let tools: Tools | string = 'not made'
let root = ''

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'xdp-rpm-test-'))
  const found = unpacked('rpm')
  if ('reason' in found) {
    tools = found.reason
    return
  }
  const packages = [await built({ version: '0.0.9' }), await built()]
  const [old, recent] = packages
  if (typeof old === 'string' || typeof recent === 'string') {
    tools = String(packages.find((one) => typeof one === 'string'))
    return
  }
  const inside = (path: string) => join(found.root, path)
  // A package that this host has already is not among the unpacked ones.
  const bin = (tool: string) => (existsSync(inside(`usr/bin/${tool}`)) ? inside(`usr/bin/${tool}`) : `/usr/bin/${tool}`)
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: execFileSync('sh', ['-c', `echo ${inside('usr/lib')}/*-linux-gnu*`], { encoding: 'utf8' }).trim(),
    ...(existsSync(inside('usr/lib/rpm')) && { RPM_CONFIGDIR: inside('usr/lib/rpm') }),
  }
  tools = {
    old: old?.rpm ?? '',
    recent: recent?.rpm ?? '',
    run: (tool, ...args) => execFileSync(bin(tool), args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] }),
  }
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

test('its digests are right, and it describes and requires what it should', (context) => {
  if (typeof tools === 'string') return context.skip(tools)
  const { run, recent } = tools
  expect(run('rpmkeys', '--checksig', '--nosignature', recent)).toMatch(/digests OK/)
  const arch = process.arch === 'x64' ? 'x86_64' : 'aarch64'
  expect(recent).toMatch(new RegExp(`/xdp-as-code-0\\.1\\.0\\.${arch}\\.rpm$`))
  expect(run('rpm', '-qp', '--qf', '%{NAME} %{VERSION}-%{RELEASE} %{ARCH} %{OS}', recent)).toBe(
    `xdp-as-code 0.1.0-1 ${arch} linux`,
  )
  expect(run('rpm', '-qpi', recent)).toMatch(/^License +: Apache-2\.0/m)
  const requires = run('rpm', '-qp', '--requires', recent).trim().split('\n')
  expect(requires).toEqual(
    expect.arrayContaining(['bpftool', 'iproute', 'util-linux', '/bin/sh', 'libc.so.6(GLIBC_2.28)(64bit)']),
  )
})

test('it has the files of the package with their modes, and one config that an upgrade keeps', (context) => {
  if (typeof tools === 'string') return context.skip(tools)
  const { run, recent } = tools
  const files = run('rpm', '-qplv', recent)
  for (const path of [
    '-rwxr-xr-x    1 root     root +\\d+ .* /usr/bin/xdp',
    '-rw-r--r-- .* /usr/lib/systemd/system/xdp\\.service',
    '-rw-r--r-- .* /usr/lib/systemd/system/xdp-watch\\.service',
    '-rw-r--r-- .* /usr/share/man/man8/xdp\\.8\\.gz',
    '-rw-r--r-- .* /usr/share/man/man5/xdp\\.yaml\\.5\\.gz',
    '-rw-r--r-- .* /usr/share/bash-completion/completions/xdp',
    '-rw-r--r-- .* /usr/share/zsh/site-functions/_xdp',
    '-rw-r--r-- .* /usr/share/fish/vendor_completions\\.d/xdp\\.fish',
    '-rw-r--r-- .* /usr/share/licenses/xdp-as-code/LICENSE',
    'drwxr-xr-x .* /etc/xdp',
  ])
    expect(files).toMatch(new RegExp(`^${path}$`, 'm'))
  const flags = run('rpm', '-qp', '--qf', '[%{FILENAMES} %{FILEFLAGS:fflags}\\n]', recent)
  expect(flags).toMatch(/^\/etc\/xdp\/xdp\.yaml cn$/m)
  expect(flags.match(/ c/g)).toHaveLength(1)
})

test('its scripts are shell', (context) => {
  if (typeof tools === 'string') return context.skip(tools)
  const { run, recent } = tools
  for (const name of ['POSTIN', 'PREUN', 'POSTUN']) {
    const script = run('rpm', '-qp', '--qf', `%{${name}}`, recent)
    expect(script).toContain('systemctl')
    execFileSync('sh', ['-n'], { input: script })
  }
})

test('installed into a root it runs; an upgrade keeps an edited config, and a removal leaves nothing else', (context) => {
  if (typeof tools === 'string') return context.skip(tools)
  const { run, old, recent } = tools
  // The root has no packages, and no shell for the scripts.
  const rpm = (...args: readonly string[]) => run('rpm', '--root', root, ...args)
  const change = (...args: readonly string[]) => rpm('--nodeps', '--noscripts', '--force-debian', ...args)
  change('--install', old)
  rpm('--verify', '--nodeps', 'xdp-as-code')
  const config = join(root, 'etc/xdp/xdp.yaml')
  expect(execFileSync(join(root, 'usr/bin/xdp'), ['--version'], { encoding: 'utf8' })).toMatch(/^xdp \d/)
  writeFileSync(config, `${readFileSync(config, 'utf8')}# edited\n`)
  change('--upgrade', recent)
  expect(rpm('--query', 'xdp-as-code')).toMatch(/^xdp-as-code-0\.1\.0-1\./)
  expect(readFileSync(config, 'utf8')).toContain('# edited')
  change('--erase', 'xdp-as-code')
  expect(existsSync(join(root, 'usr/bin/xdp'))).toBe(false)
  expect(existsSync(join(root, 'usr/share/xdp-as-code'))).toBe(false)
  expect(readFileSync(`${config}.rpmsave`, 'utf8')).toContain('# edited')
})
