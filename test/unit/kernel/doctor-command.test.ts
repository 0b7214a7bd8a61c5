// Another program with the name of ours.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkCommand } from '../../../src/kernel/doctor/command.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-command-'))
  for (const name of ['ours', 'other', 'linked', 'empty', 'plain']) mkdirSync(join(folder, name))
  for (const name of ['ours', 'other', 'plain']) writeFileSync(join(folder, name, 'xdp'), '#!/bin/sh\n')
  for (const name of ['ours', 'other']) chmodSync(join(folder, name, 'xdp'), 0o755)
  symlinkSync(join(folder, 'ours/xdp'), join(folder, 'linked/xdp'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const judge = (...directories: readonly string[]) =>
  checkCommand(
    join(folder, 'ours/xdp'),
    directories.map((name) => (name === '' ? name : join(folder, name))).join(':'),
  ).map(({ level, message, fix }) => ({ level, message, fix }))

test('ours first in PATH is fine, by a link too; files that cannot run and relative directories do not count', () => {
  for (const path of [
    ['ours', 'other'],
    ['linked', 'other'],
    ['empty', 'plain', '', 'ours'],
  ]) {
    expect(judge(...path)).toMatchObject([{ level: 'ok' }])
  }
})

test('another program before ours is a warning that names both', () => {
  const [check] = judge('empty', 'other', 'ours')
  expect(check).toMatchObject({ level: 'warn' })
  for (const path of ['other/xdp', 'ours/xdp']) expect(check?.message).toContain(join(folder, path))
  expect(check?.fix).toContain(join(folder, 'other/xdp'))
})

test('a checkout that is not in PATH is not judged', () => {
  expect(judge('empty')).toEqual([])
  expect(checkCommand(undefined, join(folder, 'other'))).toEqual([])
})
