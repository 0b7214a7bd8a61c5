// Interfaces: two of them, one that is removed and comes back, one with a foreign program, one that lacks a mode.

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { lastApplyFile } from '../../src/kernel/host/last-apply.ts'
import { inDepth, inTurns, usually } from '../support/depth.ts'
import { ETH0, ETH1, Lab, NO_OBJECTS } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'

let lab: Lab

beforeEach(() => {
  lab = new Lab([ETH0, ETH1])
})
afterEach(() => lab.close())

const config = (interfaces: string, rest = 'blocklist: [192.0.2.2, 198.51.100.2]'): string =>
  `version: 1\ninterfaces:\n${interfaces}\n${rest}\n`

const attachedOn = (device: string): { id: number; mode: number }[] => {
  const [link] = JSON.parse(lab.in(lab.host, 'ip', '-j', '-d', 'link', 'show', 'dev', device)) as [
    { xdp?: { attached?: { mode: number; prog: { id: number } }[] } },
  ]
  return (link.xdp?.attached ?? []).map(({ mode, prog }) => ({ mode, id: prog.id }))
}

/** Attaches a foreign program. */
function attachForeign(device: string, type: 'xdpdrv' | 'xdpgeneric'): number {
  const object = buildObject(
    lab.directory,
    'xdp_pass',
    'SEC("xdp.frags") int foreign_pass(struct xdp_md *ctx) { return XDP_PASS; }',
  )
  const pin = `${lab.bpffs}/foreign`
  lab.in(lab.host, 'bpftool', 'prog', 'load', object, pin, 'type', 'xdp')
  lab.in(lab.host, 'bpftool', 'net', 'attach', type, 'pinned', pin, 'dev', device)
  return attachedOn(device)[0]?.id ?? 0
}

inTurns(
  'two interfaces share a policy and count separately; removing one from the file detaches only that one',
  async () => {
    lab.write('xdp.yaml', config('  eth0: { mode: native }\n  eth1: { mode: generic }'))
    await lab.ok('apply', '--auto-approve')
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    expect(await lab.ping('198.51.100.1', { source: '198.51.100.2', count: 3 })).toBe(0)
    const status = JSON.parse(await lab.ok('status', '--json'))
    expect(status.interfaces).toMatchObject([
      { name: 'eth0', mode: 'native', packets: { drop: 1 } },
      { name: 'eth1', mode: 'generic', packets: { drop: 3 } },
    ])
    lab.write('xdp.yaml', config('  eth0: { mode: native }'))
    expect(await lab.ok('plan')).toContain('- interface eth1')
    await lab.ok('apply', '--auto-approve')
    expect(attachedOn('eth1')).toEqual([])
    expect(await lab.ping('198.51.100.1', { source: '198.51.100.2' })).toBe(2)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
    await lab.ok('destroy', '--auto-approve')
  },
)

inTurns('an interface that was deleted and created again is drift, and the next apply filters it again', async () => {
  lab.write('xdp.yaml', config('  eth0: {}\n  eth1: { missing: skip }'))
  await lab.ok('apply', '--auto-approve')
  lab.unplug('eth1')
  expect(await lab.ok('plan')).toContain('eth1')
  lab.plug(ETH1)
  expect(await lab.ping('198.51.100.1', { source: '198.51.100.2' })).toBe(2)
  const plan = JSON.parse(await lab.ok('plan', '--json'))
  expect(plan.drift).toMatchObject([{ key: 'interface:eth1' }])
  expect(plan.changes).toMatchObject([{ op: 'create', kind: 'interface', key: 'interface:eth1', reason: 'drift' }])
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping('198.51.100.1', { source: '198.51.100.2', count: 1 })).toBe(0)
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
})

inTurns('a missing interface is an error that names existing ones; missing: skip leaves it out', async () => {
  lab.write('xdp.yaml', config('  eth0: {}\n  eth7: {}'))
  const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
  expect(exitCode).toBe(69)
  expect(stderr).toContain('xdp.yaml:4:3: error[E103 interface-missing]')
  await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
  lab.write('xdp.yaml', config('  eth0: {}\n  eth7: { missing: skip }'))
  await lab.ok('apply', '--auto-approve')
  expect(attachedOn('eth0')).toHaveLength(1)
})

