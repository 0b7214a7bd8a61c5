// xdp doctor with real interfaces, a real bpffs and real tools: its findings are true, and it changes nothing.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { inDepth, usually } from '../support/depth.ts'
import { ETH0, ETH1, Lab, type Output } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'

interface Finding {
  readonly id: string
  readonly level: 'ok' | 'warn' | 'fail'
  readonly message: string
  readonly fix: string | null
}

let lab: Lab

beforeEach(() => {
  lab = new Lab([ETH0, ETH1])
})
afterEach(() => lab.close())

const config = (interfaces: string): string => `version: 1\ninterfaces:\n${interfaces}\nblocklist: [192.0.2.2]\n`

function findings({ exitCode, stdout, stderr }: Output): Map<string, Finding> {
  if (exitCode > 1) throw new Error(`xdp doctor exited with ${exitCode}\n${stderr}`)
  const { checks } = JSON.parse(stdout) as { checks: Finding[] }
  const found = new Map(checks.map((check) => [check.id, check]))
  expect(exitCode).toBe(checks.some(({ level }) => level === 'fail') ? 1 : 0)
  return found
}

const doctor = async (...args: readonly string[]): Promise<Map<string, Finding>> =>
  findings(await lab.xdp('doctor', '--json', ...args))

/** Runs doctor through the prefix `argv`, such as setpriv. */
async function doctorBy(...argv: readonly string[]): Promise<Map<string, Finding>> {
  const [file, ...args] = argv as [string, ...string[]]
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args, { cwd: lab.directory })
    return findings({ exitCode: 0, stdout, stderr })
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return findings({ exitCode: code, stdout, stderr })
  }
}

const level = (found: ReadonlyMap<string, Finding>, id: string) => found.get(id)?.level
const shell = (command: string): string => lab.in(lab.host, 'sh', '-c', command)
const links = (): string => lab.in(lab.host, 'ip', '-d', 'link', 'show')

/** Pins a foreign program. */
function pinForeign(): string {
  const pin = join(lab.bpffs, 'foreign')
  const object = buildObject(
    lab.directory,
    'xdp_pass',
    'SEC("xdp.frags") int foreign_pass(struct xdp_md *ctx) { return XDP_PASS; }',
  )
  lab.in(lab.host, 'bpftool', 'prog', 'load', object, pin, 'type', 'xdp')
  return pin
}

test('a capable host has no failures, and doctor changes nothing', async () => {
  lab.write('xdp.yaml', config('  eth0: { mode: native }'))
  // The kernel notices only a moment later that the peers are up.
  await expect.poll(links).not.toMatch(/NO-CARRIER|state DOWN/)
  const before = links()
  const found = await doctor()
  const fine = [
    'kernel.verifier',
    'kernel.jit',
    'permission',
    'bpffs.mount',
    'tools.bpftool',
    'tools.ip',
    'tools.flock',
  ]
  expect(fine.filter((id) => level(found, id) !== 'ok')).toEqual([])
  expect(level(found, 'instance.state')).toBe('ok')
  expect(['link', 'native', 'program'].map((what) => level(found, `interface.eth0.${what}`))).toEqual([
    'ok',
    'ok',
    'ok',
  ])
  expect([...found.keys()].filter((id) => id.startsWith('interface.eth1'))).toEqual([])
  expect(links()).toBe(before)
  expect(readdirSync(lab.bpffs).filter((name) => !name.endsWith('.debug'))).toEqual([])
})

inDepth('without a config checks every interface that is up', async () => {
  lab.in(lab.host, 'ip', 'link', 'set', 'eth1', 'down')
  const found = await doctor()
  const named = [...found.keys()].map((id) => /^interface\.(\w+)\.link$/.exec(id)?.[1]).filter((name) => name)
  expect(named).toEqual(['eth0'])
  expect(level(found, 'config')).toBe('warn')
})

inDepth('reports interfaces that are down, without carrier, or missing', async () => {
  lab.write('xdp.yaml', config('  eth0: {}\n  eth1: {}\n  eth7: {}\n  eth8: { missing: skip }'))
  lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'down')
  lab.in(lab.peer, 'ip', 'link', 'set', lab.peerEnd('eth1'), 'down')
  const found = await doctor()
  expect(['eth0', 'eth1', 'eth7'].map((name) => level(found, `interface.${name}.link`))).toEqual([
    'warn',
    'warn',
    'fail',
  ])
  expect(level(found, 'interface.eth8.link')).toBe('ok')
  expect(found.get('interface.eth7.link')?.fix).toContain('did you mean')
  shell(found.get('interface.eth0.link')?.fix ?? '')
  expect(lab.in(lab.host, 'ip', 'link', 'show', 'eth0')).toMatch(/<[^>]*\bUP\b/)
})

