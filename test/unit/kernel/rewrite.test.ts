// Next hops that are rewritten in the live tables: which differences may be, the steps that an apply takes for them, and what
// packets meet after a failure or a kill at any of them.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HEADER_LINES } from '../../../src/abi/generated.ts'
import { execute } from '../../../src/kernel/execute/execute.ts'
import { observe } from '../../../src/kernel/observe/observe.ts'
import type { NextHop } from '../../../src/model/service.ts'
import { compileImage } from '../../../src/tables/image/image.ts'
import { rewriteOf } from '../../../src/tables/services/edit-hops.ts'
import { refusal } from '../../support/fake-kernel.ts'
import { backend, balancing, EGRESS, service } from '../../support/services.ts'
import { slotsFor } from '../../support/slots.ts'
import { ANY, list, scoped, state } from '../../support/states.ts'
import { Lab } from '../../support/steps.ts'

const isRoot = process.getuid?.() === 0

const META = { generation: 3, netns: 0n, objectDigest: new Uint8Array(16) }

/** The image of a service with two backends, the first of which has this next hop. */
function imageWith(nextHop: NextHop | undefined, more: { weight?: number; vip?: string } = {}) {
  const backends = [
    backend('10.0.1.1', { nextHop, weight: more.weight ?? 1 }),
    backend('10.0.1.2', { nextHop: EGRESS }),
  ]
  const wanted = balancing([{ ...service('web', more.vip ?? '192.0.2.10 80'), backends }])
  return compileImage({ state: wanted, slots: slotsFor(wanted), meta: META })
}

describe('the difference of two images', () => {
  const before = imageWith(EGRESS)
  const linesTo = (nextHop: NextHop | undefined, more = {}) => rewriteOf(imageWith(nextHop, more), before)

  test('may be rewritten for another MAC address, and for a backend that is lost or found', () => {
    for (const nextHop of [{ ...EGRESS, mac: '02005e100099' }, undefined]) {
      const image = imageWith(nextHop)
      const lines = (rewriteOf(image, before) ?? []).map(({ line }) => line)
      const within = (name: 'BACKENDS' | 'SERVICE_RECORDS', at: number): boolean =>
        at >= image.directory[name].first && at < image.directory[name].first + image.directory[name].lines
      const tables = lines.filter((line) => line >= HEADER_LINES)
      expect(tables.filter((line) => within('BACKENDS', line))).toHaveLength(1)
      expect(tables.filter((line) => within('SERVICE_RECORDS', line))).toHaveLength(1)
      expect(tables).toHaveLength(2)
      expect(rewriteOf(before, image)?.map(({ line }) => line)).toEqual(lines)
    }
    expect(linesTo(EGRESS)).toEqual([])
  })

  test('is not rewritten if packets could meet half of a change', () => {
    expect(linesTo({ ...EGRESS, ifindex: EGRESS.ifindex + 1 })).toBeUndefined()
    expect(linesTo({ ...EGRESS, sourceMac: '02005e100098' })).toBeUndefined()
    expect(linesTo({ ...EGRESS, vlan: 7 })).toBeUndefined()
    expect(linesTo({ ...EGRESS, mtu: 1300 })).toBeUndefined()
  })

  test('is not rewritten if more than next hops changed', () => {
    expect(linesTo({ ...EGRESS, mac: '02005e100099' }, { weight: 2 })).toBeUndefined()
    expect(linesTo({ ...EGRESS, mac: '02005e100099' }, { vip: '192.0.2.11 80' })).toBeUndefined()
  })
})

