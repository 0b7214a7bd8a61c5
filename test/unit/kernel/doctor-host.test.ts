// Facts that doctor reads from the host: versions, output of tools, /proc and /etc.
import { describe, expect, test } from 'vitest'
import { FEATURES } from '../../../src/features/features.ts'
import { isLocked } from '../../../src/kernel/doctor/instances.ts'
import {
  checkBtf,
  checkHarden,
  checkJit,
  checkMemlock,
  checkTrial,
  checkVersion,
} from '../../../src/kernel/doctor/kernel.ts'
import { inFstab, mountUnit, rootMount } from '../../../src/kernel/doctor/mount.ts'
import { checkPermission, isPrivileged, isUserNamespace, parseStatus } from '../../../src/kernel/doctor/permission.ts'
import { checkBpftool, checkEthtool, checkFlock, checkIp } from '../../../src/kernel/doctor/tools.ts'
import type { Trial } from '../../../src/kernel/doctor/trial.ts'
import { installCommand } from '../../../src/kernel/tools/packages.ts'
import { CommandError } from '../../../src/kernel/tools/spawn.ts'
import { atLeast, parseVersion, type Version } from '../../../src/model/version.ts'

const LOADED: Trial = { outcome: 'loaded', jited: true }
const NEEDS = FEATURES.flatMap(({ needs }) => needs)
const SKIPPED: Trial = { outcome: 'skipped', why: 'this needs root' }

describe('kernel', () => {
  test.each([
    ['5.10.0-46-cloud-amd64', [5, 10]],
    ['5.15.0-91-generic', [5, 15]],
    ['5.14.0-362.13.1.el9_3.x86_64', [5, 14]],
    ['6.1.0-56-cloud-amd64', [6, 1]],
    ['6.12-rc1', [6, 12]],
    ['6.18.44-fc-v657', [6, 18]],
    ['7.2.13+deb14-cloud-amd64', [7, 2]],
    ['next', undefined],
  ])('release %s', (release, version) => {
    expect(parseVersion(release)).toEqual(version)
  })

  test.each([
    ['6.1.0-56-cloud-amd64', 'ok'],
    ['7.2.13+deb14-cloud-amd64', 'ok'],
    ['10.0.1', 'ok'],
    ['next', 'warn'],
  ])('by version alone, %s is %s', (release, level) => {
    expect(checkVersion(release, SKIPPED)).toEqual([expect.objectContaining({ id: 'kernel.version', level })])
  })

  test.each(['6.0.19', '5.18.0', '5.17.15', '5.15.0-91-generic', '5.10.0-46-cloud-amd64'])(
    'by version alone, %s fails if a feature needs a newer kernel, and else is a warning',
    (release) => {
      const meetsAll = NEEDS.every(({ since }) => atLeast(parseVersion(release) as Version, since))
      expect(checkVersion(release, SKIPPED)[0]?.level).toBe(meetsAll ? 'warn' : 'fail')
    },
  )

  test('an old kernel fails with one finding for each feature that lacks something', () => {
    const [version, ...features] = checkVersion('5.10.0-46-cloud-amd64', SKIPPED)
    expect(version).toMatchObject({ id: 'kernel.version', level: 'fail', fix: expect.stringContaining('6.1') })
    expect(features.map(({ id }) => id)).toEqual(['kernel.needs.filter', 'kernel.needs.bans', 'kernel.needs.syn'])
    expect(features.every(({ level }) => level === 'fail')).toBe(true)
    expect(features[0]?.message).toContain('loops in programs (bpf_loop), Linux 5.17')
    expect(features[2]?.message).toBe('missing: MTUs of interfaces in XDP (bpf_check_mtu), Linux 5.12')
  })

  test('a distribution kernel with backported features is no failure', () => {
    expect(checkVersion('5.14.0-362.13.1.el9_3.x86_64', LOADED).map(({ level }) => level)).toEqual(['warn'])
  })

  test('the trial decides, if it was possible', () => {
    expect(checkTrial(LOADED).level).toBe('ok')
    expect(checkTrial(SKIPPED)).toMatchObject({ level: 'warn', message: expect.stringContaining('this needs root') })
    const refused = checkTrial({ outcome: 'refused', words: 'unknown func bpf_loop#181' })
    expect(refused).toMatchObject({ level: 'fail', message: expect.stringContaining('bpf_loop#181') })
  })

  test.each([
    ['1', LOADED, 'ok'],
    [undefined, LOADED, 'ok'],
    ['2', LOADED, 'warn'],
    ['0', { outcome: 'loaded', jited: false }, 'warn'],
    [undefined, { outcome: 'loaded', jited: false }, 'warn'],
    ['1', SKIPPED, 'ok'],
    ['0', SKIPPED, 'warn'],
    [undefined, SKIPPED, 'warn'],
  ] as const)('bpf_jit_enable %s, trial %o: %s', (enabled, trial, level) => {
    expect(checkJit(enabled, trial).level).toBe(level)
  })

  test('a kernel without BTF is one that the programs cannot be loaded on', () => {
    const words = 'libbpf: failed to find valid kernel BTF; libbpf: Error loading vmlinux BTF: -3'
    const refused: Trial = { outcome: 'refused', words }
    expect(
      [checkBtf(true, refused), checkBtf(false, LOADED), checkBtf(false, SKIPPED)].map(({ level }) => level),
    ).toEqual([...['ok', 'ok', 'fail']])
    expect(checkTrial(refused)).toMatchObject({ level: 'fail', fix: 'see kernel.btf' })
    const [diagnostic] = new CommandError('bpftool prog loadall x', 255, words).diagnostics
    expect(diagnostic?.hint).toContain('mount sysfs at /sys')
  })

  test('only a JIT hardened for root too is reported', () => {
    expect([undefined, '0', '1'].flatMap(checkHarden)).toEqual([])
    expect(checkHarden('2')).toMatchObject([
      { level: 'warn', fix: expect.stringContaining('sysctl -w net.core.bpf_jit_harden=1, which gives up') },
    ])
  })

  test('locked memory is reported only for kernels before cgroup accounting of maps', () => {
    const limits =
      'Max processes             31000   31000  processes\nMax locked memory         65536   65536  bytes\n'
    expect(checkMemlock([5, 10], limits)).toMatchObject([{ level: 'warn', fix: 'ulimit -l unlimited' }])
    expect(checkMemlock([5, 10], limits.replaceAll('65536', 'unlimited'))).toEqual([])
    expect(checkMemlock([5, 11], limits)).toEqual([])
    expect(checkMemlock(undefined, limits)).toEqual([])
  })
})

