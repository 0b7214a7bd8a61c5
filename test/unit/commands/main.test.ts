import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SCHEMA_NAMES } from '../../../src/commands/cli/schema-names.ts'
import { main, type Terminal } from '../../../src/commands/main.ts'
import { COMMANDS } from '../../../src/commands/table.ts'
import { check } from '../../support/schemas.ts'

let folder = ''
let good = ''
let bad = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xdp-main-'))
  good = join(folder, 'good.yaml')
  bad = join(folder, 'bad.yaml')
  writeFileSync(good, 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [198.51.100.0/24, 203.0.113.7]\n')
  writeFileSync(bad, 'version: 1\ninterfaces: { eth0: {} }\nblocklst: []\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

async function xdp(argv: readonly string[], facts: Partial<Terminal> & { readonly tty?: boolean } = {}) {
  const { tty = false, ...rest } = facts
  const seen = { stdout: '', stderr: '' }
  const append =
    (stream: 'stdout' | 'stderr') =>
    (text: string): void => {
      seen[stream] += text
    }
  const status = await main({
    argv,
    env: {},
    stdout: { write: append('stdout'), isTTY: tty },
    stderr: { write: append('stderr'), isTTY: tty },
    stdinIsTTY: tty,
    stdin: () => Readable.from([]),
    ask: async () => '',
    readInput: async () => new Uint8Array(0),
    signal: new AbortController().signal,
    uid: -1,
    ...rest,
  })
  return { status, ...seen }
}

describe('help', () => {
  test.each([[['--help']], [['help']], [['-h']]])('%j lists every command on stdout', async (argv) => {
    const { status, stdout, stderr } = await xdp(argv)
    expect([status, stderr]).toEqual([0, ''])
    for (const { name, summary } of COMMANDS) expect(stdout).toMatch(new RegExp(`  ${name} +${summary.slice(0, 20)}`))
  })

  test('without a command goes to stderr, with exit status 64', async () => {
    const { status, stdout, stderr } = await xdp([])
    expect([status, stdout]).toEqual([64, ''])
    expect(stderr).toContain('Usage: xdp COMMAND')
  })

  test.each(COMMANDS.map(({ name }) => name))('of %s names all its flags within 80 columns', async (name) => {
    const { stdout } = await xdp([name, '--help'])
    const command = COMMANDS.find((candidate) => candidate.name === name)
    for (const flag of Object.keys(command?.flags ?? {})) expect(stdout).toContain(`--${flag}`)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  })
})

test('--version is the version of the package in one line, then the build, the programs and the oldest kernel', async () => {
  const { status, stdout, stderr } = await xdp(['--version'])
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(
    /^xdp \d+\.\d+\.\d+\nbuild: .*Node \d.*\nprograms: [0-9a-f]{16}, ABI \d+\nkernel: Linux 6\.1 or newer/,
  )
  expect(check('version', (await xdp(['--version', '--json'])).stdout)).toMatchObject({
    node: { own: false },
    kernel: { floor: '6.1' },
  })
})

describe('completion', () => {
  test('is answered on stdout, and by nothing where there is nothing to offer or words are missing', async () => {
    const { stdout, ...rest } = await xdp(['__complete', '--', 'completion', ''])
    expect([stdout, rest]).toEqual(['bash\nzsh\nfish\n', { status: 0, stderr: '' }])
    for (const argv of [
      ['__complete', '--', 'nonsense', ''],
      ['__complete', '--', '--lock-timeout', 'x'],
    ])
      expect(await xdp(argv)).toEqual({ status: 0, stdout: '', stderr: '' })
    expect(await xdp(['__complete'])).toMatchObject({ status: 0, stderr: '' })
  })

  test('exits 0 when stdout fails', async () => {
    const write = () => {
      throw new Error('gone')
    }
    expect(await xdp(['__complete', '--', ''], { stdout: { write, isTTY: false } })).toMatchObject({
      status: 0,
      stderr: '',
    })
  })

  test('is named in no help', async () => {
    for (const argv of [['help'], ['help', 'completion'], ['__complet']])
      expect(JSON.stringify(await xdp(argv))).not.toContain('__complete')
  })
})

describe('validate', () => {
  test('summarizes a valid file', async () => {
    const { status, stdout, stderr } = await xdp(['validate', '-f', good])
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toBe(`${good} is valid: 1 interface, 1 list with 2 prefixes, default pass.\n`)
  })

  test('prints mistakes to stderr, with exit status 78', async () => {
    const { status, stdout, stderr } = await xdp(['validate', '-f', bad])
    expect([status, stdout]).toEqual([78, ''])
    expect(stderr).toContain('bad.yaml:3:1: error[')
    expect(stderr).toContain('did you mean "blocklist"?')
  })

  test('exits 66 for a missing file', async () => {
    expect(await xdp(['validate', '-f', join(folder, 'none.yaml')])).toMatchObject({ status: 66, stdout: '' })
  })
})

describe('errors', () => {
  test('with --json are a document on stdout, usage errors included', async () => {
    for (const [argv, status, code] of [
      [['plann', '--json'], 64, 'E300'],
      [['validate', '--json', '-f', bad], 78, 'E010'],
    ] as const) {
      const result = await xdp(argv)
      expect([result.status, result.stderr]).toEqual([status, ''])
      expect(JSON.parse(result.stdout)).toMatchObject({ format_version: '1.0', error: { code } })
    }
  })

  test('are not JSON for a --json after --', async () => {
    expect((await xdp(['plann', '--', '--json'])).stdout).toBe('')
  })

  test('are coloured only on a terminal', async () => {
    expect((await xdp(['plann'])).stderr).not.toContain('\u001b')
    expect((await xdp(['plann'], { tty: true })).stderr).toContain('\u001b[31m')
    expect((await xdp(['plann', '--no-color'], { tty: true })).stderr).not.toContain('\u001b[')
  })

  test.each([
    [['status', '--instance', 'a.b'], 'is not a valid name'],
    [['status', '--instance', '../x'], 'is not a valid name'],
    [['status', '--lock-timeout', '30'], 'is not a duration'],
    [['plan', '--full', '--summary'], 'exclude each other'],
    [['schema', 'pln'], 'did you mean plan?'],
  ])('%j is a usage error', async (argv, message) => {
    const { status, stderr } = await xdp(argv)
    expect([status, stderr]).toEqual([64, expect.stringContaining(message)])
  })

  test('that are unexpected are one line, with exit status 70, and a stack only with --debug', async () => {
    const broken = (): never => {
      throw new Error('the disk is on fire')
    }
    const stdout = { write: broken, isTTY: false }
    const plain = await xdp(['validate', '-f', good], { stdout })
    expect(plain.status).toBe(70)
    expect(plain.stderr.split('\n')[0]).toBe('error[E999 internal]: unexpected Error: the disk is on fire')
    expect(plain.stderr).not.toContain('    at ')
    expect((await xdp(['validate', '-f', good, '--debug'], { stdout })).stderr).toContain('    at ')
  })

  test('after a signal are E112', async () => {
    const interruption = new AbortController()
    const write = (): never => {
      interruption.abort()
      throw new Error('aborted')
    }
    const result = await xdp(['validate', '-f', good], { stdout: { write, isTTY: false }, signal: interruption.signal })
    expect(result).toMatchObject({ status: 1, stderr: expect.stringContaining('error[E112 interrupted]') })
  })
})

test.each(SCHEMA_NAMES)('schema %s is JSON', async (name) => {
  const { status, stdout } = await xdp(['schema', name])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ $schema: 'http://json-schema.org/draft-07/schema#' })
})
