// The file of saved bans: which boot wrote it.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { encodeSavedBans, isSettled } from '../../../src/history/saved-bans.ts'
import { parse } from '../../support/bans.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-saved-bans-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const bans = ['192.0.2.1', '2001:db8::/48'].map((prefix) => {
  return { prefix: parse(prefix), expires: undefined, by: 'alice', reason: 'guesses', observe: false }
})

test('only a missing file and one of this boot hold nothing that is still to be restored', () => {
  const path = join(directory, 'bans.jsonl')
  expect(isSettled(path, 'this')).toBe(true)
  writeFileSync(path, encodeSavedBans({ boot: 'this', bans }))
  expect([isSettled(path, 'this'), isSettled(path, 'another')]).toEqual([true, false])
  for (const damaged of ['', 'damaged', 'null\n', '[]\n', '{}\n', `{"boot":"this"${' '.repeat(5000)}}\n`]) {
    writeFileSync(path, damaged)
    expect(isSettled(path, 'this'), damaged.slice(0, 20)).toBe(false)
  }
  const other = join(directory, 'link')
  symlinkSync(path, other)
  expect(isSettled(other, 'this')).toBe(false)
  mkdirSync(join(directory, 'directory'))
  expect(isSettled(join(directory, 'directory'), 'this')).toBe(false)
})
