// The Debian package in clean roots without a Node: installed, used, upgraded and downgraded under traffic, removed and
// purged.
import { appendFileSync, cpSync, existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bareRoot } from '../support/debian.ts'
import { built } from '../support/executable.ts'
import { ETH0, Lab } from '../support/hosts.ts'
import { Machine, RELEASES } from '../support/machine.ts'
import { judged } from '../support/traffic.ts'

const DIST = resolve(import.meta.dirname, '../../dist')
const CONFIG = `version: 1
interfaces: { eth0: {} }
allowlist: [192.0.2.0/24]
blocklist: [2001:db8::2]
`

describe.each(RELEASES)('Debian $release', ({ release, boots }) => {
  let lab: Lab
  let machine: Machine | string = 'not made'
  const status = async (box: Machine) => JSON.parse(await box.ok('xdp', 'status', '--json'))
  const install = (box: Machine, name: string) => box.ok('dpkg', '--install', `/srv/admin/${name}.deb`)

  beforeAll(async () => {
    lab = new Lab([ETH0])
    const found = await bareRoot(release)
    if ('reason' in found) {
      machine = found.reason
      return
    }
    // Another build: its programs have another digest.
    const other = join(lab.directory, 'dist')
    cpSync(DIST, other, { recursive: true })
    appendFileSync(join(other, 'bpf/xdp.bpf.o'), 'another build')
    const packages = [await built({ dist: other, version: '0.0.9' }), await built()]
    const reason = packages.find((one) => typeof one === 'string')
    machine = reason ?? (await Machine.make({ packages: [], lab, boots, base: found.root }))
    if (typeof machine === 'string') return
    for (const [i, one] of packages.entries()) {
      if (typeof one !== 'string') machine.copy(one.deb, `/srv/admin/${i === 0 ? 'old' : 'new'}.deb`)
    }
    if (boots) await machine.boot()
  })
  afterAll(async () => {
    if (typeof machine !== 'string') await machine.close()
    lab.close()
  })

  test('the root has no Node, and the package needs nothing that is missing', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    expect((await machine.run('sh', '-c', 'command -v node npm clang')).stdout).toBe('')
    await install(machine, 'old')
    expect(await machine.ok('xdp', '--version')).toMatch(/^xdp \d/)
    expect(await machine.ok('dpkg', '--verify', 'xdp-as-code')).toBe('')
    // systemd would look for a name in /usr/local first.
    const units = ['xdp', 'xdp-watch'].map((name) => `/usr/lib/systemd/system/${name}.service`)
    expect(await machine.ok('grep', '--no-filename', '^ExecStart=', ...units)).toMatch(
      /^ExecStart=\/usr\/bin\/xdp apply .*\nExecStart=\/usr\/bin\/xdp watch .*\n$/,
    )
  })

  test('a new installation filters nothing and enables nothing', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const { exitCode, stderr } = await machine.run('xdp', 'validate')
    expect([exitCode, stderr]).toEqual([78, expect.stringContaining('/etc/xdp/xdp.yaml:')])
    expect(stderr).toContain('E034')
    expect(await machine.ok('ip', 'link', 'show', 'eth0')).not.toContain('xdp')
    if (!boots) return
    expect((await machine.run('systemctl', 'is-enabled', 'xdp', 'xdp-watch')).stdout).toBe('disabled\ndisabled\n')
  })

  test('an upgrade and a downgrade under traffic lose no packet, and the daemon runs the new executable', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const box = machine
    box.write('/etc/xdp/xdp.yaml', CONFIG)
    if (boots) await box.ok('systemctl', 'enable', '--now', 'xdp', 'xdp-watch')
    else await box.ok('xdp', 'apply', '--auto-approve')
    const digests = [(await status(box)).program.digest]
    await box.ok('xdp', 'ban', '203.0.113.250', '--ttl', '1h')
    for (const name of ['new', 'old', 'new']) {
      await judged(lab, async () => {
        await install(box, name)
        if (!boots) await box.ok('xdp', 'apply', '--auto-approve')
      })
      const { program, bans } = await status(box)
      digests.push(program.digest)
      expect(bans).toBe(1)
      if (!boots) continue
      expect(await box.ok('systemctl', 'is-active', 'xdp', 'xdp-watch')).toBe('active\nactive\n')
      const pid = (await box.ok('systemctl', 'show', '--value', '--property', 'MainPID', 'xdp-watch')).trim()
      expect(await box.ok('readlink', `/proc/${pid}/exe`)).toBe('/usr/bin/xdp\n')
    }
    const [old, recent] = digests
    expect(recent).not.toBe(old)
    expect(digests).toEqual([old, recent, old, recent])
    expect(box.read('/etc/xdp/xdp.yaml')).toBe(CONFIG)
  })

  test('a removal names an instance that it cannot reach, and ends only without it', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    const apply = 'ip link add eth0 type veth peer name other; /usr/bin/xdp apply --auto-approve --instance other'
    await machine.ok('ip', 'netns', 'add', 'other')
    await machine.ok('nsenter', '--net=/run/netns/other', 'sh', '-ec', apply)
    // Another program of this name comes first in PATH.
    machine.write('/usr/local/sbin/xdp', '#!/bin/sh\nexit 0\n', 0o755)
    const { exitCode, stderr } = await machine.run('dpkg', '--remove', 'xdp-as-code')
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('E201')])
    expect(stderr).toContain('not removed, because these instances are still in the kernel: other\n')
    // The others are gone.
    expect(await machine.ok('ip', 'link', 'show', 'eth0')).not.toContain('xdp')
    await machine.ok('rm', '/usr/local/sbin/xdp')
    await machine.ok('ip', 'netns', 'del', 'other')
    // A separate pid namespace hides that the network namespace has ended. Elsewhere the removal sees it.
    if (boots) await machine.ok('rm', '-r', '/sys/fs/bpf/xdp-as-code/other')
    await machine.ok('xdp', 'apply', '--auto-approve')
  })

  test('a removed package leaves no program, and a purged one no file', async (context) => {
    if (typeof machine === 'string') return context.skip(machine)
    await machine.ok('dpkg', '--remove', 'xdp-as-code')
    expect(await machine.ok('ip', 'link', 'show', 'eth0')).not.toContain('xdp')
    expect(await machine.ok('ls', '-A', '/sys/fs/bpf')).not.toContain('xdp-as-code')
    expect(machine.read('/etc/xdp/xdp.yaml')).toBe(CONFIG)
    await machine.ok('dpkg', '--purge', 'xdp-as-code')
    for (const path of ['/etc/xdp', '/var/lib/xdp', '/var/cache/xdp', '/usr/bin/xdp']) {
      expect(existsSync(machine.path(path)), path).toBe(false)
    }
  })
})

