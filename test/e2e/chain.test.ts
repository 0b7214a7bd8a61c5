// Programs of others behind ours: `on_conflict: chain`. The foreign program drops IPv6, ours what its lists say.

import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { inTurns, sample } from '../support/depth.ts'
import { ETH0, ETH1, Lab, NO_OBJECTS } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'
import { judged } from '../support/traffic.ts'
import { Watching } from '../support/watching.ts'

let lab: Lab

beforeEach(() => {
  lab = new Lab([ETH0, ETH1])
})
afterEach(() => lab.close())

type Type = 'xdpdrv' | 'xdpgeneric'

const attachedOn = (device: string): { id: number; mode: number }[] => {
  const [link] = JSON.parse(lab.in(lab.host, 'ip', '-j', '-d', 'link', 'show', 'dev', device)) as [
    { xdp?: { attached?: { mode: number; prog: { id: number } }[] } },
  ]
  return (link.xdp?.attached ?? []).map(({ mode, prog }) => ({ mode, id: prog.id }))
}

const idOn = (device: string): number => attachedOn(device)[0]?.id ?? 0

/** A program that drops packets of an ethertype, in network order, and passes the others. */
const dropping = (section: string, name: string, ethertype: number): string => `
  SEC("${section}") int ${name}(struct xdp_md *ctx) {
    unsigned short *frame = (void *)(long)ctx->data;
    return (void *)(frame + 7) <= (void *)(long)ctx->data_end && frame[6] == ${ethertype} ? XDP_DROP : XDP_PASS;
  }`

const IPV6 = 0xdd86
const ARP = 0x0608

/** Loads such a program and pins it. Returns its id. */
function loadForeign(pin: string, { section = 'xdp', name = 'no_ipv6', ethertype = IPV6 } = {}): number {
  const object = buildObject(lab.directory, name, dropping(section, name, ethertype))
  lab.in(lab.host, 'bpftool', 'prog', 'load', object, pin, 'type', 'xdp')
  return (JSON.parse(lab.in(lab.host, 'bpftool', '-j', 'prog', 'show', 'pinned', pin)) as { id: number }).id
}

const attachForeign = (device: string, pin: string, type: Type = 'xdpdrv'): string =>
  lab.in(lab.host, 'bpftool', 'net', 'attach', type, 'pinned', pin, 'dev', device, 'overwrite')

const config = (interfaces: string, rest = 'blocklist: [192.0.2.3]'): string =>
  `version: 1\ninterfaces:\n${interfaces}\n${rest}\n`

const EXAMPLE = fileURLToPath(new URL('../../examples/beside-another-program.yaml', import.meta.url))
const CHAINED = config('  eth0: { on_conflict: chain }')

const statusOf = async () => JSON.parse(await lab.ok('status', '--json'))
const planOf = async () => JSON.parse(await lab.ok('plan', '--json'))

