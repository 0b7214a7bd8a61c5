// A host that lacks something or is busy: exit status and message name the problem, and nothing changes.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sample } from '../support/depth.ts'
import { Lab } from '../support/hosts.ts'

let lab: Lab

beforeAll(() => {
  lab = new Lab()
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [192.0.2.2]\n')
})
afterAll(() => lab.close())

/** Runs a command in a new mount namespace, after a shell script. */
const mounts = (script: string): string[] => ['unshare', '--mount', 'sh', '-ec', `${script}\nexec "$@"`, 'sh']

const CHANGING = [
  ['apply', '--auto-approve'],
  ['destroy', '--auto-approve'],
  ['confirm', '--cancel'],
]

test.each(sample(CHANGING, 2))('%s without capabilities is not permitted', async (...args) => {
  const { exitCode, stderr } = await lab.xdpWithin(['setpriv', '--bounding-set=-all', '--inh-caps=-all'], ...args)
  expect(stderr).toContain('E104 not-permitted')
  // Root has no use for sudo.
  expect(stderr).toMatch(/this is root without CAP_.*NET_ADMIN.*: start the container with --cap-add/)
  expect(exitCode).toBe(77)
})

test('capabilities without write access to the lock are not permitted', async () => {
  chmodSync(lab.directory, 0o755)
  const user = ['setpriv', '--reuid=65534', '--clear-groups']
  const caps = '-all,+bpf,+net_admin,+perfmon'
  const { exitCode, stderr } = await lab.xdpWithin(
    [...user, `--inh-caps=${caps}`, `--ambient-caps=${caps}`],
    ...['apply', '--auto-approve'],
  )
  expect(stderr).toContain('E104 not-permitted')
  expect(exitCode).toBe(77)
})

describe.each([
  ['read-only', 'mount -t tmpfs -o ro none /run'],
  ['full', 'mount -t tmpfs -o nr_inodes=1 none /run'],
])('/run that is %s', (_, script) => {
  test('makes apply fail with E115, and changes nothing', async () => {
    const { exitCode, stderr } = await lab.xdpWithin(mounts(script), 'apply', '--auto-approve')
    expect(stderr).toContain('E115 run-unwritable')
    expect(exitCode).toBe(69)
    expect(lab.pins()).toEqual([])
  })
})

