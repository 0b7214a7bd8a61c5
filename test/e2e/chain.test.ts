// Programs of others behind ours: `on_conflict: chain`. The foreign program drops IPv6, ours what its lists say.

import { beforeEach, afterEach, describe, expect, test } from 'vitest'
import { inTurns } from '../support/depth.ts'
import { ETH0, ETH1, Lab, NO_OBJECTS } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'
import { judged } from '../support/traffic.ts'

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
    expect(change).toMatchObject({ op: 'create', impact: 'hitless', after: { chain: { id: theirs, name: 'no_ipv6', pin } } })
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
  })
  await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
})
