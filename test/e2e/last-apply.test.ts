// Every apply writes a record, and status shows a failed one.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { Ajv } from 'ajv'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lastApplyFile } from '../../src/kernel/host/last-apply.ts'
import { Lab } from '../support/hosts.ts'
import { readSchema } from '../support/schemas.ts'

const GOOD = 'version: 1\ninterfaces: { eth0: { mode: generic } }\nblocklist: [192.0.2.66]\n'
const BAD = 'version: 1\ninterfaces: { eth0: { mode: generic } }\nblocklist:\n  - 10.0.0.1/24\n'
const SCHEMA = readSchema('status')
const describes = new Ajv({ allowUnionTypes: true }).compile({
  ...SCHEMA.definitions?.['last_apply'],
  definitions: SCHEMA.definitions,
})

let lab: Lab
beforeAll(() => {
  lab = new Lab()
})
afterAll(() => lab.close())

const file = (instance = 'default'): string => lastApplyFile({ bpffs: lab.bpffs, instance })

function record(instance?: string) {
  const read = JSON.parse(readFileSync(file(instance), 'utf8'))
  expect(describes(read) ? [] : describes.errors).toEqual([])
  return read
}

const lastApply = async () => JSON.parse(await lab.ok('status', '--json')).last_apply

test('records a missing config, and a missing terminal', async () => {
  expect((await lab.xdp('apply', '--auto-approve')).exitCode).toBe(66)
  expect(record()).toMatchObject({ exit_status: 66, config: { path: null, sha256: null }, error: { code: 'E001' } })
  lab.write('xdp.yaml', GOOD)
  expect((await lab.xdp('apply')).exitCode).toBe(64)
  expect(record()).toMatchObject({ result: 'failed', exit_status: 64, error: { code: 'E300' } })
})

test('records a mistake in the config with its place, and status shows it', async () => {
  const path = lab.write('xdp.yaml', BAD)
  expect((await lab.xdp('apply', '--auto-approve')).exitCode).toBe(78)
  expect(record()).toMatchObject({ result: 'failed', exit_status: 78, config: { path, sha256: null } })
  expect(record().error).toMatchObject({ code: 'E021', at: { file: path, line: 4, column: 5 } })
  const text = await lab.ok('status')
  expect(text).toMatch(/^Nothing is applied/)
  expect(text).toContain('! The last apply failed at ')
  expect(text).toContain(`${path}:4:5: error[E021 host-bits]`)
})

test('records applied changes, and an apply without changes', async () => {
  const path = lab.write('xdp.yaml', GOOD)
  const applied = JSON.parse(await lab.ok('apply', '--auto-approve', '--json'))
  const first = record()
  expect(first).toMatchObject({ result: 'applied', exit_status: 0, error: null, changes: applied.applied })
  expect(first.config).toEqual({ path, sha256: createHash('sha256').update(GOOD).digest('hex') })
  expect(Date.parse(first.finished_at)).toBeGreaterThanOrEqual(Date.parse(first.started_at))
  await lab.ok('apply')
  expect(record()).toMatchObject({ result: 'unchanged', exit_status: 0, changes: [] })
  expect(await lab.ok('status')).not.toContain('last apply')
})

test('records a refusal, per instance', async () => {
  expect((await lab.xdp('apply', '--auto-approve', '--instance', 'other')).exitCode).toBe(4)
  try {
    expect(record('other')).toMatchObject({ result: 'refused', exit_status: 4, instance: 'other' })
    expect(record()).toMatchObject({ result: 'unchanged', instance: 'default' })
  } finally {
    rmSync(file('other'))
  }
})

test('status reports a killed apply', async () => {
  rmSync(file())
  const child = lab.start('apply', '--auto-approve')
  const closed = once(child, 'close')
  await expect.poll(() => existsSync(file()), { interval: 5 }).toBe(true)
  child.kill('SIGKILL')
  await closed
  expect(record()).toMatchObject({ result: 'running', exit_status: null, finished_at: null })
  expect(await lastApply()).toMatchObject({ result: 'killed' })
})

test('apply succeeds without a writable record, and status without a readable one', async () => {
  rmSync(file())
  mkdirSync(file())
  await lab.ok('apply', '--auto-approve')
  expect(await lastApply()).toBeNull()
  rmSync(file(), { recursive: true })
})

test('destroy removes the record', async () => {
  await lab.ok('apply', '--auto-approve')
  expect(existsSync(file())).toBe(true)
  await lab.ok('destroy', '--auto-approve')
  expect(existsSync(file())).toBe(false)
})
