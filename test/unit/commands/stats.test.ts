// The flags of `xdp stats` that do not go together, what the config tells beside the counters, and files as a whole.
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
  [['--interval', '2s'], '--interval says how often --watch looks'],
  [['--watch', '--interval', '2'], 'is not a duration'],
  [['--watch', '--interval', '50ms'], 'is shorter than 100ms'],
  [['--watch', '--output', 'x'], '--watch and --output exclude each other'],
  [['--watch', '--format', 'prometheus'], '--watch and --format prometheus exclude each other'],
  [['--json', '--format', 'prometheus'], '--json and --format prometheus exclude each other'],
  [['--format', 'xml'], '--format xml: there is text and prometheus'],
])('%j is a usage error, before anything is looked at', async (argv, message) => {
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

test('a list of several feeds is as old as its oldest file, and as strict as its strictest age', () => {
  const file = (updatedAt: number, entries: number, skipped: number) => ({
    ...{ path: 'x', format: 'plain', private: 0, wide: 0, notes: [] },
    ...{ updatedAt, entries, skipped },
  })
  const where = { file: 'xdp.yaml', line: 1, column: 1, length: 1 }
  const feed = (list: string, maxAge: number | undefined, ...files: ReturnType<typeof file>[]) => ({
    ...{ list, at: where, files, maxAge, maxShrink: 0.5, inline: [] },
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

describe('a file that is written', () => {
  const modeOf = (path: string): number => statSync(path).mode & 0o777

  test('is new for all to read, keeps its mode when it is there, and leaves nothing beside it', () => {
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

  test('is the one that a link points to', () => {
    mkdirSync(at('real'))
    writeFileSync(at('real/file'), 'old')
    symlinkSync(at('real/file'), at('link'))
    writeWhole(at('link'), 'new')
    expect(readFileSync(at('real/file'), 'utf8')).toBe('new')
    expect(readdirSync(at('real'))).toEqual(['file'])
  })

  test.each([
    ['a directory', (path: string) => mkdirSync(path), 'it is no regular file'],
    ['a FIFO', (path: string) => execFileSync('mkfifo', [path]), 'it is no regular file'],
  ])('is never put in the place of %s', (name, make, message) => {
    const path = at(name.replace(' ', '-'))
    make(path)
    const { ino } = statSync(path)
    expect(() => writeWhole(path, 'x')).toThrow(message)
    expect(statSync(path).ino).toBe(ino)
  })

  test('of a directory that is not there is E405', () => {
    expect(() => writeWhole(at('nowhere/file'), 'x')).toThrow(/E405 cannot write .*: ENOENT/)
  })
})
