// Drift while the daemon runs: noticed by kernel events, not by polling. One daemon runs through all cases, with edited
// settings.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { SETTINGS_FLAG } from '../../src/abi/generated.ts'
import { SETTINGS_LINE } from '../../src/tables/layout/layout.ts'
import { ETH0, ETH1, Lab } from '../support/hosts.ts'
import { buildObject } from '../support/objects.ts'
import { Watching } from '../support/watching.ts'

let lab: Lab
let daemon: Watching
let edits = 0

/** A long resync interval, because a resync would notice drift too. */
const config = (settings = 'resync: 24h', interfaces = 'eth0: {}, eth1: { missing: skip }'): string =>
  `version: 1\ninterfaces: { ${interfaces} }\nwatch: { ${settings} }\nblocklist: [192.0.2.3, 198.51.100.2, 203.0.113.${edits}]\n`

/** An edit that also changes a list; resolves when it is in force. */
async function edit(settings?: string, interfaces?: string): Promise<void> {
  edits++
  lab.write('xdp.yaml', config(settings, interfaces))
  await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
}

const passes = (source = '192.0.2.3', target = '192.0.2.1'): Promise<number> =>
  lab.ping(target, { source, count: 1, seconds: 0.3 })
const status = async () => JSON.parse(await lab.ok('status', '--json'))

/** Attaches a foreign program to eth0, replacing any other. */
function attachForeign(): void {
  const pin = `${lab.bpffs}/foreign`
  if (!existsSync(pin)) {
    const body = 'SEC("xdp.frags") int foreign_pass(struct xdp_md *ctx) { return XDP_PASS; }'
    lab.in(lab.host, 'bpftool', 'prog', 'load', buildObject(lab.directory, 'foreign', body), pin, 'type', 'xdp')
  }
  lab.in(lab.host, 'bpftool', 'net', 'attach', 'xdpdrv', 'pinned', pin, 'dev', 'eth0', 'overwrite')
}

const detach = (): string => lab.in(lab.host, 'bpftool', 'net', 'detach', 'xdpdrv', 'dev', 'eth0')

beforeAll(async () => {
  lab = new Lab([ETH0])
  lab.write('xdp.yaml', config())
  daemon = await Watching.ready(lab, '--debounce', '20ms')
})
afterAll(async () => {
  await daemon?.end()
  lab.close()
})

test('filters an interface with `missing: skip` as soon as it appears, and after it is created again', async () => {
  for (const round of [1, 2]) {
    lab.plug(ETH1)
    const { changes } = await daemon.hear('applied', ({ trigger }) => trigger === 'kernel')
    expect({ round, changes }).toEqual({ round, changes: [{ op: 'create', key: 'interface:eth1' }] })
    expect(await passes('198.51.100.2', '198.51.100.1')).toBe(0)
    lab.unplug('eth1')
  }
})

test('reports a required interface that disappears, and filters it again when it is back', async () => {
  lab.unplug('eth0')
  await daemon.hear('refused', ({ errors }) => errors?.[0]?.code === 'E103')
  lab.plug(ETH0)
  await daemon.hear('recovered')
  expect([await passes(), await passes('192.0.2.2')]).toEqual([0, 1])
})

test('leaves a foreign program alone if a guard refuses, and filters after it is gone', async () => {
  attachForeign()
  const { errors } = await daemon.hear('refused')
  expect(errors?.[0]?.code).toBe('E200')
  expect((await status()).watch.errors).toMatchObject([{ code: 'E200' }])
  expect(await passes()).toBe(1)
  detach()
  await daemon.hear('recovered')
  expect(await passes()).toBe(0)
})

test('replaces a recurring foreign program at once, then after growing waits', async () => {
  await edit('resync: 24h', 'eth0: { on_conflict: replace }, eth1: { missing: skip }')
  const held = (): boolean => daemon.lines.some(({ event, action }) => event === 'drift' && action === 'hold')
  for (let round = 1; round <= 8 && !held(); round++) {
    attachForeign()
    await daemon.hear('applied', ({ trigger }) => trigger === 'kernel' || trigger === 'retry')
    expect(await passes()).toBe(0)
  }
  expect(held()).toBe(true)
  expect(daemon.lines.findLast(({ event }) => event === 'drift')).toMatchObject({
    drift: [{ key: 'interface:eth0', by: [{ name: 'foreign_pass', uid: 0 }] }],
  })
})

test('only reports drift with `on_drift: report`; the next edit repairs it', async () => {
  await edit('resync: 1s, on_drift: report')
  const before = daemon.count('drift')
  detach()
  expect(await daemon.hear('drift')).toMatchObject({ action: 'report' })
  const held = async (): Promise<number> => (await status()).watch.reconciles.held
  const first = await held()
  await expect.poll(held).toBeGreaterThan(first + 1)
  expect(daemon.count('drift')).toBe(before + 1)
  expect((await status()).watch.drift).toMatchObject([{ key: 'interface:eth0' }])
  expect(await passes()).toBe(1)
  await edit('resync: 1s, on_drift: repair')
  expect(await passes()).toBe(0)
  expect((await status()).watch.drift).toEqual([])
})

test('finds written tables at a resync, because they make no event', async () => {
  const { generation } = await status()
  const policy = join(lab.bpffs, `xdp-as-code/default/gen-${generation}/policy`)
  // The flags of the settings; the first one sets the default verdict to drop.
  const line = ['pinned', policy, 'key', ...Array.from(new Uint8Array(Uint32Array.of(SETTINGS_LINE).buffer), String)]
  const { value } = JSON.parse(lab.in(lab.host, 'bpftool', '-j', 'map', 'lookup', ...line)) as { value: string[] }
  const flags = String(Number(value[4]) ^ SETTINGS_FLAG.DEFAULT_DROP)
  lab.in(lab.host, 'bpftool', 'map', 'update', ...line, 'value', ...value.with(4, flags))
  await daemon.hear('applied', ({ trigger }) => trigger === 'resync')
  expect((await status()).drift).toBe(false)
  expect([await passes(), await passes('192.0.2.2')]).toEqual([0, 1])
})

test('an entry for the addresses of the host follows them', async () => {
  lab.write(
    'xdp.yaml',
    `${config()}  - { cidr: 192.0.2.2, protocol: icmp, destination: host }\n`.replace(/\[(.*)\]/, '\n  - cidrs: [$1]'),
  )
  await daemon.hear('applied', ({ trigger }) => trigger === 'edit')
  expect(await passes('192.0.2.2')).toBe(0)
  lab.in(lab.host, 'ip', 'addr', 'add', '192.0.2.77/32', 'dev', 'eth0')
  const { changes } = await daemon.hear('applied', ({ trigger }) => trigger === 'addresses')
  expect(changes).toHaveLength(1)
  expect(await passes('192.0.2.2', '192.0.2.77')).toBe(0)
  lab.in(lab.host, 'ip', 'addr', 'del', '192.0.2.77/32', 'dev', 'eth0')
  await daemon.hear('applied', ({ trigger }) => trigger === 'addresses')
  expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes.')
})
