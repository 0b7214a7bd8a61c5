// The shell that starts tools: its results equal those of a direct start, and it holds a lock until it is released.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Helper, openHelper } from '../../../src/kernel/tools/helper.ts'
import { CommandError, spawnTool } from '../../../src/kernel/tools/spawn.ts'

let directory: string
let opened: Helper

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-helper-'))
  opened = openHelper(async () => directory)
})
afterEach(async () => {
  await opened.close()
  rmSync(directory, { recursive: true, force: true })
})

const sh = (script: string, input?: string) => spawnTool('sh', ['-c', script], input)

describe('a tool', () => {
  test.each(['plain', 'two words', "it's", '"$HOME" `id` $(id) \\ ; & | > <', '', '-n', 'ä\u0001ö', '*'])(
    'gets the word %j unchanged',
    async (word) => {
      const { stdout } = await spawnTool('printf', ['%s', word])
      expect(stdout).toBe(word)
    },
  )

  test('reads the given input, and else reads nothing', async () => {
    const text = 'line\n'.repeat(100_000)
    expect(await spawnTool('cat', [], text)).toEqual({ stdout: text, stderr: '', exitCode: 0 })
    expect(await spawnTool('cat', [])).toEqual({ stdout: '', stderr: '', exitCode: 0 })
  })

  test('ends with its status and output', async () => {
    expect(await sh('echo out; echo err >&2; exit 42')).toEqual({ stdout: 'out\n', stderr: 'err\n', exitCode: 42 })
    expect(await sh('kill -9 $$')).toMatchObject({ exitCode: 137 })
  })

  test('runs in parallel with others, each with its own result', async () => {
    const fifo = join(directory, 'fifo')
    execFileSync('mkfifo', [fifo])
    const waits = sh(`cat ${fifo}`)
    const quick = await Promise.all([1, 2, 3].map((number) => sh(`echo ${number}`)))
    expect(quick.map((one) => one.stdout)).toEqual(['1\n', '2\n', '3\n'])
    writeFileSync(fifo, 'at last')
    expect((await waits).stdout).toBe('at last')
  })

  test('gets its input through a pipe where no file can be written', async () => {
    mkdirSync(join(directory, '1.in'))
    expect(await spawnTool('cat', [], 'x')).toEqual({ stdout: 'x', stderr: '', exitCode: 0 })
    expect(readdirSync(directory)).toEqual(['1.in'])
  })

  test('leaves no file behind', async () => {
    await sh('cat', 'x')
    expect(readdirSync(directory)).toEqual([])
  })
})

describe('spawnTool', () => {
  test('uses the helper while it runs, with equal results', async () => {
    const outcomes = async () => [
      await spawnTool('sh', ['-c', 'cat; exit 3'], 'in'),
      await spawnTool('sh', ['-c', 'echo "$LC_ALL"']),
      await spawnTool('no-such-tool', []).catch((error: Error) => error.message),
      await spawnTool('printf', ['%s', 'two\nlines']),
    ]
    const through = await outcomes()
    await opened.close()
    expect(await outcomes()).toEqual(through)
  })

  // The parent of a tool is a copy of the shell, which waits for that tool alone.
  const SHELL = '$(cut -d " " -f 4 /proc/$PPID/stat)'

  test('gets its result even if the helper is killed, and then runs without it', async () => {
    expect(await spawnTool('sh', ['-c', `kill -9 ${SHELL}; echo still`])).toMatchObject({ stdout: 'still\n' })
    await opened.ended
    expect(await spawnTool('echo', ['again'])).toMatchObject({ stdout: 'again\n' })
  })

  test('fails if the helper and the tool are killed', async () => {
    await expect(spawnTool('sh', ['-c', `kill -9 ${SHELL} $PPID`])).rejects.toThrow(CommandError)
  })
})
