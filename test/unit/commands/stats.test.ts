// The flags of `xdp stats` that exclude each other, facts about the config, and atomic writes of files.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { main } from '../../../src/commands/main.ts'
import { writeWhole } from '../../../src/commands/verbs/write-file.ts'
import { feedFacts } from '../../../src/report/stats.ts'

let folder = ''
const at = (name: string): string => join(folder, name)
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-stats-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

test.each([
  [['--interval', '2s'], '--interval needs --watch'],
  [['--watch', '--interval', '2'], 'is not a duration'],
  [['--watch', '--interval', '50ms'], 'is shorter than 100ms'],
  [['--watch', '--output', 'x'], '--watch and --output exclude each other'],
  [['--watch', '--format', 'prometheus'], '--watch and --format prometheus exclude each other'],
  [['--json', '--format', 'prometheus'], '--json and --format prometheus exclude each other'],
  [['--format', 'xml'], '--format "xml" is not text or prometheus'],
])('%j is a usage error, before stats reads the kernel', async (argv, message) => {
  let said = ''
  const output = {
    write: (text: string): void => {
      said += text
    },
    isTTY: false,
  }
  const status = await main({
    argv: ['stats', '--bpffs', '/nonexistent', ...argv],
    env: {},
    stdout: output,
    stderr: output,
    uid: 0,
    stdinIsTTY: false,
    stdin: () => Readable.from([]),
    ask: async () => '',
    readInput: async () => new Uint8Array(0),
    signal: new AbortController().signal,
  })
  expect([status, said]).toEqual([64, expect.stringContaining(message)])
})

test('a list of several feeds has the age of its oldest file, and the strictest max_age', () => {
  const file = (updatedAt: number, entries: number, skipped: number) => ({
    ...{ path: 'x', format: 'plain', private: 0, wide: 0, notes: [] },
    ...{ updatedAt, entries, skipped },
  })
  const where = { file: 'xdp.yaml', line: 1, column: 1, length: 1 }
  const feed = (list: string, maxAge: number | undefined, ...files: ReturnType<typeof file>[]) => ({
    ...{ list, at: where, files, maxAge, maxShrink: 0.5, maxGrowth: 100, inline: [] },
  })
  expect(
    feedFacts([
      feed('drop', 7200, file(500, 10, 1), file(300, 5, 0)),
      feed('other', undefined, file(900, 1, 0)),
      feed('drop', 3600, file(400, 1, 2)),
    ]),
  ).toEqual([
    { list: 'drop', updatedAt: 300, maxAge: 3600, entries: 16, skipped: 3 },
    { list: 'other', updatedAt: 900, maxAge: undefined, entries: 1, skipped: 0 },
  ])
})

describe('a written file', () => {
  const modeOf = (path: string): number => statSync(path).mode & 0o777

  test('is readable by all if new, keeps the mode of an existing file, and leaves no temporary file', () => {
    mkdirSync(at('new'))
    const path = at('new/xdp.prom')
    const umask = process.umask(0o077)
    try {
      writeWhole(path, 'one\n')
      expect([readFileSync(path, 'utf8'), modeOf(path)]).toEqual(['one\n', 0o644])
      chmodSync(path, 0o640)
      const { ino } = statSync(path)
      writeWhole(path, 'two\n')
      expect([readFileSync(path, 'utf8'), modeOf(path)]).toEqual(['two\n', 0o640])
      expect(statSync(path).ino).not.toBe(ino)
    } finally {
      process.umask(umask)
    }
    expect(readdirSync(at('new'))).toEqual(['xdp.prom'])
  })

  test('replaces the target of a link, not the link', () => {
    mkdirSync(at('real'))
    writeFileSync(at('real/file'), 'old')
    symlinkSync(at('real/file'), at('link'))
    writeWhole(at('link'), 'new')
    expect(readFileSync(at('real/file'), 'utf8')).toBe('new')
    expect(readdirSync(at('real'))).toEqual(['file'])
  })

  test.each([
    ['a directory', (path: string) => mkdirSync(path), 'not a regular file'],
    ['a FIFO', (path: string) => execFileSync('mkfifo', [path]), 'not a regular file'],
  ])('never replaces %s', (name, make, message) => {
    const path = at(name.replace(' ', '-'))
    make(path)
    const { ino } = statSync(path)
    expect(() => writeWhole(path, 'x')).toThrow(message)
    expect(statSync(path).ino).toBe(ino)
  })

  test('in a missing directory fails with E405', () => {
    expect(() => writeWhole(at('nowhere/file'), 'x')).toThrow(/E405 cannot write .*: ENOENT/)
  })
})