inTurns('a program that was detached or replaced by hand is drift, and apply attaches ours again', async () => {
  lab.write('xdp.yaml', config('  eth0: {}'))
  await lab.ok('apply', '--auto-approve')
  lab.in(lab.host, 'bpftool', 'net', 'detach', 'xdpdrv', 'dev', 'eth0')
  const plan = await lab.ok('plan')
  expect(plan).toContain('! ')
  expect(plan).toContain('detached since the last apply')
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
})

inTurns('an entry written into the live tables by hand is drift, and apply removes it', async () => {
  lab.write('xdp.yaml', config('  eth0: {}', 'policy: { default: pass }\nblocklist: [203.0.113.9]'))
  await lab.ok('apply', '--auto-approve')
  const policy = `${lab.bpffs}/xdp-as-code/default/gen-1/policy`
  // Line 0 has the settings, with the default verdict in its flags (bytes 4 to 7).
  const [line] = [
    JSON.parse(lab.in(lab.host, 'bpftool', '-j', 'map', 'lookup', 'pinned', policy, 'key', '0', '0', '0', '0')),
  ] as [{ value: string[] }]
  const bytes = line.value.map((byte) => byte.slice(2))
  bytes[4] = '01'
  lab.in(lab.host, 'bpftool', 'map', 'update', 'pinned', policy, 'key', '0', '0', '0', '0', 'value', 'hex', ...bytes)
  expect(await lab.ping('192.0.2.1', { count: 1 })).toBe(0)
  const plan = JSON.parse(await lab.ok('plan', '--json'))
  expect(plan.drift).toMatchObject([{ key: 'policy' }])
  expect(plan.changes).toMatchObject([{ op: 'update', kind: 'policy', reason: 'drift' }])
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ping('192.0.2.1')).toBe(2)
})

const TYPES = usually(['xdpgeneric'] as const, { thoroughly: ['xdpdrv', 'xdpgeneric'] as const })

describe('a foreign program', () => {
  test.each(TYPES)('attached by %s makes apply fail without on_conflict: replace', async (type) => {
    const id = attachForeign('eth0', type)
    lab.write('xdp.yaml', config('  eth0: {}'))
    const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
    expect(exitCode).toBe(4)
    expect(stderr).toContain('E200 foreign-program')
    expect(stderr).toContain(`id ${id}`)
    expect(stderr).toContain('foreign_pass')
    expect(stderr).toContain('on_conflict: replace')
    expect(attachedOn('eth0')).toMatchObject([{ id }])
    await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
  })

  inTurns('needs CAP_SYS_ADMIN to be replaced, but not to be refused', async () => {
    const id = attachForeign('eth0', 'xdpdrv')
    const few = ['setpriv', '--bounding-set=-all,+bpf,+net_admin,+perfmon', '--inh-caps=-all']
    lab.write('xdp.yaml', config('  eth0: {}'))
    const refused = await lab.xdpWithin(few, 'apply', '--auto-approve')
    expect(refused).toMatchObject({ exitCode: 4, stderr: expect.stringContaining(`id ${id}`) })
    lab.write('xdp.yaml', config('  eth0: { on_conflict: replace }'))
    const replaced = await lab.xdpWithin(few, 'apply', '--auto-approve')
    expect(replaced).toMatchObject({ exitCode: 77, stderr: expect.stringContaining('needs CAP_SYS_ADMIN') })
    expect(attachedOn('eth0')).toMatchObject([{ id }])
    expect(lab.pins()).toEqual([])
  })

  test.each(TYPES)('attached by %s is replaced with on_conflict: replace', async (type) => {
    attachForeign('eth0', type)
    lab.write('xdp.yaml', config('  eth0: { on_conflict: replace }'))
    expect(await lab.ok('plan')).toContain(type === 'xdpdrv' ? 'hitless' : 'traffic-gap')
    await lab.ok('apply', '--auto-approve')
    expect(attachedOn('eth0')).toMatchObject([{ mode: 1 }])
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    await lab.ok('destroy', '--auto-approve')
    expect(attachedOn('eth0')).toEqual([])
  })
})