test('both programs judge every packet through apply, edits, a removal from the file and destroy', async () => {
  const pin = `${lab.bpffs}/theirs`
  const theirs = loadForeign(pin)
  attachForeign('eth0', pin)
  await judged(lab, async () => {
    lab.write('xdp.yaml', CHAINED)
    const plan = await lab.ok('plan')
    expect(plan).toContain(`keeps program ${theirs} no_ipv6 (tag`)
    expect(plan).toContain(`pinned at ${pin}) running behind ours`)
    const [change] = (await planOf()).changes.filter(({ kind }: { kind: string }) => kind === 'interface')
    expect(change).toMatchObject({
      op: 'create',
      impact: 'hitless',
      after: { chain: { id: theirs, name: 'no_ipv6', pin } },
    })
    await lab.ok('apply', '--auto-approve')
    expect(idOn('eth0')).not.toBe(theirs)
    const status = await statusOf()
    expect(status.interfaces[0].chain).toMatchObject({ id: theirs, name: 'no_ipv6', pin })
    expect(status.interfaces[0].packets.pass).toBeGreaterThan(0)
    expect(await lab.ok('status')).toContain(`eth0: packets that pass go on to program ${theirs} no_ipv6`)
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(1)
    for (const blocked of ['192.0.2.9', '192.0.2.10']) {
      lab.write('xdp.yaml', config('  eth0: { on_conflict: chain }', `blocklist: [${blocked}]`))
      await lab.ok('apply', '--auto-approve')
    }
    lab.write('xdp.yaml', config('  eth1: {}'))
    expect(await lab.ok('plan')).toContain(`puts program ${theirs} no_ipv6`)
    await lab.ok('apply', '--auto-approve')
    expect(idOn('eth0')).toBe(theirs)
    lab.write('xdp.yaml', CHAINED)
    await lab.ok('apply', '--auto-approve')
    expect(idOn('eth0')).not.toBe(theirs)
    await lab.ok('destroy', '--auto-approve')
    expect(idOn('eth0')).toBe(theirs)
    await lab.ok('-f', EXAMPLE, 'apply', '--auto-approve', '--allow-insecure-permissions')
    expect((await statusOf()).interfaces[0].chain).toMatchObject({ id: theirs })
    await lab.ok('destroy', '--auto-approve')
  })
  expect(idOn('eth0')).toBe(theirs)
  await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
})

const v6Passes = (): Promise<number> => lab.ping('2001:db8::1', { count: 1, seconds: 0.3 })
const v4Passes = (source = '192.0.2.2'): Promise<number> => lab.ping('192.0.2.1', { source, count: 1, seconds: 0.3 })
const inSync = async (): Promise<void> => expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')

test('a program that its owner replaces is drift, and apply follows the owner; without its pin it stays', async () => {
  const pin = `${lab.bpffs}/theirs`
  const first = loadForeign(pin)
  attachForeign('eth0', pin)
  lab.write('xdp.yaml', CHAINED)
  await lab.ok('apply', '--auto-approve')

  // Attached over ours, as after a restart of its service.
  const other = `${lab.bpffs}/other`
  const second = loadForeign(other, { section: 'xdp.frags', name: 'no_arp', ethertype: ARP })
  attachForeign('eth0', other)
  const attached = await planOf()
  expect(attached.drift).toMatchObject([
    { key: 'interface:eth0', what: 'another program was attached in place of ours', by: [{ id: second }] },
  ])
  expect(attached.changes).toMatchObject([{ key: 'interface:eth0', reason: 'drift', after: { chain: { id: second } } }])
  await lab.ok('apply', '--auto-approve')
  expect([await v4Passes('192.0.2.3'), await v4Passes(), await v6Passes()]).toEqual([0, 1, 1])
  expect((await statusOf()).interfaces[0].chain).toMatchObject({ id: second, pin: other })

  // Another program at its pin.
  rmSync(other)
  const third = loadForeign(other)
  const replaced = await planOf()
  expect(replaced.drift[0].what).toBe(
    `program ${second} no_arp (tag ${replaced.changes[0].before.chain.tag}, pinned at ${other}) behind ours was replaced by its owner: the pin is now that of program ${third}`,
  )
  expect(await lab.ok('plan')).toContain(`ends program ${second} no_arp`)
  expect(await v6Passes()).toBe(1)
  await lab.ok('apply', '--auto-approve')
  expect([await v4Passes(), await v6Passes()]).toEqual([1, 0])
  await inSync()

  // Our map of programs without its pin: the kernel empties it.
  rmSync(`${lab.bpffs}/xdp-as-code/default/gen-${(await statusOf()).generation}/chain/programs`)
  expect(await v6Passes()).toBe(1)
  expect((await statusOf()).drifted[0].what).toContain('behind ours gets no packets')
  await lab.ok('apply', '--auto-approve')
  expect(await v6Passes()).toBe(0)
  await inSync()

  // xdp-filter removes its own pin when it finds another program on the interface.
  rmSync(other)
  expect((await planOf()).drift[0].what).toContain('was removed; it keeps running')
  expect(await lab.ok('plan')).toContain(`keeps program ${third} no_ipv6`)
  await lab.ok('apply', '--auto-approve')
  expect([await v4Passes('192.0.2.3'), await v6Passes()]).toEqual([0, 0])
  await inSync()
  await lab.ok('destroy', '--auto-approve')
  expect(idOn('eth0')).toBe(third)
  expect(first).not.toBe(third)
})

