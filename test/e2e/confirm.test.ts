// Commit-confirm on a real kernel: an apply whose confirmation does not arrive is reverted, whatever happens to the
// process and the session that made it.

import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { EVERY_PIN, Lab, NO_OBJECTS } from '../support/hosts.ts'

const config = (blocked: string, more = ''): string => `version: 1
interfaces: { eth0: {} }
blocklist: [${blocked}]
${more}`

/** The senders of both policies: 192.0.2.2 is blocked before the apply, 192.0.2.3 after it. */
const OLD = config('192.0.2.2')
const NEW = config('192.0.2.3')

let lab: Lab

beforeEach(() => {
  lab = new Lab()
  lab.write('xdp.yaml', OLD)
})
afterEach(async () => {
  await lab.xdp('confirm')
  await lab.xdp('destroy', '--auto-approve')
  lab.close()
})

/** Answers to 192.0.2.2 and 192.0.2.3: [0, 1] under the old policy, [1, 0] under the new one. */
const answers = async (): Promise<number[]> =>
  Promise.all(['192.0.2.2', '192.0.2.3'].map((source) => lab.ping('192.0.2.1', { source, count: 1, seconds: 0.3 })))

const statusOf = async () => JSON.parse(await lab.ok('status', '--json'))
const PATIENCE = { timeout: 10_000, interval: 100 }

/** The previous policy is in force, and nothing is left of the new one. */
async function expectReverted(generation: number): Promise<void> {
  await expect.poll(async () => (await statusOf()).reverted?.reason, PATIENCE).toBe('deadline')
  expect(await answers()).toEqual([0, 1])
  expect(await statusOf()).toMatchObject({ generation, drift: false, leftovers: [], pending_confirmation: null })
  expect(lab.pins()).toHaveLength(EVERY_PIN)
}

async function begin(time = '2s'): Promise<{ readonly id: string; readonly guarded: boolean }> {
  await lab.ok('apply', '--auto-approve')
  lab.write('xdp.yaml', NEW)
  const { pending_confirmation: pending } = JSON.parse(
    await lab.ok('apply', '--auto-approve', '--confirm', time, '--json'),
  )
  expect(await answers()).toEqual([1, 0])
  return pending
}

test('the previous policy returns at the deadline, though the config is gone', async () => {
  const pending = await begin()
  expect(pending).toMatchObject({ generation: 2, previous: 1, guarded: true })
  rmSync(join(lab.directory, 'xdp.yaml'))
  await expectReverted(1)
})