describe.runIf(isRoot)('an apply of next hops', () => {
  const POLICY = state({
    policy: 'pass',
    interfaces: { eth0: ['native'], eth1: ['native'] },
    lists: [list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24'))],
    services: [service('web', '192.0.2.10 80', { scheduler: 'random', backends: ['10.0.1.1', '10.0.1.2'] })],
  })
  let lab: Lab

  beforeEach(async () => {
    lab = new Lab()
    lab.kernel.addLink('eth0', 2)
    lab.kernel.addLink('eth1', 3)
    host('10.0.1.1', '02:00:5e:10:00:01')
    host('10.0.1.2', '02:00:5e:10:00:02')
    expect(await lab.apply(POLICY)).toBe('ok')
  })
  afterEach(() => lab.close())

  const host = (address: string, mac: string | undefined): void =>
    void lab.kernel.hosts.set(address, { device: 'eth1', mac })

  const macs = async (): Promise<(string | undefined)[]> => {
    const { state: live, drift } = await observe(lab.session.paths, {})
    expect([...drift]).toEqual([])
    return (live.services.get('web')?.backends ?? []).map(({ nextHop }) => nextHop?.mac)
  }

  test('writes the tables of the live programs, and loads nothing', async () => {
    const ids = lab.kernel.policies().map(([, policy]) => policy?.id)
    host('10.0.1.1', '02:00:5e:10:00:99')
    const steps = await lab.steps(POLICY)
    expect(steps.map(({ kind }) => kind)).toEqual(['rewrite', 'prove-tables', 'verify'])
    lab.kernel.journal.length = 0
    expect(await lab.run(steps)).toBe('ok')
    expect(lab.kernel.journal.filter((line) => !line.startsWith('prog run'))).toEqual([])
    expect(lab.kernel.policies().map(([, policy]) => policy?.id)).toEqual(ids)
    expect(await macs()).toEqual(['02005e100099', '02005e100002'])
    expect((await lab.lowering(POLICY)).plan.changes).toEqual([])
  })

  test('marks a service without any next hop as empty, and as in use again', async () => {
    host('10.0.1.1', undefined)
    expect(await lab.apply(POLICY)).toBe('ok')
    host('10.0.1.2', undefined)
    const steps = await lab.steps(POLICY)
    expect(steps.map(({ kind }) => kind)).toEqual(['rewrite', 'prove-tables', 'verify', 'claim-health'])
    expect(await lab.run(steps)).toBe('ok')
    expect(await macs()).toEqual([undefined, undefined])
    host('10.0.1.2', '02:00:5e:10:00:02')
    const back = await lab.steps(POLICY)
    expect(back.map(({ kind }) => kind)).toEqual(steps.map(({ kind }) => kind))
    expect(await lab.run(back)).toBe('ok')
    expect(await macs()).toEqual([undefined, '02005e100002'])
  })

  test('builds another generation for anything else', async () => {
    lab.kernel.hosts.set('10.0.1.1', { device: 'eth0', mac: '02:00:5e:10:00:01' })
    expect((await lab.steps(POLICY)).map(({ kind }) => kind)).toContain('make-generation')
    host('10.0.1.1', '02:00:5e:10:00:99')
    const edited = { ...POLICY, lists: new Map() }
    expect((await lab.steps(edited)).map(({ kind }) => kind)).toContain('make-generation')
  })

  test('restores the lines if a command fails, or the tables or verdicts are wrong', async () => {
    host('10.0.1.1', '02:00:5e:10:00:99')
    const steps = await lab.steps(POLICY)
    const { kernel } = lab
    const before = kernel.fingerprint()
    const commands: string[] = []
    kernel.before = (line) => void commands.push(line)
    const restore = kernel.snapshot()
    expect(await lab.run(steps)).toBe('ok')
    for (const failing of commands.keys()) {
      restore()
      kernel.count = 0
      kernel.before = (_, number) => {
        if (number === failing) throw refusal(5, 'Input/output error')
      }
      expect([await lab.run(steps), kernel.fingerprint()], commands[failing]).toEqual(['E101', before])
    }
    restore()
    kernel.before = () => undefined
    kernel.damageLines()
    // The lines that are written back are damaged too.
    expect(await lab.run(steps)).toBe('E108')
    kernel.damagesLines = false
    restore()
    for (const [frame, verdict] of kernel.verdicts) kernel.verdicts.set(frame, verdict === 1 ? 2 : 1)
    expect([await lab.run(steps), kernel.fingerprint()]).toEqual(['E108', before])
  })

  test('converges after a kill', async () => {
    host('10.0.1.1', '02:00:5e:10:00:99')
    const [rewrite] = await lab.steps(POLICY)
    if (rewrite?.kind !== 'rewrite') throw new Error('no rewrite')
    const { session } = lab
    // Killed between two lines: the header is written, the backend is not.
    const half = { ...rewrite, lines: rewrite.lines.slice(0, -1) }
    await execute(session.host, session.paths, [half])
    expect([...(await observe(session.paths, {})).drift.keys()]).not.toEqual([])
    expect(await lab.apply(POLICY)).toBe('ok')
    expect(await macs()).toEqual(['02005e100099', '02005e100002'])
  })
})