test('a program that cannot run behind ours is refused, and so is its end without a word', async () => {
  const refusal = async (code: string, exitCode: number): Promise<string> => {
    const before = [attachedOn('eth0'), attachedOn('eth1')]
    const output = await lab.xdp('apply', '--auto-approve')
    expect(output.exitCode, output.stderr).toBe(exitCode)
    expect(output.stderr).toContain(`error[${code} `)
    expect([attachedOn('eth0'), attachedOn('eth1')]).toEqual(before)
    expect((await statusOf()).leftovers).toEqual([])
    return output.stderr
  }
  const pin = `${lab.bpffs}/theirs`
  const theirs = loadForeign(pin)
  attachForeign('eth0', pin, 'xdpgeneric')
  lab.write('xdp.yaml', CHAINED)
  expect(await refusal('E255', 4)).toContain('write `mode: generic` under interfaces.eth0')
  lab.write('xdp.yaml', config('  eth0: { mode: generic }'))
  expect(await refusal('E200', 4)).toContain('`on_conflict: chain`')

  // Of two kinds: one map cannot hold both.
  const frags = `${lab.bpffs}/frags`
  const second = loadForeign(frags, { section: 'xdp.frags', name: 'no_arp', ethertype: ARP })
  attachForeign('eth1', frags)
  lab.write('xdp.yaml', config('  eth0: { mode: generic, on_conflict: chain }\n  eth1: { on_conflict: chain }'))
  expect(await refusal('E257', 69)).toContain(`not call program ${second} on eth1`)

  lab.write('xdp.yaml', config('  eth0: { mode: generic, on_conflict: chain }\n  eth1: { on_conflict: replace }'))
  await lab.ok('apply', '--auto-approve')
  expect([await v4Passes('192.0.2.3'), await v4Passes(), await v6Passes()]).toEqual([0, 1, 0])
  expect(attachedOn('eth0')).toMatchObject([{ mode: 2 }])
  lab.write('xdp.yaml', config('  eth0: { mode: generic }'))
  expect(await refusal('E256', 4)).toContain(`program ${theirs} no_ipv6`)
  lab.write('xdp.yaml', config('  eth0: { mode: generic, on_conflict: replace }'))
  expect(await lab.ok('plan')).toContain(`ends program ${theirs} no_ipv6`)
  await lab.ok('apply', '--auto-approve')
  expect([await v4Passes(), await v6Passes()]).toEqual([1, 1])
  await inSync()

  // A program of ours, but of another instance.
  lab.write('other.yaml', config('  eth1: { on_conflict: chain }'))
  await lab.ok('destroy', '--auto-approve')
  await lab.ok('-f', 'other.yaml', '--instance', 'first', 'apply', '--auto-approve')
  lab.write('xdp.yaml', config('  eth1: { on_conflict: chain }'))
  expect(await refusal('E255', 4)).toContain('of another --instance')
  await lab.ok('--instance', 'first', 'destroy', '--auto-approve')
})

/** A bpftool that kills the command line after its call number `last`. */
function killAfter(last: number): void {
  const count = `${lab.directory}/calls`
  writeFileSync(count, '0')
  lab.tool(
    'bpftool',
    `n=$(($(cat ${count}) + 1)); echo $n > ${count}
/usr/sbin/bpftool "$@"; status=$?
if [ $n -eq ${last} ]; then
  p=$PPID
  while [ "$(cat /proc/$p/comm)" != node ]; do p=$(cut -d' ' -f4 < /proc/$p/stat); done
  kill -9 $p
fi
exit $status
`,
  )
}

