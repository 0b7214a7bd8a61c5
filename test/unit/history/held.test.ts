// The history as plan, boot and daemon ask it, on a host without pins, where no confirmation is pending.

import { beforeEach, describe, expect, test } from 'vitest'
import type { History } from '../../../src/history/history.ts'
import { openHistory } from '../../../src/history/store.ts'
import { operator, ownProcess, runs, unitIn } from '../../../src/kernel/host/operator.ts'
import type { Restored } from '../../../src/model/sources.ts'
import {
  filesOf,
  findEntry,
  findPrevious,
  readHeld,
  readRollback,
  refuseOverruled,
  refuseUnconfirmed,
} from '../../../src/pipelines/history.ts'
import type { Host } from '../../../src/pipelines/session.ts'
import type { EntryDraft } from '../../../src/report/history.ts'
import { writeFiles } from '../../support/config.ts'
import { digestOf, draft, source } from '../../support/history.ts'
import { desired, state } from '../../support/states.ts'

let history: History
let host: Host

beforeEach(() => {
  history = openHistory(`${writeFiles({})}/history`, process.geteuid?.() ?? 0)
  host = { bpffs: '/no/such/bpffs', instance: 'default', lockTimeoutMs: 0, history }
})

const remember = (text: string, rest: Partial<EntryDraft> = {}): number => {
  history.keep([source(text)])
  return history.add(draft(text, rest)) ?? 0
}

/** A config with this text; `restored`: from the history. */
const config = (text: string, restored?: Restored) => ({
  ...desired(state({})),
  config: { path: '/etc/xdp/xdp.yaml', sha256: digestOf(text) },
  restored,
})

const over = (...texts: readonly string[]): Restored['overrules'] => ({
  path: '/etc/xdp/xdp.yaml',
  sha256: texts.map(digestOf),
})
const rollback = (restores: number, ...texts: readonly string[]): Partial<EntryDraft> => ({
  action: 'rollback',
  restores,
  overrules: over(...texts),
})

describe('under the lock, the daemon', () => {
  test('may apply the file, unless a rollback came in between', async () => {
    remember('old')
    remember('new')
    await refuseOverruled(host, config('new'))
    remember('old', rollback(1, 'new'))
    await expect(refuseOverruled(host, config('new'))).rejects.toThrow('E239 the policy of apply 3 holds until')
    await refuseOverruled(host, config('edited'))
  })

  test('may repair the policy of a rollback, unless that is over or another one holds', async () => {
    remember('old')
    remember('new')
    const restored = { entry: remember('old', rollback(1, 'new')), overrules: over('new') }
    await refuseOverruled(host, config('old', restored))
    remember('older', rollback(1, 'new'))
    await expect(refuseOverruled(host, config('old', restored))).rejects.toThrow('E239 the policy of apply 4')
    remember('new')
    await expect(refuseOverruled(host, config('old', restored))).rejects.toThrow('E239 the rollback')
  })

  test('is free without a history', async () => {
    await refuseOverruled({ bpffs: '/no', instance: 'x', lockTimeoutMs: 0 }, config('new'))
    expect(await readHeld({ bpffs: '/no', instance: 'x', lockTimeoutMs: 0 }, config('new'))).toBeUndefined()
  })
})

describe('an apply that was not confirmed before the boot', () => {
  const unconfirmed = { result: 'pending', confirmation: '0123abcd' } as const

  test('is refused to the daemon if there was no policy before', async () => {
    remember('new', unconfirmed)
    await expect(refuseUnconfirmed(host, config('new'))).rejects.toThrow('E231 the apply 0123abcd')
    await refuseUnconfirmed(host, config('edited'))
    await expect(findPrevious(host)).rejects.toThrow('E235')
  })

  test('else gives way to the last accepted policy, for the daemon too', async () => {
    remember('old')
    remember('new', unconfirmed)
    await refuseUnconfirmed(host, config('new'))
    expect(await readHeld(host, config('new'))).toMatchObject({ why: 'unconfirmed', by: { number: 1 } })
    await expect(refuseOverruled(host, config('new'))).rejects.toThrow('E239 the policy of apply 1')
    await refuseOverruled(host, config('old', { entry: 1, overrules: over('new') }))
  })

  test('was confirmed if its generation is still there, although the history could not record that', async () => {
    const bpffs = writeFiles({ 'xdp-as-code/default/gen-7/policy': '' })
    remember('old')
    const number = remember('new', unconfirmed)
    history.settle(number, 'pending', 7)
    expect(await readHeld({ ...host, bpffs }, config('new'))).toBeUndefined()
    expect(await findPrevious({ ...host, bpffs })).toMatchObject({ number: 1 })
    history.settle(number, 'pending', 8)
    expect(await readHeld({ ...host, bpffs }, config('new'))).toMatchObject({ why: 'unconfirmed' })
  })

  test('is pending as long as its process runs, which makes the marker after the entry', async () => {
    remember('old')
    remember('new', { ...unconfirmed, writer: await ownProcess() })
    expect(await readHeld(host, config('new'))).toBeUndefined()
    await refuseOverruled(host, config('new'))
  })
})

test('an entry is found by its number, and its files by their paths', async () => {
  remember('old')
  remember('new')
  const bpffs = writeFiles({ 'xdp-as-code/default/gen-7/policy': '' })
  expect(await findPrevious({ ...host, bpffs })).toMatchObject({ number: 1 })
  // After a destroy or a boot, nothing is in force.
  expect(await findPrevious(host)).toMatchObject({ number: 2 })
  await expect(findEntry(host, 3)).rejects.toThrow('E235 the history has no apply 3: it has 1 to 2')
  await expect(findEntry({ bpffs: '/no', instance: 'x', lockTimeoutMs: 0 }, 1)).rejects.toThrow('E238')
  const files = filesOf(host, await findEntry(host, 1), () => undefined)
  expect(String(Buffer.from(files.read('/etc/xdp/xdp.yaml')?.bytes ?? ''))).toBe('old')
  expect(files.read('/etc/xdp/other.yaml')).toBeUndefined()
  expect(files.matches('/etc/*')).toEqual([])
})

test('a rollback is in force until an apply', async () => {
  remember('old')
  expect(await readRollback(host)).toBeUndefined()
  remember('older', rollback(1, 'old'))
  expect(await readRollback(host)).toMatchObject({ number: 2 })
  expect(await readHeld(host, config('old'))).toMatchObject({ why: 'rolled-back', by: { number: 2 } })
  remember('new')
  expect(await readRollback(host)).toBeUndefined()
})

describe('the operator', () => {
  test.each([
    ['0::/system.slice/xdp.service\n', 'xdp.service'],
    ['0::/user.slice/user-0.slice/session-3.scope\n', 'session-3.scope'],
    ['12:pids:/system.slice/ssh.service\n0::/system.slice/xdp-watch.service\n', 'xdp-watch.service'],
    ['0::/\n', undefined],
    ['', undefined],
  ])('%j runs in %s', (cgroup, unit) => {
    expect(unitIn(cgroup)).toBe(unit)
  })

  test('is known by user, and the process by its start, so that no later one with its pid is taken for it', async () => {
    expect(operator()).toMatchObject({ uid: process.geteuid?.() })
    const own = await ownProcess()
    expect(own.started).toBeGreaterThan(0)
    expect(await runs(own)).toBe(true)
    expect(await runs({ ...own, started: own.started - 1 })).toBe(false)
    expect(await runs({ ...own, pid_namespace: '1' })).toBe(false)
  })
})
