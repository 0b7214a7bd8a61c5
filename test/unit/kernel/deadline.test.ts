// Tools that hang are killed with their group, by a deadline or an interrupt, whether the shell or this process started
// them.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Helper, openHelper } from '../../../src/kernel/tools/helper.ts'
import { interruptible, shielded } from '../../../src/kernel/tools/interrupt.ts'
import { spawnTool, tryTool } from '../../../src/kernel/tools/spawn.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-deadline-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

/** Whether a process runs: not one that has ended and waits for its parent. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

const pidFiles = (): string[] => ['parent', 'child'].map((name) => join(directory, name))
const begun = (): boolean => pidFiles().every((file) => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'))
const running = (): boolean[] => pidFiles().map((file) => isRunning(Number(readFileSync(file, 'utf8'))))

/** A tool that ignores SIGTERM and SIGINT, starts a child that does so too, and never ends. */
const hang = () => {
  const [parent, child] = pidFiles()
  const script = `trap '' TERM INT HUP; echo $$ > ${parent}; sleep 1000 & echo $! > ${child}; wait`
  return spawnTool('sh', ['-c', script])
}

describe.each(['directly', 'by the shell'])('a tool started %s', (by) => {
  let helper: Helper | undefined

  beforeEach(() => {
    helper = by === 'directly' ? undefined : openHelper(async () => directory)
  })
  afterEach(async () => {
    await helper?.close()
  })

  test('that hangs is killed with its children after its time, and the error has its words', async () => {
    vi.stubEnv('XDP_TOOL_TIMEOUT', '2s')
    const error = await hang().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      diagnostics: [
        { code: 'E130', message: expect.stringMatching(/^sh -c trap .* did not end within 2 s and was killed$/) },
      ],
    })
    expect(begun()).toBe(true)
    expect(running()).toEqual([false, false])
    expect((await spawnTool('echo', ['next'])).stdout).toBe('next\n')
  })

  test('that hangs is killed by an interrupt, and no other starts after that', async () => {
    const { signal, abort } = stopper()
    await interruptible(signal, async () => {
      const ended = expect(hang()).rejects.toMatchObject({ diagnostics: [{ code: 'E112' }] })
      await expect.poll(begun).toBe(true)
      abort()
      await ended
      expect(running()).toEqual([false, false])
      await expect(spawnTool('true', [])).rejects.toMatchObject({ diagnostics: [{ code: 'E112' }] })
      expect((await shielded(() => spawnTool('echo', ['undo']))).stdout).toBe('undo\n')
    })
  })

  test('runs to its end where an interrupt must not disturb it', async () => {
    const { signal, abort } = stopper()
    const fifo = join(directory, 'fifo')
    await spawnTool('mkfifo', [fifo])
    await interruptible(signal, async () => {
      const waits = shielded(() => spawnTool('sh', ['-c', `echo $$ > ${pidFiles()[0]}; cat ${fifo}`]))
      await expect.poll(() => existsSync(pidFiles()[0] as string)).toBe(true)
      abort()
      await shielded(() => spawnTool('sh', ['-c', `echo whole > ${fifo}`]))
      expect((await waits).stdout).toBe('whole\n')
    })
  })

  test('with input has more time for each line, and the message has its first one', async () => {
    vi.stubEnv('XDP_TOOL_TIMEOUT', '100ms')
    await expect(spawnTool('sleep', ['1000'], 'first line\nsecond\n')).rejects.toThrow(
      'sleep 1000 (input lines: 2, the first is "first line") did not end within 120 ms and was killed',
    )
  })
})

const stopper = () => {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort('SIGINT') }
}

test('a process that leaves the group and keeps the output open does not delay the error', async () => {
  vi.stubEnv('XDP_TOOL_TIMEOUT', '300ms')
  const [left = ''] = pidFiles()
  await expect(spawnTool('setsid', ['sh', '-c', `echo $$ > ${left}; exec sleep 1000`])).rejects.toThrow('E130')
  process.kill(Number(readFileSync(left, 'utf8')), 'SIGKILL')
})

test('doctor sees a tool that hangs as one that does not run', async () => {
  vi.stubEnv('XDP_TOOL_TIMEOUT', '200ms')
  expect(await tryTool('sleep', '1000')).toMatchObject({
    exitCode: 124,
    stderr: expect.stringContaining('did not end'),
  })
})

test.each(['10', '0s', '-1s', '1d', 'soon', '1000h'])('XDP_TOOL_TIMEOUT %s is refused', async (text) => {
  vi.stubEnv('XDP_TOOL_TIMEOUT', text)
  for (const run of [() => spawnTool('true', []), () => tryTool('true')]) {
    await expect(run()).rejects.toMatchObject({ diagnostics: [{ code: 'E300' }] })
  }
})
