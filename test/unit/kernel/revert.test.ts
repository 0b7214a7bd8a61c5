// The way back of an apply that is not confirmed, over a fake kernel: it restores everything that packets and later
// commands meet, from any step on, and may be repeated.

import { mkdirSync, rmSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Step } from '../../../src/features/step.ts'
import { execute, printSteps, runAside } from '../../../src/kernel/execute/execute.ts'
import { lowerConfirm } from '../../../src/kernel/execute/lower.ts'
import { readPending, removePending, removeReverted } from '../../../src/kernel/host/pending.ts'
import { observe } from '../../../src/kernel/observe/observe.ts'
import type { State } from '../../../src/model/state.ts'
import { refusePending, settlePending } from '../../../src/pipelines/confirm.ts'
import { usually } from '../../support/depth.ts'
import { refusal } from '../../support/fake-kernel.ts'
import { service } from '../../support/services.ts'
import { ANY, list, scoped, state } from '../../support/states.ts'
import { Lab } from '../../support/steps.ts'

// Records go to /run, which only root may write.
const isRoot = process.getuid?.() === 0
const ID = '0123abcd'
const COUNTERS = ['list_stats', 'verdict_stats', 'service_stats', 'backend_stats', 'health', 'flows', 'snat_ports']

const backends = (count: number): string[] => Array.from({ length: count }, (_, i) => `10.0.1.${i + 1}`)
const web = (count: number, pool: string[]) =>
  service('web', '192.0.2.10 80', { scheduler: 'random', backends: backends(count), snatPool: pool })

const BEFORE = state({
  policy: 'pass',
  interfaces: { eth0: ['native'], eth1: ['native'], eth4: ['native'] },
  lists: [
    list('blocklist', 'blocklist', scoped(ANY, '198.51.100.0/24')),
    list('blocklist', 'old', scoped(ANY, '203.0.113.7')),
  ],
  services: [web(3, ['192.0.2.20'])],
})

/** Another list, more backends; without eth1; with eth2 (generic), eth3 (foreign before), and eth4 in another mode. */
const AFTER = state({
  policy: 'drop',
  interfaces: { eth0: ['native'], eth2: ['native', 'generic'], eth3: ['native'], eth4: ['generic'] },
  lists: [
    list('blocklist', 'blocklist', scoped(ANY, '192.0.2.128/25')),
    list('allowlist', 'office', scoped(ANY, '203.0.113.9')),
  ],
  services: [web(70, ['192.0.2.20', '192.0.2.21'])],
})

let lab: Lab

beforeEach(() => {
  lab = new Lab()
  for (const [i, name] of ['eth0', 'eth1', 'eth3', 'eth4'].entries()) lab.kernel.addLink(name, i + 2)
  lab.kernel.addLink('eth2', 9, ['xdpdrv'])
  lab.kernel.addForeign('eth3')
})
afterEach(async () => {
  await removePending(lab.session.host)
  await removeReverted(lab.session.host)
  lab.close()
})

const refuse =
  (matches: (line: string) => boolean) =>
  (line: string): void => {
    if (matches(line)) throw refusal(16, 'Device or resource busy')
  }

const programs = (): unknown[] =>
  [...lab.kernel.links].map(([name, { programs }]) => [
    name,
    programs.map(({ mode, program }) => `${mode} ${program.label}`),
  ])

/** Applies AFTER over BEFORE, or over nothing, and returns the steps back as their record holds them. */
async function unconfirmed(before: State | undefined): Promise<{ readonly was: string; readonly back: Step[] }> {
  if (before) expect(await lab.apply(before)).toBe('ok')
  const was = lab.kernel.fingerprint(COUNTERS)
  expect(await lab.run(await lab.steps(AFTER, ID))).toBe('ok')
  const record = await readPending(lab.session.host, ID)
  return { was, back: record?.steps as Step[] }
}