inDepth('does not warn of jumbo frames on a veth: apply attaches natively', async () => {
  lab.write('xdp.yaml', config('  eth0: { mode: native }'))
  lab.in(lab.host, 'ip', 'link', 'set', 'eth0', 'mtu', '9000')
  lab.in(lab.peer, 'ip', 'link', 'set', lab.peerEnd('eth0'), 'mtu', '9000')
  const found = await doctor()
  expect(level(found, 'interface.eth0.native')).toBe('ok')
  expect(found.has('interface.eth0.mtu')).toBe(false)
  await lab.ok('apply', '--auto-approve')
  expect((await doctor()).get('interface.eth0.program')?.message).toContain('native')
})

describe('native support', () => {
  /** Kinds of interface that this kernel may support, and the command that makes one named `dev0`. */
  const KINDS: Readonly<Record<string, string>> = {
    veth: 'ip link add dev0 type veth peer name dev1',
    tap: 'ip tuntap add dev0 mode tap',
    tun: 'ip tuntap add dev0 mode tun',
    bridge: 'ip link add dev0 type bridge',
    dummy: 'ip link add dev0 type dummy',
    ifb: 'ip link add dev0 type ifb',
    macvlan: 'ip link add dev0 link eth1 type macvlan',
    vlan: 'ip link add dev0 link eth1 type vlan id 5',
    vxlan: 'ip link add dev0 type vxlan id 5 dstport 4789',
  }
  const SOME = usually(['veth', 'bridge'], { thoroughly: Object.keys(KINDS) })

  test.for(Object.entries(KINDS).filter(([kind]) => SOME.includes(kind)))(
    'the claim about a %s matches the kernel',
    async ([kind, make], { skip }) => {
      lab.write('xdp.yaml', config('  dev0: { mode: native }'))
      try {
        shell(make)
      } catch {
        skip(`this kernel makes no ${kind} device`)
      }
      const claim = level(await doctor(), 'interface.dev0.native')
      expect(claim, kind).not.toBe('warn')
      let attached = true
      try {
        lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pinForeign(), 'dev', 'dev0')
      } catch {
        attached = false
      }
      expect(attached).toBe(claim === 'ok')
    },
  )
})

inDepth('distinguishes a port of a bridge from the bridge', async () => {
  shell('ip link add br0 type bridge && ip link set br0 up && ip link set eth1 master br0')
  lab.write('xdp.yaml', config('  eth1: {}\n  br0: { mode: generic }'))
  const found = await doctor()
  expect(found.get('interface.eth1.relation')?.message).toContain('port of bridge br0')
  expect(found.get('interface.br0.relation')?.fix).toContain('eth1')
  expect(level(found, 'interface.br0.native')).toBe('ok')
})

test('names a foreign program, and its fix detaches it', async () => {
  lab.write('xdp.yaml', config('  eth0: {}'))
  lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpgeneric', 'pinned', pinForeign(), 'dev', 'eth0')
  const { level: how, message, fix } = (await doctor()).get('interface.eth0.program') as Finding
  expect(how).toBe('warn')
  expect(message).toMatch(/foreign_pass.*generic/)
  shell((fix ?? '').replace(/^.*, or: /, ''))
  expect((await doctor()).get('interface.eth0.program')?.message).toBe('no XDP program is attached')
})

test('recognizes our programs, in this instance and in others', async () => {
  lab.write('xdp.yaml', config('  eth0: { mode: native }\n  eth1: { mode: generic }'))
  await lab.ok('apply', '--auto-approve')
  const found = await doctor()
  expect(found.get('instance.state')?.message).toContain('generation 1 on 2 interfaces')
  expect(found.get('interface.eth0.program')).toMatchObject({ level: 'ok', message: expect.stringContaining('native') })
  expect(found.get('interface.eth1.program')).toMatchObject({
    level: 'ok',
    message: expect.stringContaining('generic'),
  })
  const other = await doctor('--instance', 'other')
  expect(other.get('bpffs.instances')?.message).toContain('default')
  expect(other.get('interface.eth0.program')?.message).toContain('of instance default')
  await lab.ok('destroy', '--auto-approve')
})

inDepth('finds leftovers of an interrupted apply, and apply removes them', async () => {
  lab.write('xdp.yaml', config('  eth0: {}'))
  await lab.ok('apply', '--auto-approve')
  mkdirSync(join(lab.bpffs, 'xdp-as-code/default/gen-9'))
  expect((await doctor()).get('instance.leftovers')).toMatchObject({ level: 'warn', fix: 'xdp apply' })
  await lab.ok('apply', '--auto-approve')
  expect((await doctor()).has('instance.leftovers')).toBe(false)
})