test('without /etc/passwd, apply works, and the lock names its holder by user id', async () => {
  // nss-systemd would know root without the file.
  lab.write('nsswitch.conf', 'passwd: files\n')
  lab.write('passwd', '')
  const files = ['passwd', 'nsswitch.conf'].map((file) => `mount --bind ${lab.directory}/${file} /etc/${file}`)
  const script = [...files, 'unset SUDO_USER'].join('\n')
  const { exitCode, stdout, stderr } = await lab.xdpWithin(mounts(script), 'apply', '--auto-approve')
  expect([exitCode, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/^Applied \d+ changes?\. Verified by reading back/m)
  const note = readFileSync(`/run/xdp/default.${statSync(lab.bpffs).dev}.lock`, 'utf8')
  expect(JSON.parse(note)).toMatchObject({ user: 'uid 0' })
  expect((await lab.xdp('destroy', '--auto-approve')).exitCode).toBe(0)
})

test('apply and doctor report a read-only bpffs', async () => {
  const { exitCode, stderr } = await lab.xdpWithin(
    mounts(`mount -o remount,bind,ro ${lab.bpffs}`),
    'apply',
    '--auto-approve',
  )
  expect(stderr).toContain(`E105 bpffs-missing]: the bpffs at ${lab.bpffs} is read-only`)
  expect(exitCode).toBe(69)
  const doctor = await lab.xdpWithin(mounts(`mount -o remount,bind,ro ${lab.bpffs}`), 'doctor')
  expect(doctor.stdout).toMatch(/^fail +bpffs\.mount .* is mounted read-only$/m)
})

test.each(['bpftool', 'ip', 'flock'])('without %s, apply names the package to install', async (missing) => {
  const hide = `for place in /usr/sbin /usr/bin /sbin /bin /usr/local/sbin /usr/local/bin; do
    [ ! -e $place/${missing} ] || mount --bind /dev/null $place/${missing}
  done`
  const { exitCode, stderr } = await lab.xdpWithin(mounts(hide), 'apply', '--auto-approve')
  expect(stderr).toContain('E100 tool-missing')
  expect(stderr).toContain('hint: apt-get install')
  expect(exitCode).toBe(69)
})

test('an apply whose output a full disk does not take is carried out, and says so', async () => {
  lab.write('full.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [203.0.113.99]\n')
  const full = ['sh', '-c', 'exec "$@" >/dev/full', 'sh']
  const applied = await lab.xdpWithin(full, 'apply', '-f', 'full.yaml', '--auto-approve')
  expect(applied).toMatchObject({ exitCode: 0, stdout: '', stderr: expect.stringContaining('W278 output-lost') })
  expect(await lab.ok('plan', '-f', 'full.yaml')).toContain('No changes.')
  const silent = ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh']
  expect(await lab.xdpWithin(silent, 'plan', '-f', 'full.yaml')).toMatchObject({ exitCode: 0, stderr: '' })
  await lab.ok('destroy', '--auto-approve')
})

const WEAK_PATHS: readonly (readonly [string, string])[] = [
  ['empty', 'PATH='],
  ['unset', '--unset=PATH'],
  ['the working directory', 'PATH=.'],
  ['an empty element', 'PATH=:/usr/bin'],
]

test.each(sample(WEAK_PATHS, 2))('runs no tool of the working directory where PATH is %s', async (_, word) => {
  const folder = join(lab.directory, 'trap')
  const taken = join(folder, 'taken')
  for (const tool of ['bpftool', 'ip', 'flock', 'sh', 'cat', 'true', 'setpriv', 'getent', 'ethtool']) {
    chmodSync(lab.write(`trap/${tool}`, `#!/bin/sh\necho ${tool} >> ${taken}\nexec /usr/sbin/${tool} "$@"\n`), 0o755)
  }
  const config = join(lab.directory, 'xdp.yaml')
  for (const args of [
    ['apply', '--auto-approve'],
    ['status'],
    ['ban', '192.0.2.3'],
    ['doctor'],
    ['destroy', '--auto-approve'],
  ]) {
    const within = ['/usr/bin/env', `--chdir=${folder}`, word]
    const { exitCode, stderr } = await lab.xdpWithin(within, ...args, '--file', config)
    expect([args[0], exitCode, stderr.includes('E100')]).toEqual([
      args[0],
      args[0] === 'doctor' ? expect.any(Number) : 0,
      false,
    ])
  }
  expect(existsSync(taken)).toBe(false)
})

test('tools get none of the variables of the caller', async () => {
  const seen = join(lab.directory, 'seen')
  for (const tool of ['bpftool', 'ip']) lab.tool(tool, `/usr/bin/env >> ${seen}\nexec /usr/sbin/${tool} "$@"\n`)
  try {
    await lab.xdpWithin(['/usr/bin/env', 'LD_LIBRARY_PATH=/nonexistent', 'XDP_SECRET=1', 'LANG=de_DE.UTF-8'], 'plan')
  } finally {
    lab.realTools()
  }
  const names = new Set(
    readFileSync(seen, 'utf8')
      .split('\n')
      .map((line) => line.replace(/=.*/, '')),
  )
  expect([...names].filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_', ''].includes(name)).toSorted()).toEqual([
    'LC_ALL',
    'PATH',
  ])
})

test('a relative XDP_TOOLS_PATH is refused', async () => {
  const { exitCode, stderr } = await lab.xdpWithin(['/usr/bin/env', 'XDP_TOOLS_PATH=tools'], 'plan')
  expect(stderr).toContain('XDP_TOOLS_PATH contains "tools", which is not an absolute path')
  expect(exitCode).toBe(64)
})