describe('permission', () => {
  const status = (uid: number, capabilities: string): string =>
    `Name:\tnode\nUid:\t1000\t${uid}\t${uid}\t${uid}\nCapInh:\t0000000000000000\nCapEff:\t${capabilities}\n`
  const identity = (uid: number, capabilities: string, userNamespace = false, container?: string) => ({
    ...parseStatus(status(uid, capabilities)),
    userNamespace,
    container,
  })

  test('reads the effective user and capabilities', () => {
    expect(parseStatus(status(0, '000001fffeffffff'))).toEqual({ uid: 0, capabilities: 0x1fffeffffffn })
    expect(parseStatus('')).toEqual({ uid: -1, capabilities: 0n })
  })

  test.each([
    ['root', identity(0, '000001ffffffffff'), 'ok', true],
    ['CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN', identity(1000, '000000c000001000'), 'ok', true],
    ['CAP_BPF and CAP_NET_ADMIN', identity(1000, '0000008000001000'), 'warn', true],
    ['CAP_BPF alone', identity(1000, '0000008000000000'), 'warn', false],
    ['a user', identity(1000, '0000000000000000'), 'warn', false],
    ['root of a container', identity(0, '00000000a80425fb', false, 'docker'), 'fail', false],
    ['root of a user namespace', identity(0, '000001ffffffffff', true), 'fail', false],
  ])('%s', (_, who, level, privileged) => {
    expect(checkPermission(who).level).toBe(level)
    expect(isPrivileged(who)).toBe(privileged)
  })

  test('the finding in a container has the flags to start it with', () => {
    expect(checkPermission(identity(0, '00000000a80425fb', false, 'podman')).fix).toContain('--cap-add BPF')
  })

  test.each([
    ['         0          0 4294967295\n', false],
    ['         0     100000      65536\n', true],
    ['         0       1000          1\n', true],
    ['', false],
  ])('uid_map %j', (map, expected) => {
    expect(isUserNamespace(map)).toBe(expected)
  })
})

describe('bpffs', () => {
  test('finds its mount in fstab', () => {
    const fstab =
      '# bpf /sys/fs/bpf bpf defaults 0 0\n/dev/sda1 / ext4 defaults 0 1\nbpf\t/run/bpf  bpf mode=0700 0 0\n'
    expect(inFstab(fstab, '/run/bpf')).toBe(true)
    expect(inFstab(fstab, '/sys/fs/bpf')).toBe(false)
    expect(inFstab(fstab, '/')).toBe(false)
  })

  // As `systemd-escape --path --suffix=mount` prints them.
  test.each([
    ['/sys/fs/bpf', 'sys-fs-bpf.mount'],
    ['/run/my-bpf/', 'run-my\\x2dbpf.mount'],
    ['/srv/.bpf', 'srv-.bpf.mount'],
    ['/.bpf/x', '\\x2ebpf-x.mount'],
  ])('the unit that mounts %s', (path, unit) => {
    expect(mountUnit(path)).toBe(unit)
  })

  test('identifies a mount namespace by the id of its root', () => {
    const mountinfo = '22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n'
    expect(rootMount(mountinfo)).toBe('27')
    expect(rootMount('')).toBeUndefined()
  })
})