test('two builds of equal sources are identical, the executable and the packages', async (context) => {
  const first = await built()
  const second = await built({ fresh: true })
  if (typeof first === 'string' || typeof second === 'string') return context.skip(String(first))
  for (const name of ['executable', 'deb', 'rpm'] as const) {
    expect(readFileSync(first[name]).equals(readFileSync(second[name])), name).toBe(true)
  }
})

test('the executable of the other architecture runs in qemu, and its package is of that architecture', async (context) => {
  const [arch, deb, machine] = process.arch === 'x64' ? ['arm64', 'arm64', 'aarch64'] : ['x64', 'amd64', 'x86_64']
  const packages = await built({ arch })
  if (typeof packages === 'string') return context.skip(packages)
  const qemu = [`qemu-${machine}-static`, '-L', `/usr/${machine}-linux-gnu`, packages.executable] as const
  const xdp = async (...words: readonly string[]) => (await execa(qemu[0], [...qemu.slice(1), ...words])).stdout
  const own = await built()
  if (typeof own === 'string') return context.skip(own)
  const { stdout } = await execa(own.executable, ['--version'])
  // One build: the modules and the BPF programs are those of this architecture.
  expect(await xdp('--version')).toBe(stdout)
  expect(await xdp('help', 'apply')).toContain('--confirm')
  expect((await execa('dpkg-deb', ['--field', packages.deb, 'Architecture'])).stdout).toBe(deb)
})

test('lintian has nothing to say about the package', async (context) => {
  const packages = await built()
  if (typeof packages === 'string') return context.skip(packages)
  // The package of tests is not compressed.
  const quick = ['control', 'data'].map((part) => `uses-no-compression-for-${part}-tarball`).join(',')
  const flags = ['--fail-on', 'error,warning', '--allow-root', '--suppress-tags', quick]
  // It takes minutes, during which a worker that waits for it synchronously would not answer vitest.
  const { exitCode, all, code } = await execa('lintian', [...flags, packages.deb], { reject: false, all: true })
  if (code === 'ENOENT') return context.skip('lintian is not installed')
  expect(all).toBe('')
  expect(exitCode).toBe(0)
})