inDepth('finds programs left by a killed doctor, and the fix removes them', async () => {
  // Above the largest pid of any Linux (PID_MAX_LIMIT, 2^22).
  mkdirSync(join(lab.bpffs, 'xdp-doctor-9999999-c0ffee'))
  shell((await doctor()).get('bpffs.trials')?.fix ?? 'false')
  expect((await doctor()).has('bpffs.trials')).toBe(false)
})

inDepth('reports the pins of other tools as information', async () => {
  mkdirSync(join(lab.bpffs, 'xdp-filter'))
  expect((await doctor()).get('bpffs.others')).toMatchObject({
    level: 'ok',
    message: expect.stringContaining('xdp-filter'),
  })
})

inDepth('fails for an instance of another network namespace, with the command to enter it', async () => {
  lab.write('xdp.yaml', config('  eth0: {}'))
  await lab.ok('apply', '--auto-approve')
  const argv = ['nsenter', `--net=/run/netns/${lab.peer}`, process.execPath, lab.cli, '--bpffs', lab.bpffs]
  const found = await doctorBy(...argv, 'doctor', '--json')
  expect(found.get('instance.namespace')).toMatchObject({
    level: 'fail',
    fix: expect.stringContaining(`nsenter --net=/run/netns/${lab.host} `),
  })
})

inDepth('names the process that holds the lock', async () => {
  mkdirSync('/run/xdp', { recursive: true, mode: 0o700 })
  const file = `/run/xdp/default.${statSync(lab.bpffs).dev}.lock`
  const holder = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo locked; exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const gone = once(holder, 'exit')
  try {
    await once(holder.stdout, 'data')
    expect(level(await doctor(), 'instance.lock')).toBe('warn')
  } finally {
    holder.stdin.end()
    await gone
  }
  expect((await doctor()).has('instance.lock')).toBe(false)
})

inDepth('without a bpffs prints the command that mounts it', async () => {
  const place = join(lab.directory, 'none')
  const argv = [
    'nsenter',
    `--net=/run/netns/${lab.host}`,
    process.execPath,
    lab.cli,
    '--bpffs',
    place,
    'doctor',
    '--json',
  ]
  const found = await doctorBy(...argv)
  expect(level(found, 'bpffs.mount')).toBe('fail')
  execFileSync('sh', ['-c', found.get('bpffs.mount')?.fix ?? 'false'])
  try {
    expect(level(await doctorBy(...argv), 'bpffs.mount')).toBe('ok')
  } finally {
    execFileSync('umount', [place])
  }
})

test('reports that `ip netns exec` hides the bpffs', async () => {
  const found = await doctorBy('ip', 'netns', 'exec', lab.host, process.execPath, lab.cli, 'doctor', '--json')
  expect(found.get('bpffs.mount')).toMatchObject({
    level: 'fail',
    fix: `nsenter --net=/run/netns/${lab.host} xdp doctor`,
  })
  expect(level(found, 'interface.eth0.link')).toBe('ok')
})

test('without capabilities still runs the checks that need none', async () => {
  const [nsenter, net, ...rest] = lab.argv('doctor', '--json')
  const drop = ['setpriv', '--bounding-set', '-all', '--inh-caps', '-all']
  const found = await doctorBy(...([nsenter, net] as string[]), ...drop, ...rest)
  expect(level(found, 'permission')).toBe('fail')
  expect(['kernel.verifier', 'instance.state'].map((id) => level(found, id))).toEqual(['warn', 'warn'])
  expect(['interface.eth0.link', 'interface.eth0.native', 'tools.bpftool'].map((id) => level(found, id))).toEqual([
    'ok',
    'ok',
    'ok',
  ])
})

test('without bpftool and ethtool still runs the checks that need neither', async () => {
  // In a separate mount namespace that hides the two programs.
  const hide = 'for tool in bpftool ethtool; do mount --bind /dev/null "$(command -v $tool)"; done; exec "$@"'
  const path = `PATH=${process.env['PATH']}:/usr/sbin:/sbin`
  const found = await doctorBy(
    'env',
    path,
    'unshare',
    '--mount',
    'sh',
    '-c',
    hide,
    'sh',
    ...lab.argv('doctor', '--json'),
  )
  expect(found.get('tools.bpftool')).toMatchObject({
    level: 'fail',
    fix: expect.stringMatching(/ install |pacman|apk/),
  })
  expect(level(found, 'tools.ethtool')).toBe('warn')
  expect(level(found, 'kernel.verifier')).toBe('warn')
  expect(level(found, 'interface.eth0.native')).toBe('ok')
})
