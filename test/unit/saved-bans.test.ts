// Bans on the disk: what is written is read again, and a damaged file is not used.

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  decodeSavedBans,
  encodeSavedBans,
  readSavedBans,
  type SavedBan,
  writeSavedBans,
} from '../../src/history/saved-bans.ts'
import { parseBanned } from '../../src/model/ban.ts'

const ban = (text: string, rest: Partial<SavedBan> = {}): SavedBan => {
  const prefix = parseBanned(text)
  if (!prefix) throw new Error(text)
  return { prefix, expires: undefined, by: '', reason: '', observe: false, ...rest }
}

const SAVED = {
  boot: 'a boot',
  bans: [
    ban('192.0.2.1', { expires: 1_800_000_000_000, by: 'fail2ban', reason: 'jail "sshd" ü' }),
    ban('2001:db8::/48', { observe: true }),
  ],
}

test('bans are read as they were written', () => {
  expect(decodeSavedBans(encodeSavedBans(SAVED))).toEqual(SAVED)
  expect(decodeSavedBans(encodeSavedBans({ boot: 'b', bans: [] }))).toEqual({ boot: 'b', bans: [] })
})

test('no file with a changed, missing or added byte behind its first line is used', () => {
  const whole = encodeSavedBans(SAVED)
  const first = whole.indexOf(0x0a) + 1
  fc.assert(
    fc.property(fc.integer({ min: first, max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] as number) ^ by
      expect(decodeSavedBans(changed)).toBeTypeOf('string')
      expect(decodeSavedBans(whole.subarray(0, at))).toBeTypeOf('string')
    }),
  )
  expect(decodeSavedBans(Buffer.concat([whole, Buffer.from('[]\n')]))).toBeTypeOf('string')
  expect(decodeSavedBans(Buffer.from('nonsense'))).toBe('it is damaged')
})

test('a file is written whole, and read only if no other user may have changed it', () => {
  const directory = mkdtempSync(join(tmpdir(), 'bans-'))
  try {
    const path = join(directory, 'a/b/default.jsonl')
    expect(readSavedBans(path)).toBeUndefined()
    writeSavedBans(path, SAVED)
    expect(readSavedBans(path)).toEqual(SAVED)
    chmodSync(path, 0o666)
    expect(readSavedBans(path)).toContain('can be written by others')
    chmodSync(path, 0o600)
    writeFileSync(path, readFileSync(path).subarray(3))
    expect(readSavedBans(path)).toBe('it is damaged')
  } finally {
    rmSync(directory, { recursive: true })
  }
})
