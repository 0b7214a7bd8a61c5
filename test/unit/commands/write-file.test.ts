// Directories for the files that commands write.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeDirectory } from '../../../src/commands/verbs/write-file.ts'

let root: string
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'xdp-write-'))
})
afterAll(() => rmSync(root, { recursive: true }))

test('a directory is made with its parents, and one that exists stays', () => {
  const path = join(root, 'a/b/c')
  makeDirectory(path)
  writeFileSync(join(path, 'kept'), '')
  makeDirectory(path)
  expect(existsSync(join(path, 'kept'))).toBe(true)
})

test('a file in the way, and a place where none can be made, are errors at once', () => {
  writeFileSync(join(root, 'file'), '')
  expect(() => makeDirectory(join(root, 'file'))).toThrow('EEXIST')
  expect(() => makeDirectory(join(root, 'file/below'))).toThrow('ENOTDIR')
  expect(() => makeDirectory('/proc/none')).toThrow('cannot write /proc/none: ENOENT')
  expect(() => makeDirectory('/proc/none/below')).toThrow('ENOENT')
})