describe('an attach mode', () => {
  inTurns(
    'that the driver lacks is an error with the kernel’s words and a hint, and leaves nothing behind',
    async () => {
      lab.write('xdp.yaml', config('  eth0: {}\n  lo: { mode: native }'))
      const { exitCode, stderr } = await lab.xdp('apply', '--auto-approve')
      expect(exitCode).toBe(69)
      expect(stderr).toContain('E102 mode-unsupported')
      expect(stderr).toContain('Underlying driver does not support XDP in native mode')
      expect(stderr).toContain('mode: [native, generic]')
      expect(attachedOn('eth0')).toEqual([])
      await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
    },
  )

  inTurns('comes from a list tried in order, and plan and status show the live one', async () => {
    lab.write('xdp.yaml', config('  lo: { mode: [native, generic] }\n  eth0: { mode: [native, generic] }'))
    await lab.ok('apply', '--auto-approve')
    const status = JSON.parse(await lab.ok('status', '--json'))
    expect(status.interfaces).toMatchObject([
      { name: 'eth0', mode: 'native' },
      { name: 'lo', mode: 'generic' },
    ])
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  })

  inDepth('change is planned as a replacement with a traffic gap, and applied', async () => {
    lab.write('xdp.yaml', config('  eth0: { mode: generic }'))
    await lab.ok('apply', '--auto-approve')
    lab.write('xdp.yaml', config('  eth0: { mode: native }'))
    const plan = await lab.ok('plan')
    expect(plan).toContain('-/+ interface eth0')
    expect(plan).toContain('traffic-gap')
    await lab.ok('apply', '--auto-approve')
    expect(attachedOn('eth0')).toMatchObject([{ mode: 1 }])
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
  })

  inDepth('native works on a jumbo-MTU interface', async () => {
    lab.plug({ name: 'eth9', addresses: ['198.18.0.1/24'], peerAddresses: ['198.18.0.2/24'], mtu: 9000 })
    lab.write('xdp.yaml', config('  eth9: { mode: native }', 'blocklist: [198.18.0.2]'))
    await lab.ok('apply', '--auto-approve')
    expect(attachedOn('eth9')).toMatchObject([{ mode: 1 }])
    expect(await lab.ping('198.18.0.1', { count: 1 })).toBe(0)
  })
})