describe.runIf(isRoot)('an apply that waits for its confirmation', () => {
  test('keeps the previous generation and foreign programs pinned, as no leftovers', async () => {
    await unconfirmed(BEFORE)
    const live = await observe(lab.session.paths, {})
    expect(live.pending).toEqual({ id: ID, generation: 2, previous: 1 })
    expect([live.generation, live.leftovers, [...live.drift]]).toEqual([2, [], []])
    expect(lab.kernel.pins()).toContain('xdp-as-code/lab/gen-1/policy')
    expect(lab.kernel.pins().some((pin) => pin.includes('/foreign-'))).toBe(true)
  })

  test('is confirmed by freeing these', async () => {
    await unconfirmed(BEFORE)
    const { host, paths } = lab.session
    const attached = programs()
    await execute(host, paths, lowerConfirm(paths, { id: ID, generation: 2, previous: 1 }, ['gen-1', 'foreign-4']))
    expect(programs()).toEqual(attached)
    const live = await observe(paths, {})
    expect([live.pending, live.generation, live.leftovers]).toEqual([undefined, 2, []])
    expect(lab.kernel.pins().filter((pin) => /gen-1|foreign/.test(pin))).toEqual([])
  })

  test.each([
    ['a policy', BEFORE],
    ['nothing', undefined],
  ])('goes back to %s exactly, and neither loads nor fills anything', async (_, before) => {
    const { was, back } = await unconfirmed(before)
    const commands: string[] = []
    lab.kernel.before = (line) => void commands.push(line)
    expect(await lab.run(back)).toBe('ok')
    expect(lab.kernel.fingerprint(COUNTERS)).toBe(was)
    expect(commands.filter((line) => /loadall|map create|table_write/.test(line))).toEqual([])
    const live = await observe(lab.session.paths, {})
    expect([live.pending, live.leftovers, [...live.drift]]).toEqual([undefined, [], []])
  })

  test('goes back after its process was killed at any step behind the start of the guardian', async () => {
    expect(await lab.apply(BEFORE)).toBe('ok')
    const was = programs()
    const steps = await lab.steps(AFTER, ID)
    const restore = lab.kernel.snapshot()
    const guard = steps.findIndex(({ kind }) => kind === 'guard')
    const points = [...steps.keys()].filter((i) => i > guard && steps[i]?.kind !== steps[i - 1]?.kind)
    expect(points.length).toBeGreaterThan(10)
    for (const killed of usually(points, { thoroughly: [...steps.keys()].filter((i) => i > guard) })) {
      await setImmediate()
      restore()
      rmSync(lab.session.paths.confirmation({ id: ID, generation: 2, previous: 1 }), { recursive: true, force: true })
      await runAside(lab.session.host, lab.session.paths, steps.slice(0, killed))
      const record = await readPending(lab.session.host, ID)
      const where = printSteps(steps.slice(killed, killed + 1))[0]
      expect(await lab.run(record?.steps as Step[]), where).toBe('ok')
      expect(programs(), where).toEqual(was)
      const live = await observe(lab.session.paths, {})
      expect([live.generation, live.pending, live.leftovers, [...live.drift]], where).toEqual([1, undefined, [], []])
    }
  })

  test('goes back from any step on after a kill, and by a repetition', async () => {
    const { was, back } = await unconfirmed(BEFORE)
    const restore = lab.kernel.snapshot()
    const marker = lab.session.paths.confirmation({ id: ID, generation: 2, previous: 1 })
    const firsts = [...back.keys()].filter((i) => back[i]?.kind !== back[i - 1]?.kind)
    for (const killed of usually(firsts, { thoroughly: [...back.keys()] })) {
      await setImmediate()
      restore()
      mkdirSync(marker, { recursive: true })
      await runAside(lab.session.host, lab.session.paths, back.slice(0, killed))
      // Every interface has a policy or its foreign program meanwhile, except the one that had none.
      const bare = programs().filter((one) => JSON.stringify(one).endsWith(',[]]'))
      expect(bare.map((one) => (one as [string])[0])).toEqual(
        back.slice(0, killed).some(({ kind }) => kind === 'revert') ? ['eth2'] : ['eth1'],
      )
      expect(await lab.run(back), printSteps(back.slice(killed, killed + 1))[0]).toBe('ok')
      expect(lab.kernel.fingerprint(COUNTERS)).toBe(was)
    }
  })

  test('leaves programs of others alone, and interfaces that are gone or were made again', async () => {
    const { back } = await unconfirmed(BEFORE)
    lab.kernel.steal('eth0')
    lab.kernel.links.delete('eth4')
    lab.kernel.addLink('eth4', 44)
    lab.kernel.links.delete('eth3')
    expect(await lab.run(back)).toBe('ok')
    expect(programs()).toEqual([
      ['eth0', ['xdpdrv foreign on eth0']],
      ['eth1', [expect.stringContaining('gen-1/programs/xdp_filter')]],
      ['eth2', []],
      ['eth4', []],
    ])
  })

  test('puts the other interfaces back if one refuses', async () => {
    const { back } = await unconfirmed(BEFORE)
    lab.kernel.before = refuse((line) => line.startsWith('net attach') && line.includes('dev eth0'))
    expect(await lab.run(back)).toBe('E111')
    expect(programs()).toContainEqual(['eth1', [expect.stringContaining('gen-1/programs/xdp_filter')]])
    lab.kernel.before = () => undefined
    expect(await lab.run(back)).toBe('ok')
    expect(programs()).toContainEqual(['eth0', [expect.stringContaining('gen-1/programs/xdp_filter')]])
  })

  test('that fails or is killed before its commit leaves no pending confirmation', async () => {
    expect(await lab.apply(BEFORE)).toBe('ok')
    const steps = await lab.steps(AFTER, ID)
    const was = lab.kernel.fingerprint(COUNTERS)
    lab.kernel.before = refuse((line) => line.startsWith('net attach'))
    expect(await lab.run(steps)).not.toBe('ok')
    expect([lab.kernel.fingerprint(COUNTERS), await readPending(lab.session.host, ID)]).toEqual([was, undefined])
    lab.kernel.before = () => undefined
    const guard = steps.findIndex(({ kind }) => kind === 'guard')
    await runAside(lab.session.host, lab.session.paths, steps.slice(0, guard + 1))
    const live = await observe(lab.session.paths, {})
    expect(live.pending).toBeUndefined()
    expect(live.leftovers).toContain(lab.session.paths.confirmation({ id: ID, generation: 2, previous: 1 }))
    expect(await readPending(lab.session.host, ID)).toBeDefined()
    expect(await settlePending(lab.session)).toBeUndefined()
    expect(await readPending(lab.session.host, ID), 'the record of the killed apply').toBeUndefined()
    expect(await lab.apply(AFTER)).toBe('ok')
    expect((await observe(lab.session.paths, {})).leftovers).toEqual([])
  })

  test('refuses another one, with and without a guardian; beyond the deadline the next one goes back first', async () => {
    const { was } = await unconfirmed(BEFORE)
    const pending = await settlePending(lab.session)
    expect(pending).toMatchObject({ id: ID, generation: 2, previous: 1, guarded: true })
    expect(() => refusePending(pending)).toThrow(/E230 the apply 0123abcd waits for its confirmation$/)
    lab.hasGuardian = false
    const orphan = await settlePending(lab.session)
    expect(() => refusePending(orphan)).toThrow(/E230 .* no guardian runs that would revert it/)
    await lab.expire(ID)
    expect(await settlePending(lab.session)).toBeUndefined()
    expect(lab.kernel.fingerprint(COUNTERS)).toBe(was)
    expect(await settlePending(lab.session)).toBeUndefined()
    refusePending(undefined)
  })

  test('cannot be reverted once its previous generation is gone, and says so', async () => {
    const { back } = await unconfirmed(BEFORE)
    rmSync(lab.session.paths.generation(1), { recursive: true })
    expect(await lab.run(back)).toBe('E111')
    expect(programs()).toContainEqual(['eth0', [expect.stringContaining('gen-2/programs/xdp_filter')]])
  })
})
