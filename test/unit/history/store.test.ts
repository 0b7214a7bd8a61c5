// The history on the disk: what is stored is found again, within its bounds, and no fault or sudden end does harm.

import { execFileSync } from 'node:child_process'
import fs, { chmodSync, existsSync, lstatSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { decodeEntry, encodeEntry } from '../../../src/history/entry.ts'
import { type History, isDamaged, warningOf } from '../../../src/history/history.ts'
import { historyDirectory } from '../../../src/history/place.ts'
import { BOUNDS, openHistory } from '../../../src/history/store.ts'
import { writeFiles } from '../../support/config.ts'
import { digestOf, draft, entry, listSource, source } from '../../support/history.ts'

const UID = process.getuid?.() ?? 0
const isRoot = UID === 0

let path: string
const open = (bounds = BOUNDS): History => openHistory(path, UID, bounds)

beforeEach(() => {
  path = join(writeFiles({}), 'lib/xdp/history/default')
})

/** Remembers an apply of the config with this text. */
function remember(text: string, history = open(), rest: Parameters<typeof draft>[1] = {}): number | undefined {
  history.keep([source(text)])
  return history.add(draft(text, rest))
}

/** `[number, text of the config]` of each entry, newest first. */
const stored = (history = open()): unknown[][] =>
  history
    .entries()
    .map((one) =>
      isDamaged(one)
        ? [one.number, 'damaged']
        : [one.number, String(Buffer.from(history.content(one.config.sha256) ?? 'lost'))],
    )

test('is empty and makes nothing before the first apply', () => {
  expect(open().entries()).toEqual([])
  expect(existsSync(path)).toBe(false)
})

test('another process finds each entry with its config, newest first, and only the owner may', () => {
  expect(['a', 'b', 'a'].map((text) => remember(text))).toEqual([1, 2, 3])
  expect(stored()).toEqual([
    [3, 'a'],
    [2, 'b'],
    [1, 'a'],
  ])
  expect(readdirSync(join(path, 'contents')).sort()).toEqual([digestOf('a'), digestOf('b')].sort())
  for (const folder of [path, dirname(path), join(path, 'contents')]) expect(lstatSync(folder).mode & 0o777).toBe(0o700)
  for (const file of [join(path, '1.json'), join(path, 'contents', digestOf('a'))])
    expect(lstatSync(file).mode & 0o777).toBe(0o600)
})

test('records a result, and forgets an apply that changed nothing', () => {
  remember('a')
  const history = open()
  history.settle(remember('b', history, { result: 'pending', confirmation: '0123abcd' }) ?? 0, 'confirmed', 7)
  history.remove(remember('c', history) ?? 0)
  expect(open().entries()).toMatchObject([{ number: 2, result: 'confirmed', generation: 7 }, { number: 1 }])
  expect(history.problem).toBeUndefined()
})

test('an entry survives its text, and no other text is one', () => {
  const one = entry(4, 'a', { restores: 2, overrules: { path: '/a', sha256: [digestOf('b')] }, confirmation: 'x' })
  const text = encodeEntry(one as never)
  expect(decodeEntry(text, 4)).toEqual(one)
  expect(decodeEntry(text, 5)).toBeUndefined()
  expect(decodeEntry(text.replace('"format":1', '"format":2'), 4)).toBeUndefined()
  fc.assert(
    fc.property(fc.nat(text.length - 2), fc.string({ maxLength: 3 }), (at, other) => {
      const cut = decodeEntry(text.slice(0, at), 4)
      const edited = decodeEntry(text.slice(0, at) + other + text.slice(at + 1), 4)
      // An edit of a text within stays a text; anything else must not be taken for an entry.
      return cut === undefined && (edited === undefined || typeof edited.config.path === 'string')
    }),
  )
})

describe('bounds', () => {
  test('ten entries stay, and the last accepted one, and contents of no other', () => {
    remember('good')
    for (let i = 0; i < 12; i++) remember(`bad ${i}`, open(), { result: 'pending', confirmation: `${i}` })
    expect(stored().map(([number]) => number)).toEqual([13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 1])
    expect(readdirSync(join(path, 'contents'))).toHaveLength(11)
  })

  test('applies that fail over and over push out neither the policy in force nor the one before', () => {
    for (const text of ['older', 'before', 'now', 'now']) remember(text)
    for (let i = 0; i < 12; i++) remember('bad', open(), { result: 'failed' })
    expect(stored().slice(-2)).toEqual([
      [4, 'now'],
      [2, 'before'],
    ])
    expect(stored()).toHaveLength(12)
    for (const text of ['later', 'latest']) remember(text)
    expect(stored()).toHaveLength(10)
  })

  test('old entries go when the contents take too many bytes, but not the last two', () => {
    const bounds = { ...BOUNDS, bytes: 25 }
    for (const text of ['a'.repeat(10), 'b'.repeat(10), 'c'.repeat(10), 'd'.repeat(30)]) remember(text, open(bounds))
    expect(stored().map(([number]) => number)).toEqual([4, 3])
    expect(readdirSync(join(path, 'contents'))).toHaveLength(2)
  })

  test('other bounds hold from the next entry on', () => {
    for (let i = 0; i < 6; i++) remember(`policy ${i}`)
    const history = open()
    history.bound({ entries: 3, bytes: 2 ** 20 })
    remember('next', history)
    expect(stored().map(([number]) => number)).toEqual([7, 6, 5])
    history.bound({ entries: 10, bytes: 10 })
    remember('last', history)
    expect(stored().map(([number]) => number)).toEqual([8, 7])
  })

  test('a list is kept unless it is too long, or was edited since it was read', () => {
    const folder = writeFiles({ 'a.txt': '192.0.2.1\n', 'b.txt': '192.0.2.2\n', 'long.txt': '#'.repeat(100) })
    const files = ['a.txt', 'b.txt', 'long.txt'].map((name) => listSource(join(folder, name)))
    writeFileSync(join(folder, 'b.txt'), '192.0.2.3\n')
    const history = open({ ...BOUNDS, listBytes: 50 })
    history.keep(files)
    expect(files.map(({ sha256 }) => history.has(sha256))).toEqual([true, false, false])
    expect(history.problem).toBeUndefined()
    // The content is not read again: its name is its digest.
    rmSync(join(folder, 'a.txt'))
    history.add(draft('x', { files: files.map((one) => ({ ...one, kind: 'list' as const, text: undefined })) }))
    history.keep(files)
    expect(String(Buffer.from(history.content(files[0]?.sha256 ?? '') ?? ''))).toBe('192.0.2.1\n')
  })
})

describe('damage', () => {
  test('of an entry is reported for that entry alone', () => {
    remember('a')
    remember('b')
    writeFileSync(join(path, '1.json'), '{"format":1')
    expect(stored()).toEqual([
      [2, 'b'],
      [1, 'damaged'],
    ])
    expect(remember('c')).toBe(3)
  })

  test('of a content is found out, and mended by the next apply of it if its length shows it', () => {
    remember('abc')
    const content = join(path, 'contents', digestOf('abc'))
    writeFileSync(content, 'abd')
    expect(open().content(digestOf('abc'))).toBeUndefined()
    writeFileSync(content, '')
    remember('abc')
    expect(stored()[0]).toEqual([2, 'abc'])
  })

  test('files with other names are no entries', () => {
    remember('a')
    for (const name of ['0.json', '01.json', 'x.json', '2.json.part', '3']) writeFileSync(join(path, name), '{}')
    expect(stored()).toEqual([[1, 'a']])
  })

  test.runIf(isRoot)('a directory of another user, or open to others, is not used', () => {
    remember('a')
    chmodSync(path, 0o777)
    const history = open()
    expect([history.entries(), remember('b', history), history.problem]).toEqual([
      [],
      undefined,
      `${path} can be written by others`,
    ])
    expect(warningOf(history)).toMatchObject({ code: 'W246', hint: `ls -la ${path}` })
    chmodSync(path, 0o700)
    execFileSync('chown', ['1', path])
    const foreign = open()
    foreign.entries()
    expect(foreign.problem).toBe(`${path} belongs to user 1`)
  })

  test('neither a link nor a file in place of the directory, nor a link in place of an entry, is followed', () => {
    remember('a')
    symlinkSync('1.json', join(path, '2.json'))
    expect(stored()).toEqual([
      [2, 'damaged'],
      [1, 'a'],
    ])
    const elsewhere = join(dirname(path), 'other')
    symlinkSync(path, elsewhere)
    const linked = openHistory(elsewhere, UID)
    expect([linked.entries(), linked.problem]).toEqual([[], `${elsewhere} is not a directory`])
    const file = join(dirname(path), 'file')
    writeFileSync(file, '')
    const blocked = openHistory(file, UID)
    blocked.keep([source('a')])
    expect([blocked.add(draft('a')), blocked.problem]).toEqual([undefined, expect.stringContaining('ENOTDIR')])
  })

  test('a file system that refuses is a problem, and no exception', () => {
    const blocked = openHistory('/proc/xdp/history', UID)
    blocked.keep([source('a')])
    expect([blocked.add(draft('a')), blocked.problem]).toEqual([
      undefined,
      expect.stringContaining('/proc/xdp/history'),
    ])
    expect(() => blocked.settle(1, 'applied')).not.toThrow()
    expect(() => blocked.remove(1)).not.toThrow()
  })
})

describe('a process that is killed', () => {
  const CALLS = ['mkdirSync', 'openSync', 'writevSync', 'fsyncSync', 'closeSync', 'renameSync', 'unlinkSync'] as const

  /** Runs `body`, whose calls of the file system after the first `calls` do nothing, as after SIGKILL. Returns their count. */
  function killedAfter(calls: number, body: () => void): number {
    const real = { ...fs }
    let made = 0
    for (const name of CALLS) {
      // biome-ignore lint/suspicious/noExplicitAny: the functions have nothing in common but this.
      ;(fs as any)[name] = (...args: unknown[]) => {
        if (++made > calls) throw Object.assign(new Error('killed'), { code: 'EKILLED' })
        // biome-ignore lint/suspicious/noExplicitAny: as above
        return (real[name] as any)(...args)
      }
    }
    syncBuiltinESMExports()
    try {
      body()
    } finally {
      for (const name of CALLS) Object.assign(fs, { [name]: real[name] })
      syncBuiltinESMExports()
    }
    return made
  }

  const apply = (): void => {
    const history = open({ ...BOUNDS, entries: 2 })
    history.keep([source('new')])
    history.settle(history.add(draft('new', { result: 'running' })) ?? 0, 'applied')
  }

  test('at any call leaves whole entries, and nothing in the way of the next apply', () => {
    const setUp = (): void => {
      rmSync(path, { recursive: true, force: true })
      remember('one')
      remember('two')
    }
    setUp()
    const all = killedAfter(Number.POSITIVE_INFINITY, apply)
    expect(all).toBeGreaterThan(15)
    for (let calls = 0; calls < all; calls++) {
      setUp()
      killedAfter(calls, apply)
      const left = stored()
      const known = [
        [3, 'new'],
        [2, 'two'],
        [1, 'one'],
      ]
      expect([calls, left.filter((one) => !known.some((other) => other.join() === one.join()))]).toEqual([calls, []])
      expect([calls, left.some(([number]) => number === 2)]).toEqual([calls, true])

      remember('next', open({ ...BOUNDS, entries: 2 }))
      expect(stored()[0]?.[1]).toBe('next')
      expect(readdirSync(path).filter((name) => name.endsWith('.part'))).toEqual([])
      const used = new Set(stored().map(([, text]) => digestOf(String(text))))
      expect([calls, readdirSync(join(path, 'contents')).filter((name) => !used.has(name))]).toEqual([calls, []])
    }
  })
})

test('each instance has a directory of its own, whose name a reboot does not change', () => {
  expect(historyDirectory('/var/lib/xdp', '/sys/fs/bpf', 'default')).toBe('/var/lib/xdp/history/default')
  expect(historyDirectory('/var/lib/xdp', '/sys/fs/bpf/', 'edge')).toBe('/var/lib/xdp/history/edge')
  expect(historyDirectory('/var/lib/xdp', '/run/bpf', 'default')).toMatch(
    /^\/var\/lib\/xdp\/history\/default\.[0-9a-f]{12}$/,
  )
})
