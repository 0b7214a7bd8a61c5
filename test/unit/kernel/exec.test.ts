// Real commands of exec checks: their input, their end, and that no process is left.

import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ExecEnd, startExec } from '../../../src/kernel/host/exec.ts'
import type { ExecCheck } from '../../../src/model/health.ts'
import { check } from '../../support/backends.ts'
import { outcomeOf } from '../../support/probes.ts'

const SELF = userInfo().username

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'xdp-exec-'))
  chmodSync(directory, 0o777)
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** Writes a script and returns its path. */
function script(text: string, mode = 0o755): string {
  const path = join(directory, 'check')
  writeFileSync(path, `#!/bin/sh\n${text}\n`)
  chmodSync(path, mode)
  return path
}

const run = (command: readonly [string, ...string[]], user = SELF, env = {}): Promise<ExecEnd> =>
  new Promise((resolve) => startExec({ command, user, env }, resolve))

describe('a command', () => {
  test('gets its arguments unchanged, a clean environment, and no input', async () => {
    const path = script('printf "%s|" "$@"; echo; pwd; env | sort; cat')
    const end = await run([path, 'a b', '$HOME', '*', ''], SELF, { XDP_PORT: '80' })
    const [args, cwd, ...env] = (end as { stdout: string }).stdout.trim().split('\n')
    expect([end.kind, args, cwd]).toEqual(['exit', 'a b|$HOME|*||', '/'])
    expect(env.map((line) => line.split('=')[0])).toEqual(expect.arrayContaining(['LANG', 'PATH', 'XDP_PORT']))
    // sh sets PWD and some set OLDPWD, _ and SHLVL.
    expect(env.filter((line) => !/^(?:LANG|PATH|XDP_PORT|PWD|OLDPWD|_|SHLVL)=/.test(line))).toEqual([])
  })

  test.each([
    ['exit 0', { kind: 'exit', status: 0, stdout: '', stderr: '' }],
    ['echo out; echo err >&2; exit 3', { kind: 'exit', status: 3, stdout: 'out\n', stderr: 'err\n' }],
    ['kill -SEGV $$', { kind: 'signal', signal: 'SIGSEGV', stdout: '', stderr: '' }],
    ['exit 127', { kind: 'unable', reason: 'exit status 127' }],
  ])('%s', async (text, expected) => {
    expect(await run([script(text)])).toEqual(expected)
  })

  test('that is missing or not executable is unable to run, with a reason', async () => {
    expect(await run([join(directory, 'none')])).toEqual({
      kind: 'unable',
      reason: expect.stringContaining('No such file'),
    })
    expect(await run([script('exit 0', 0o644)])).toEqual({
      kind: 'unable',
      reason: expect.stringContaining('Permission'),
    })
  })

  test('with long output runs to its end, and the beginning is kept', async () => {
    const end = await run([script('head -c 1000000 /dev/zero | tr "\\0" x; exit 4')])
    expect(end).toEqual({ kind: 'exit', status: 4, stdout: 'x'.repeat(4096), stderr: '' })
  })

  test('whose child keeps the output open still ends', async () => {
    const end = await run([script(`sleep 100 & echo $! > ${directory}/child; echo done`)])
    process.kill(Number(readFileSync(join(directory, 'child'), 'utf8')), 'SIGKILL')
    expect(end).toEqual({ kind: 'exit', status: 0, stdout: 'done\n', stderr: '' })
  })

  test('that is cancelled dies with its whole group, and reports no end', async () => {
    const ends: ExecEnd[] = []
    const path = script(
      `sleep 100 & echo $! $$ > ${directory}/pids.new; mv ${directory}/pids.new ${directory}/pids; wait`,
    )
    const abandon = startExec({ command: [path], user: SELF, env: {} }, (end) => ends.push(end))
    const pids = (): number[] => {
      const file = join(directory, 'pids')
      return existsSync(file) ? readFileSync(file, 'utf8').trim().split(' ').map(Number) : []
    }
    await expect.poll(pids).toHaveLength(2)
    abandon()
    // False for a process that is gone, or a zombie.
    const isAlive = (pid: number): boolean => {
      try {
        return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
      } catch {
        return false
      }
    }
    await expect.poll(() => pids().some(isAlive)).toBe(false)
    expect(ends).toEqual([])
  })

  test('that is cancelled at once never runs', async () => {
    const path = script(`touch ${directory}/ran`)
    startExec({ command: [path], user: SELF, env: {} }, () => undefined)()
    expect(await run([script('exit 0')])).toMatchObject({ status: 0 })
    expect(() => readFileSync(join(directory, 'ran'))).toThrow()
  })

  test('of a user that does not exist is unable to run', async () => {
    expect(await run(['/bin/true'], 'no-such-user')).toEqual({
      kind: 'unable',
      reason: 'user no-such-user does not exist',
    })
  })
})

describe('an exec check', () => {
  const { type: _, ...common } = check({ port: 8080 })
  const exec = (text: string, more: Partial<ExecCheck> = {}): ExecCheck => ({
    ...common,
    type: 'exec',
    command: [script(text)],
    user: SELF,
    ...more,
  })

  test.each([
    ['exit 0', 'good'],
    ['echo "the disk is full" >&2; echo >&2; echo last; exit 2', 'bad: exit status 2: the disk is full'],
    ['echo first; echo second; exit 1', 'bad: exit status 1: second'],
    ['exit 1', 'bad: exit status 1'],
    ['kill -KILL $$', 'bad: killed by SIGKILL'],
    ['exit 126', 'unknown: exit status 126'],
  ])('%s', async (text, expected) => {
    expect(await outcomeOf(exec(text))).toBe(expected)
  })

  test('gets its target in the environment', async () => {
    const say = 'echo "$XDP_SERVICE $XDP_BACKEND $XDP_ADDRESS $XDP_PORT $XDP_TIMEOUT_MS"; exit 1'
    expect(await outcomeOf(exec(say))).toBe('bad: exit status 1: web 10.0.0.1:80 10.0.0.1 8080 1000')
    expect(await outcomeOf(exec('echo "[$XDP_PORT]"; exit 1', { port: undefined }))).toBe('bad: exit status 1: []')
  })
})
