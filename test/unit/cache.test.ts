// The cache returns exactly the stored content, and reports any damage once, without harm.

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Cache, openCache } from '../../src/cache/cache.ts'
import { packRecord, unpackRecord } from '../../src/cache/record.ts'
import { writeFiles } from '../support/config.ts'

const UID = process.getuid?.() ?? 0
const isRoot = UID === 0
const CONTENT = Buffer.from('some content, and more of it')

let path: string
const open = (): Cache => openCache(path, UID)

beforeEach(() => {
  path = join(writeFiles({}), 'deep/cache')
})

function store(name = 'one', content: Uint8Array = CONTENT): void {
  const cache = open()
  cache.write(name, [content.subarray(0, 5), new Uint8Array(0), content.subarray(5)])
  expect(cache.problem).toBeUndefined()
}

test('other instances find stored content, also after it was replaced', () => {
  const cache = open()
  expect(cache.read('one')).toBeUndefined()
  expect(existsSync(path)).toBe(false)
  store()
  expect(cache.read('one')).toEqual(CONTENT)
  expect(cache.read('two')).toBeUndefined()
  store('one', Buffer.from('else'))
  expect(open().read('one')).toEqual(Buffer.from('else'))
  expect(cache.problem).toBeUndefined()
  expect(readdirSync(path)).toEqual(['one'])
})

test('only the owner can access directory and files', () => {
  store()
  expect(lstatSync(path).mode & 0o777).toBe(0o700)
  expect(lstatSync(join(path, 'one')).mode & 0o777).toBe(0o600)
})

test('content is aligned for columns of numbers', () => {
  const columns = [Uint32Array.of(1, 2, 3), new Uint32Array(0), Uint32Array.of(4)]
  open().write('one', packRecord({ text: 'ü' }, columns))
  const bytes = open().read('one') as Buffer
  expect(bytes.byteOffset % 8).toBe(0)
  expect(unpackRecord(bytes)).toEqual({ facts: { text: 'ü' }, columns })
})

describe('ignores, reports and replaces a file if', () => {
  const cases: Readonly<Record<string, (file: string) => void>> = {
    'a byte changed': (file) => {
      const bytes = readFileSync(file)
      bytes[70] = (bytes[70] as number) ^ 1
      writeFileSync(file, bytes)
    },
    'its header changed': (file) => {
      const bytes = readFileSync(file)
      bytes[3] = (bytes[3] as number) ^ 1
      writeFileSync(file, bytes)
    },
    'it was truncated': (file) => truncateSync(file, 80),
    'it is empty': (file) => truncateSync(file, 0),
    'it was extended': (file) => writeFileSync(file, Buffer.concat([readFileSync(file), CONTENT])),
    'others can write it': (file) => chmodSync(file, 0o622),
    'it is a link': (file) => {
      writeFileSync(`${file}-other`, readFileSync(file), { mode: 0o600 })
      rmSync(file)
      symlinkSync(`${file}-other`, file)
    },
    'it is a FIFO': (file) => {
      rmSync(file)
      execFileSync('mkfifo', ['-m', '600', file])
    },
  }
  test.each(Object.entries(cases))('%s', (_, damage) => {
    store()
    damage(join(path, 'one'))
    const cache = open()
    expect(cache.read('one')).toBeUndefined()
    expect(cache.problem).toContain(join(path, 'one'))
    cache.write('one', [CONTENT])
    expect(open().read('one')).toEqual(CONTENT)
  })

  test.runIf(isRoot)('another user owns it', () => {
    store()
    chownSync(join(path, 'one'), 65534, 65534)
    const cache = open()
    expect(cache.read('one')).toBeUndefined()
    expect(cache.problem).toContain('belongs to user 65534')
  })
})

describe('does not use a directory if', () => {
  const cases: Readonly<Record<string, () => void>> = {
    'others can write it': () => {
      mkdirSync(path, { recursive: true })
      chmodSync(path, 0o777)
    },
    'it is a file': () => {
      mkdirSync(join(path, '..'), { recursive: true })
      writeFileSync(path, '')
    },
    'it is a link': () => {
      mkdirSync(join(path, '../real'), { recursive: true, mode: 0o700 })
      symlinkSync('real', path)
    },
    ...(isRoot && {
      'another user owns it': () => {
        mkdirSync(path, { recursive: true, mode: 0o700 })
        chownSync(path, 65534, 65534)
      },
    }),
  }
  test.each(Object.entries(cases))('%s', (_, make) => {
    make()
    const before = lstatSync(path).mode
    const cache = open()
    cache.write('one', [CONTENT])
    cache.write('two', [CONTENT])
    expect(cache.read('one')).toBeUndefined()
    expect(cache.problem).toContain(path)
    expect(lstatSync(path).mode).toBe(before)
    if (lstatSync(path).isDirectory()) expect(readdirSync(path)).toEqual([])
  })
})

test('reports a directory that cannot be created, and does not fail', () => {
  const cache = openCache('/proc/self/cache', UID)
  cache.write('one', [CONTENT])
  expect(cache.read('one')).toBeUndefined()
  expect(cache.problem).toContain('/proc/self/cache')
})

/** Mounts a file system of `size` on the path for the rest of the test. */
function mountSmall(size: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', path])
  onTestFinished(() => void execFileSync('umount', [path]))
}

test.runIf(isRoot)('on a full disk keeps the old content, leaves no partial file, and reports the problem', () => {
  mountSmall('64k')
  store()
  const cache = open()
  cache.write('two', [Buffer.alloc(100_000, 1)])
  cache.write('one', [Buffer.alloc(100_000, 1)])
  expect(cache.problem).toContain('ENOSPC')
  expect(open().read('one')).toEqual(CONTENT)
  expect(readdirSync(path)).toEqual(['one'])
})

test('removes files unread for weeks, and partial files of killed processes', () => {
  store('old')
  store('used')
  writeFileSync(join(path, 'old.0123.part'), 'half', { mode: 0o600 })
  writeFileSync(join(path, 'new.4567.part'), 'half', { mode: 0o600 })
  const ago = (days: number): number => Date.now() / 1000 - days * 86_400
  utimesSync(join(path, 'old'), ago(15), ago(15))
  utimesSync(join(path, 'used'), ago(13), ago(13))
  utimesSync(join(path, 'old.0123.part'), ago(1), ago(1))
  store('new')
  expect(readdirSync(path).sort()).toEqual(['new', 'new.4567.part', 'used'])
  // Reading renews the file.
  expect(open().read('used')).toEqual(CONTENT)
  expect(lstatSync(join(path, 'used')).mtimeMs / 1000).toBeGreaterThan(ago(1))
})

test('stays below its size limit: the files unused for the longest time make room', () => {
  for (const [number, name] of ['a', 'b', 'c', 'd'].entries()) {
    store(name)
    // Sparse: they have this size and no content.
    truncateSync(join(path, name), 250 * 1024 * 1024)
    const at = Date.now() / 1000 - 4000 + number
    utimesSync(join(path, name), at, at)
  }
  store('e')
  expect(readdirSync(path).sort()).toEqual(['b', 'c', 'd', 'e'])
})

test('unpackRecord returns undefined for other bytes', () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(8), Uint8Array.of(255, 255, 0, 0, 0, 0, 0, 0, 1)]) {
    expect(unpackRecord(bytes)).toBeUndefined()
  }
  const whole = Buffer.concat(packRecord({}, [Uint32Array.of(1, 2, 3, 4)]))
  expect(unpackRecord(new Uint8Array(whole.subarray(0, whole.length - 8)))).toBeUndefined()
})