/** Runs a command that is killed after that call; whether it was. */
async function killed(last: number, ...argv: readonly string[]): Promise<boolean> {
  killAfter(last)
  const child = lab.start(...argv, '--auto-approve')
  const [, signal] = await once(child, 'close')
  const calls = Number(readFileSync(`${lab.directory}/calls`, 'utf8'))
  lab.realTools()
  return signal === 'SIGKILL' && calls >= last
}

/** More than an apply makes. */
const CALLS = Array.from({ length: 24 }, (_, i) => i + 1)

test('an apply or destroy killed after any command leaves their program in force, and the next one converges', async () => {
  const pin = `${lab.bpffs}/theirs`
  const theirs = loadForeign(pin)
  attachForeign('eth0', pin)
  lab.write('xdp.yaml', CHAINED)
  let kills = 0
  for (const last of sample(CALLS, 6)) {
    if (await killed(last, 'apply')) kills++
    expect(await v6Passes(), `after call ${last} of apply`).toBe(0)
    expect(await v4Passes()).toBe(1)
    await lab.ok('apply', '--auto-approve')
    expect([await v4Passes('192.0.2.3'), await v4Passes(), await v6Passes()]).toEqual([0, 1, 0])
    await inSync()
    expect(await statusOf()).toMatchObject({ leftovers: [], interfaces: [{ chain: { id: theirs } }] })
    if (await killed((last % 8) + 1, 'destroy')) kills++
    expect(await v6Passes(), `after call ${last} of destroy`).toBe(0)
    await lab.ok('destroy', '--auto-approve')
    expect(idOn('eth0')).toBe(theirs)
    expect(await v6Passes()).toBe(0)
    await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
  }
  expect(kills).toBeGreaterThan(0)
})

inTurns(
  'a daemon puts a program that is attached over ours behind it, and gives the interface back at its end',
  async () => {
    const pin = `${lab.bpffs}/theirs`
    const theirs = loadForeign(pin, { section: 'xdp.frags' })
    lab.write(
      'xdp.yaml',
      config('  eth0: { on_conflict: chain }', 'watch: { on_stop: detach }\nblocklist: [192.0.2.3]'),
    )
    const daemon = await Watching.ready(lab, '--debounce', '20ms')
    try {
      expect(await v6Passes()).toBe(1)
      attachForeign('eth0', pin)
      await daemon.hear('applied', ({ trigger }) => trigger === 'kernel')
      expect([await v4Passes('192.0.2.3'), await v4Passes(), await v6Passes()]).toEqual([0, 1, 0])
      lab.write(
        'xdp.yaml',
        config('  eth0: { on_conflict: chain }', 'watch: { on_stop: detach }\nblocklist: [192.0.2.2]'),
      )
      await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
      expect([await v4Passes('192.0.2.3'), await v4Passes(), await v6Passes()]).toEqual([1, 0, 0])
    } finally {
      await daemon.end()
    }
    expect(idOn('eth0')).toBe(theirs)
    expect(await v6Passes()).toBe(0)
  },
)

inTurns('an apply that is not confirmed gives back the chain that it ended', async () => {
  const pin = `${lab.bpffs}/theirs`
  const theirs = loadForeign(pin)
  attachForeign('eth0', pin)
  lab.write('xdp.yaml', CHAINED)
  await lab.ok('apply', '--auto-approve', '--confirm', '10m')
  await lab.ok('confirm', '--cancel')
  expect(idOn('eth0')).toBe(theirs)
  await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
  await lab.ok('apply', '--auto-approve')
  const ours = idOn('eth0')
  lab.write('xdp.yaml', config('  eth1: {}'))
  await lab.ok('apply', '--auto-approve', '--confirm', '10m')
  expect(idOn('eth0')).toBe(theirs)
  await lab.ok('confirm', '--cancel')
  expect(idOn('eth0')).toBe(ours)
  expect([await v4Passes('192.0.2.3'), await v4Passes(), await v6Passes()]).toEqual([0, 1, 0])
  lab.write('xdp.yaml', CHAINED)
  await inSync()
})
