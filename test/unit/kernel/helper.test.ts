// The shell that starts tools: its results equal those of a direct start, and it holds a lock until it is released.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Helper, helper, openHelper } from '../../../src/kernel/tools/helper.ts'
import { CommandError, spawnTool, toolEnvironment } from '../../../src/kernel/tools/spawn.ts'

let directory: string
let opened: Helper

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-helper-'))
  opened = openHelper(toolEnvironment(), async () => directory)
})
afterEach(async () => {
  await opened.close()
  rmSync(directory, { recursive: true, force: true })
})

const sh = (script: string, input?: string) => opened.run('sh', ['-c', script], input)

describe('a tool', () => {
  test.each(['plain', 'two words', "it's", '"$HOME" `id` $(id) \\ ; & | > <', '', '-n', 'ä\u0001ö', '*'])(
    'gets the word %j unchanged',
    async (word) => {
      const { stdout } = (await opened.run('printf', ['%s', word])) ?? {}
      expect(stdout).toBe(word)
    },
  )

  test('reads the given input, and else reads nothing', async () => {
    const text = 'line\n'.repeat(100_000)
    expect(await opened.run('cat', [], text)).toEqual({ stdout: text, stderr: '', exitCode: 0 })
    expect(await opened.run('cat', [])).toEqual({ stdout: '', stderr: '', exitCode: 0 })
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
    expect(quick.map((one) => one?.stdout)).toEqual(['1\n', '2\n', '3\n'])
    writeFileSync(fifo, 'at last')
    expect((await waits)?.stdout).toBe('at last')
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
    expect(helper()).toBe(opened)
    const through = await outcomes()
    await opened.close()
    expect(helper()).toBeUndefined()
    expect(await outcomes()).toEqual(through)
  })

  // The parent of a tool is a copy of the shell, which waits for that tool alone.
  const SHELL = '$(cut -d " " -f 4 /proc/$PPID/stat)'

  test('gets its result even if the helper is killed, and then runs without it', async () => {
    expect(await spawnTool('sh', ['-c', `kill -9 ${SHELL}; echo still`])).toMatchObject({ stdout: 'still\n' })
    await opened.ended
    expect(helper()).toBeUndefined()
    expect(await spawnTool('echo', ['again'])).toMatchObject({ stdout: 'again\n' })
  })

  test('fails if the helper and the tool are killed', async () => {
    await expect(spawnTool('sh', ['-c', `kill -9 ${SHELL} $PPID`])).rejects.toThrow(CommandError)
  })
})

describe('the lock', () => {
  const isFree = (file: string): boolean => {
    try {
      execFileSync('flock', ['--nonblock', file, 'true'])
      return true
    } catch {
      return false
    }
  }

  test('is held until it is released, and the file is cleared', async () => {
    const file = join(directory, 'lock')
    writeFileSync(file, 'the last holder')
    expect(await opened.tryLock(file)).toBe(true)
    expect([isFree(file), readFileSync(file, 'utf8')]).toEqual([false, ''])
    expect(await opened.tryLock(file)).toBeUndefined()
    await opened.unlock()
    expect(isFree(file)).toBe(true)
    expect(await opened.tryLock(file)).toBe(true)
  })

  test('is not taken from another holder, whose note stays in the file', async () => {
    const file = join(directory, 'lock')
    const other = openHelper(toolEnvironment(), async () => mkdtempSync(join(tmpdir(), 'xdp-helper-')))
    expect(await other.tryLock(file)).toBe(true)
    writeFileSync(file, 'another holder')
    expect(await opened.tryLock(file)).toBe(false)
    expect(readFileSync(file, 'utf8')).toBe('another holder')
    await other.close()
    expect(await opened.tryLock(file)).toBe(true)
  })

  test('is not held by a tool that is started meanwhile and keeps running', async () => {
    const [file, fifo] = [join(directory, 'lock'), join(directory, 'fifo')]
    execFileSync('mkfifo', [fifo])
    expect(await opened.tryLock(file)).toBe(true)
    const waits = sh(`cat ${fifo}`)
    await sh('true')
    await opened.unlock()
    expect(isFree(file)).toBe(true)
    writeFileSync(fifo, '')
    await waits
  })

  test('is reported neither as taken nor as held if flock cannot run', async () => {
    const without = openHelper({ PATH: '/nowhere' }, async () => directory)
    expect(await without.tryLock(join(directory, 'lock'))).toBeUndefined()
    await without.close()
  })

  test('that cannot be opened is not taken, and the shell continues', async () => {
    expect(await opened.tryLock(join(directory, 'no/such/lock'))).not.toBe(true)
  })
})