inTurns('a command from another network namespace is refused', async () => {
  lab.write('xdp.yaml', config('  eth0: {}'))
  await lab.ok('apply', '--auto-approve')
  const [, , node, cli, ...rest] = lab.argv('apply', '--auto-approve') as string[]
  const elsewhere = [`--net=/run/netns/${lab.peer}`, node as string, cli as string, ...rest]
  let failure: { status?: number; stderr?: string } = {}
  try {
    execFileSync('nsenter', elsewhere, { cwd: lab.directory, encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    failure = error as typeof failure
  }
  expect(failure.status).toBe(4)
  expect(failure.stderr).toContain('E201 wrong-namespace')
})

inTurns('destroy removes an instance once its network namespace has ended, and nothing else', async () => {
  lab.write('xdp.yaml', config('  eth0: {}'))
  await lab.ok('apply', '--auto-approve')
  const before = attachedOn('eth0')
  const netns = `${lab.host}x`
  execFileSync('ip', ['netns', 'add', netns])
  try {
    execFileSync('ip', ['-n', netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other'])
    const [, , ...words] = lab.argv('apply', '--instance', 'other', '--auto-approve')
    execFileSync('nsenter', [`--net=/run/netns/${netns}`, ...words], { cwd: lab.directory, stdio: 'pipe' })
    expect((await lab.xdp('destroy', '--instance', 'other', '--auto-approve')).stderr).toContain('E201')
  } finally {
    execFileSync('ip', ['netns', 'del', netns])
  }
  const destroy = ['destroy', '--instance', 'other', '--auto-approve'] as const
  // A command in a separate pid namespace cannot see the holders of a network namespace.
  const hidden = await lab.xdpWithin(['unshare', '--pid', '--fork', '--mount-proc'], ...destroy)
  expect([hidden.exitCode, hidden.stderr]).toEqual([4, expect.stringContaining('E201')])
  expect((await lab.xdp('apply', '--instance', 'other', '--auto-approve')).exitCode).toBe(4)
  // The kernel ends it after the command that deletes it.
  await expect.poll(async () => (await lab.xdp(...destroy)).exitCode).toBe(0)
  expect(existsSync(join(lab.bpffs, 'xdp-as-code/other'))).toBe(false)
  expect(attachedOn('eth0')).toEqual(before)
  expect(await lab.ok('plan')).toContain('No changes.')
})

inTurns('an interface may have the name of an option, beside one with control characters', async () => {
  const odd = 'x\u001b[2J'
  for (const name of ['-j', odd]) {
    lab.in(lab.host, 'ip', 'link', 'add', 'name', name, 'type', 'veth', 'peer', 'name', `p${name.charCodeAt(0)}`)
    lab.in(lab.host, 'ip', 'link', 'set', 'dev', name, 'up')
  }
  lab.write('xdp.yaml', config('  eth0: {}\n  "-j": {}'))
  await lab.ok('apply', '--auto-approve')
  expect(await lab.ok('plan')).toContain('No changes.')
  const doctor = (await lab.xdp('doctor')).stdout
  expect(doctor).toContain('interface.-j.link')
  expect(doctor).not.toContain('\u001b')
  // Its name is no JSON in the answers of ip that this test reads.
  lab.in(lab.host, 'ip', 'link', 'del', 'dev', odd)
  expect(attachedOn('-j')).toHaveLength(1)
  lab.write('xdp.yaml', config('  eth0: {}'))
  await lab.ok('apply', '--auto-approve')
  expect(attachedOn('-j')).toEqual([])
  await lab.ok('destroy', '--auto-approve')
})

describe('--wait-interfaces', () => {
  const argv = ['apply', '--auto-approve', '--wait-interfaces']

  inTurns('filters an interface as soon as it appears', async () => {
    lab.write('xdp.yaml', config('  eth0: {}\n  eth1: {}\n  eth2: { missing: skip }'))
    lab.unplug('eth1')
    const child = lab.start(...argv, '1m', '--json')
    const closed = once(child, 'close')
    const record = lastApplyFile({ bpffs: lab.bpffs, instance: 'default' })
    await expect.poll(() => existsSync(record)).toBe(true)
    lab.plug(ETH1)
    expect((await closed)[0]).toBe(0)
    expect(attachedOn('eth1')).toHaveLength(1)
    await lab.ok('destroy', '--auto-approve')
  })

  inTurns('fails with E103 and the time waited if it does not appear', async () => {
    lab.write('xdp.yaml', config('  eth0: {}\n  eth9: {}'))
    const { exitCode, stderr } = await lab.xdp(...argv, '200ms')
    expect(exitCode).toBe(69)
    expect(stderr).toMatch(/xdp\.yaml:4:\d+: error\[E103 .*eth9 does not exist, nor did it appear within 200ms/)
    expect(lab.pins()).toEqual([])
  })

  inTurns('stops waiting on a signal', async () => {
    lab.write('xdp.yaml', config('  eth9: {}'))
    const looks = join(lab.directory, 'looks')
    lab.tool('ip', `: > ${looks}\nexec /usr/sbin/ip "$@"\n`)
    const child = lab.start(...argv, '10m')
    const closed = once(child, 'close')
    const record = lastApplyFile({ bpffs: lab.bpffs, instance: 'default' })
    await expect.poll(() => existsSync(looks)).toBe(true)
    child.kill('SIGTERM')
    expect((await closed)[0]).toBe(1)
    lab.realTools()
    expect(JSON.parse(readFileSync(record, 'utf8'))).toMatchObject({ result: 'failed', error: { code: 'E112' } })
  })
})
