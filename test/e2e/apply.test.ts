// The main task: a line in a file drops a packet, and nothing else changes.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { usually } from '../support/depth.ts'
import { Lab, NO_OBJECTS } from '../support/hosts.ts'

const POLICY = `version: 1
interfaces:
  eth0: { mode: MODE }
blocklist:
  - 192.0.2.2
  - { name: six, cidr: 2001:db8::2/128 }
`

/** The identities of all pins and of all programs on interfaces: a no-op apply changes none of them. */
const kernelObjects = (lab: Lab): unknown[] => [
  ...lab.pins().map((pin) => [pin, statSync(join(lab.bpffs, 'xdp-as-code', pin)).ino]),
  ...(JSON.parse(lab.in(lab.host, 'ip', '-j', 'link', 'show')) as { xdp?: unknown }[]).map(({ xdp }) => xdp),
]

describe.each(usually(['native'], { thoroughly: ['native', 'generic'] }))('in %s mode', (mode) => {
  let lab: Lab

  beforeAll(() => {
    lab = new Lab()
    lab.write('xdp.yaml', POLICY.replace('MODE', mode))
  })
  afterAll(() => lab.close())

  test('plan shows the objects to create and changes nothing', async () => {
    const { exitCode, stdout } = await lab.xdp('plan', '--detailed-exitcode')
    expect(stdout).toContain('+ interface eth0')
    expect(stdout).toContain('Plan: 5 to create, 0 to update, 0 to delete.')
    expect(exitCode).toBe(2)
    await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2' })).toBe(2)
  })

  test('apply drops exactly the listed sources, in both families', async () => {
    const result = JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))
    expect(result).toMatchObject({ format_version: '1.0', changed: true, verified: true, rolled_back: false })
    expect(result.probes.run).toBeGreaterThan(2)
    expect(result.probes.passed).toBe(result.probes.run)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.3' })).toBe(2)
    expect(await lab.ping('2001:db8::1', { source: '2001:db8::2', count: 1 })).toBe(0)
    expect(await lab.ping('2001:db8::1', { source: '2001:db8::3' })).toBe(2)
  })

  test('status shows the mode and counts every packet, but no test packets', async () => {
    const status = JSON.parse(await lab.ok('status', '--json'))
    const [eth0] = status.interfaces
    expect(eth0).toMatchObject({ name: 'eth0', mode })
    expect(eth0.packets.drop).toBe(2)
    expect(eth0.packets.pass).toBeGreaterThanOrEqual(4)
    expect(eth0.packets.aborted).toBe(0)
    expect(status.lists).toMatchObject([
      { name: 'blocklist', kind: 'blocklist', prefixes: 1, packets: 1, bytes: 98 },
      { name: 'six', kind: 'blocklist', prefixes: 1, packets: 1, bytes: 118 },
    ])
    expect(status.drift).toBe(false)
  })

  test('a second plan reads "No changes" and a second apply writes nothing', async () => {
    expect(await lab.ok('plan', '--detailed-exitcode')).toContain('No changes. Live XDP state matches xdp.yaml.')
    const objects = kernelObjects(lab)
    const result = JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))
    expect(result).toMatchObject({ changed: false, applied: [] })
    expect(kernelObjects(lab)).toEqual(objects)
  })

  test('why names the list, the prefix and the line, proven by a packet', async () => {
    const why = JSON.parse(await lab.ok('why', '192.0.2.2', '--json'))
    expect(why.live).toMatchObject({
      verdict: 'drop',
      reason: 'blocklist',
      list: 'blocklist',
      prefix: '192.0.2.2',
      proven: true,
    })
    expect(why.desired).toMatchObject({ verdict: 'drop', list: 'blocklist', at: 'xdp.yaml:5' })
    expect(JSON.parse(await lab.ok('why', '192.0.2.3', '--json')).live).toMatchObject({
      verdict: 'pass',
      reason: 'default-pass',
    })
  })

  test('an edit takes effect at once and keeps the counters', async () => {
    lab.write('xdp.yaml', POLICY.replace('MODE', mode).replace('192.0.2.2', '192.0.2.3'))
    const plan = JSON.parse(await lab.ok('plan', '--json'))
    expect(plan.changes).toHaveLength(1)
    expect(plan.changes[0]).toMatchObject({ op: 'update', impact: 'hitless', reason: 'config-changed' })
    expect(plan.summary).toMatchObject({ update: 1, prefixes_added: 1, prefixes_removed: 1 })
    await lab.ok('apply', '--auto-approve')
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2' })).toBe(2)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
    const status = JSON.parse(await lab.ok('status', '--json'))
    expect(status.lists[0]).toMatchObject({ name: 'blocklist', packets: 2 })
    expect(status.interfaces[0].packets.drop).toBe(3)
  })

  test('destroy removes all objects and lets everything pass', async () => {
    await lab.ok('destroy', '--auto-approve')
    await expect.poll(() => lab.objects()).toEqual(NO_OBJECTS)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.3' })).toBe(2)
    expect(JSON.parse(await lab.ok('status', '--json')).interfaces).toEqual([])
  })
})