test.each([
  ['is not mounted', '/nonexistent', 69, 'E105 bpffs-missing'],
  ['has a name that bpftool would cut in two', '/a#b', 64, 'E300 usage'],
  ['has a name with a space', '/a b', 64, 'E300 usage'],
])('plan rejects a bpffs that %s', async (_, bpffs, status, code) => {
  const { exitCode, stderr } = await lab.xdpWithin([], 'plan', '--bpffs', bpffs)
  expect(stderr).toContain(code)
  expect(exitCode).toBe(status)
})

describe('while another process holds the lock', () => {
  const file = (): string => `/run/xdp/default.${statSync(lab.bpffs).dev}.lock`
  let holder: ChildProcess

  beforeAll(async () => {
    mkdirSync('/run/xdp', { recursive: true, mode: 0o700 })
    holder = spawn('flock', [file(), 'sh', '-c', 'echo held; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(holder.stdout as NodeJS.ReadableStream, 'data')
  })
  afterAll(async () => {
    holder.stdin?.end()
    await once(holder, 'close')
    rmSync(file(), { force: true })
  })

  test('apply exits 75 after --lock-timeout', async () => {
    const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve', '--lock-timeout', '100ms')
    expect(stderr).toContain('E106 locked')
    expect(exitCode).toBe(75)
  })

  test('an interrupt ends the wait at once', async () => {
    const child = lab.start('apply', '--auto-approve', '--lock-timeout', '10m')
    const closed = once(child, 'close')
    const waiter = new RegExp(`-> FLOCK .*:${statSync(file()).ino} `)
    await expect.poll(() => readFileSync('/proc/locks', 'utf8')).toMatch(waiter)
    child.kill('SIGINT')
    expect((await closed)[0]).toBe(1)
    await expect.poll(() => readFileSync('/proc/locks', 'utf8')).not.toMatch(waiter)
  })
})

const TMPFS = 0x01021994

test.for([
  ['/run/xdp', 'exchange-'],
  ['/dev/shm', 'xdp-exchange-'],
] as const)(
  'removes exchange files of a killed process in %s, but not of a running one',
  async ([root, prefix], { skip }) => {
    await lab.ok('apply', '--auto-approve')
    skip(
      root !== '/run/xdp' && statfsSync('/run/xdp').type === TMPFS,
      '/run is a tmpfs, so all exchange files are there',
    )
    const { pid: dead } = spawnSync('true')
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0]
    const name = (pid: number): string => `${root}/${prefix}${namespace}-${pid}-test`
    const [left, used, foreign] = [name(dead), name(process.pid), `${name(dead)}-foreign`]
    for (const directory of [left, used, foreign]) mkdirSync(directory)
    chownSync(foreign, 65534, 65534)
    try {
      await lab.ok('status')
      expect([left, used, foreign].map((directory) => existsSync(directory))).toEqual([false, true, true])
    } finally {
      for (const directory of [used, foreign]) rmSync(directory, { recursive: true })
    }
  },
)

/** The exchange files of a dead process, with a file of a given size. */
const LEFT = '/dev/shm/xdp-exchange-$(readlink /proc/self/ns/pid | tr -dc 0-9)-3999999-test'
const leaving = (size: string): string => `mkdir ${LEFT}\nhead -c ${size} /dev/zero > ${LEFT}/file`

test.for([
  ['is left alone if it is read-only', '-o ro,size=2g', '', ''],
  ['is left alone if it lacks room', '-o size=64m', '', ''],
  ['is left alone if other users can rename our files in it', '-o size=2g,mode=0777', leaving('1K'), `test -e ${LEFT}`],
  ['is cleared of leftovers that fill it', '-o size=1100m', leaving('300M'), `test ! -e ${LEFT}`],
] as const)('/dev/shm %s', async ([, options, before, after], { skip }) => {
  await lab.ok('apply', '--auto-approve')
  skip(statfsSync('/run/xdp').type === TMPFS, '/run is a tmpfs, so /dev/shm is not used')
  const script = `mount -t tmpfs ${options} none /dev/shm\n${before}\n"$@"\n${after}`
  const { exitCode, stderr } = await lab.xdpWithin(['unshare', '--mount', 'sh', '-ec', script, 'sh'], 'status')
  expect([exitCode, stderr]).toEqual([0, ''])
})