describe('lock', () => {
  const locks = [
    '1: FLOCK  ADVISORY  WRITE 4711 00:1a:260047 0 EOF',
    '2: POSIX  ADVISORY  WRITE 4712 00:1a:260048 0 EOF',
    '2: -> FLOCK  ADVISORY  WRITE 4713 00:1a:260049 0 EOF',
    '3: FLOCK  ADVISORY  WRITE 4714 103:02:260050 0 EOF',
  ].join('\n')

  test.each([
    ['held', 0x1a, 260047, true],
    ['a lock of a different kind', 0x1a, 260048, false],
    ['a waiting lock', 0x1a, 260049, false],
    ['an equal inode on a different device', 0x1b, 260047, false],
    ['a major number above 255', (0x103 << 8) | 2, 260050, true],
  ])('%s', (_, device, inode, expected) => {
    expect(isLocked(locks, device, inode)).toBe(expected)
  })
})

describe('tools', () => {
  const output = (stdout: string, exitCode = 0) => ({ stdout, stderr: '', exitCode })

  test.each([
    ['bpftool v7.1.0\nusing libbpf v1.1\nfeatures: libbpf_strict\n', 'ok'],
    ['bpftool v7.5.0\nusing libbpf v1.5\nfeatures: llvm, skeletons\n', 'ok'],
    ['/usr/lib/linux-tools/5.15.0-91-generic/bpftool v5.15.131\nfeatures: libbfd, skeletons\n', 'fail'],
    ['bpftool v5.10.0\nfeatures: libbfd, skeletons\n', 'fail'],
    ['bpftool v6.8.0\nusing libbpf v0.8\n', 'warn'],
    ['bpftool v7.0.0\n', 'warn'],
    ['', 'fail'],
  ])('bpftool %j is %s', (text, level) => {
    expect(checkBpftool(output(text), 'x').level).toBe(level)
  })

  test('bpftool of Ubuntu without the tools of the running kernel does not run', () => {
    const wrapper = { stdout: '', stderr: 'WARNING: bpftool not found for kernel 6.8.0-40', exitCode: 2 }
    expect(checkBpftool(wrapper, 'apt-get install linux-tools-$(uname -r)')).toMatchObject({
      level: 'fail',
      fix: 'apt-get install linux-tools-$(uname -r)',
    })
  })

  test.each([
    ['ip utility, iproute2-6.1.0, libbpf 1.1.2\n', 'ok', '6.1.0'],
    ['ip utility, iproute2-6.15.0\n', 'ok', '6.15.0'],
    ['ip utility, iproute2-5.15.0, libbpf 0.5.0\n', 'warn', '5.15.0'],
    ['ip utility, iproute2-ss200127\n', 'warn', 'ss200127'],
  ])('%j is %s', (text, level, version) => {
    expect(checkIp(output(text), 'x')).toMatchObject({ level, message: expect.stringContaining(version) })
  })

  test('the tools of BusyBox are refused', () => {
    expect(checkIp(output('', 1), 'x').level).toBe('fail')
    expect(checkFlock(output('', 1), 'x').level).toBe('fail')
    expect(checkFlock(output('flock from util-linux 2.38.1\n'), 'x').level).toBe('ok')
  })

  test('of another program of that name, one short line is shown', () => {
    const long = output(`util-linux ${'y'.repeat(1e6)}\n${'y\n'.repeat(1e5)}`)
    for (const check of [checkFlock, checkEthtool]) expect(check(long, 'x').message.length).toBeLessThan(100)
    expect(checkIp(output(`iproute2-${'9'.repeat(1e6)}`), 'x').message.length).toBeLessThan(200)
    expect(checkBpftool(output(`v${'9'.repeat(1e6)}.1`), 'x').message.length).toBeLessThan(200)
  })

  test('missing tools fail, except ethtool', () => {
    const levels = [checkBpftool, checkIp, checkFlock, checkEthtool].map((check) => check(undefined, 'x').level)
    expect(levels).toEqual(['fail', 'fail', 'fail', 'warn'])
  })

  test.each([
    ['PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n', 'apt-get install bpftool'],
    ['ID=ubuntu\nID_LIKE=debian\n', 'apt-get install linux-tools-$(uname -r)'],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"\n', 'dnf install bpftool'],
    ['ID=arch\n', 'pacman -S bpf'],
    ['', 'install the package bpftool'],
  ])('installs with %j', (osRelease, command) => {
    expect(installCommand(osRelease, 'bpftool')).toBe(command)
  })

  test.each([
    ['debian', 'ip', 'apt-get install iproute2'],
    ['debian', 'ipset', 'apt-get install ipset'],
    ['fedora', 'ip', 'dnf install iproute'],
    ['fedora', 'getent', 'dnf install glibc-common'],
    ['"rocky"\nID_LIKE="rhel centos fedora"', 'flock', 'dnf install util-linux'],
    ['arch', 'setpriv', 'pacman -S util-linux'],
    ['alpine', 'setpriv', 'apk add setpriv'],
    ['opensuse-leap\nID_LIKE="suse opensuse"', 'nft', 'zypper install nftables'],
    ['nixos', 'nft', 'install the package nftables'],
  ])('ID=%s has %s by %s', (id, tool, command) => {
    expect(installCommand(`ID=${id}\n`, tool)).toBe(command)
  })
})
