// Tools that hang at any point of an apply: it ends by its deadline or by the first signal, nothing runs on, the lock is
// free, and one complete policy is in force.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { inTurns, sample, usually } from '../support/depth.ts'
import { ETH0, ETH1, Lab, NO_OBJECTS } from '../support/hosts.ts'

let lab: Lab

beforeEach(() => {
  lab = new Lab([ETH0, ETH1])
})
afterEach(() => lab.close())

const config = (blocked: string): string =>
  `version: 1\ninterfaces: { eth0: {}, eth1: {} }\nblocklist: [203.0.113.0/24, ${blocked}]\n`

const begun = (): string => join(lab.directory, 'begun')

/** Never ends, ignores every signal that it may, and has a child that does so too. */
const hanging = (): string => `trap '' TERM INT HUP QUIT
sleep 1000 &
echo $! >> ${begun()}
echo $$ >> ${begun()}
wait
wait`

/** Makes a tool hang for arguments, or lines of a batch, that match the shell pattern. */
function hangAt(tool: 'bpftool' | 'ip', pattern: string): void {
  rmSync(begun(), { force: true })
  lab.tool(
    tool,
    `case "$*" in
  *batch*) lines=$(cat); case "$lines" in ${pattern}) ${hanging()};; esac; printf '%s\\n' "$lines" | /usr/sbin/${tool} "$@"; exit $?;;
  ${pattern}) ${hanging()};;
esac
exec /usr/sbin/${tool} "$@"
`,
  )
}

/** Processes of the hanging tools that still run. */
const orphans = (): string[] =>
  readFileSync(begun(), 'utf8')
    .trim()
    .split('\n')
    .filter((pid) => {
      try {
        return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
      } catch {
        return false
      }
    })

/** Places before the switch, each in a command that hangs there. */
const EARLY: readonly (readonly [string, 'bpftool' | 'ip', string])[] = [
  ['reading the interfaces', 'ip', '*link*show*'],
  ['reading the tables', 'bpftool', '*"map dump"*'],
  ['loading programs', 'bpftool', '*loadall*'],
]

describe.each(usually(EARLY.slice(-1), { thoroughly: EARLY }))('a tool that hangs when %s', (_, tool, pattern) => {
  beforeEach(async () => {
    lab.write('xdp.yaml', config('192.0.2.2'))
    await lab.ok('apply', '--auto-approve')
    lab.write('xdp.yaml', config('192.0.2.3'))
    hangAt(tool, pattern)
  })

  /** Checks that the old policy is in force, nothing runs on, and the lock is free. */
  async function asBefore(): Promise<void> {
    expect(orphans()).toEqual([])
    lab.realTools()
    expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: false, leftovers: [] })
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(1)
    await lab.ok('apply', '--auto-approve', '--lock-timeout', '1ms')
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
  }

  inTurns('is killed after its time, and the error names it', async () => {
    const within = ['/usr/bin/env', 'XDP_TOOL_TIMEOUT=4s']
    const { exitCode, stderr } = await lab.xdpWithin(within, 'apply', '--auto-approve')
    expect(stderr).toMatch(new RegExp(`E130 tool-hung\\]: ${tool} .* did not end within .* s and was killed`))
    expect(exitCode).toBe(1)
    await asBefore()
  })

  test.each(usually(['SIGTERM'] as const, { thoroughly: ['SIGINT', 'SIGTERM', 'SIGHUP'] as const }))(
    'is killed by the first %s',
    async (signal) => {
      const child = lab.start('apply', '--auto-approve')
      const ended = outcomeOf(child)
      await expect.poll(() => existsSync(begun()) && orphans().length).toBeGreaterThanOrEqual(2)
      child.kill(signal)
      const { exitCode, stderr } = await ended
      expect(stderr).toContain('E112 interrupted')
      expect(exitCode).toBe(1)
      await asBefore()
    },
  )
})

async function outcomeOf(child: ChildProcess): Promise<{ readonly exitCode: number | null; readonly stderr: string }> {
  let stderr = ''
  child.stderr?.on('data', (text) => {
    stderr += text
  })
  const [exitCode] = await once(child, 'close')
  return { exitCode, stderr }
}

inTurns(
  'a bpftool that hangs in the switch is killed after its time, and every interface has its old policy',
  async () => {
    lab.write('xdp.yaml', config('192.0.2.2, 198.51.100.2'))
    await lab.ok('apply', '--auto-approve')
    lab.write('xdp.yaml', config('192.0.2.3'))
    // The first interface has been switched when it hangs at the second one.
    const both = '*"dev eth1 overwrite"*'
    rmSync(begun(), { force: true })
    lab.tool(
      'bpftool',
      `[ "$*" = "-j batch file -" ] || exec /usr/sbin/bpftool "$@"
lines=$(cat)
case "$lines" in ${both})
  [ -e ${begun()} ] || { printf '%s\\n' "$lines" | sed '/dev eth1 overwrite/,$d' | /usr/sbin/bpftool -j batch file - >/dev/null
  ${hanging()}
  };; esac
printf '%s\\n' "$lines" | /usr/sbin/bpftool -j batch file -
`,
    )
    const { exitCode, stderr } = await lab.xdpWithin(['/usr/bin/env', 'XDP_TOOL_TIMEOUT=4s'], 'apply', '--auto-approve')
    expect(stderr).toContain('E130 tool-hung')
    expect(exitCode).toBe(1)
    expect(orphans()).toEqual([])
    lab.realTools()
    expect(JSON.parse(await lab.ok('status', '--json'))).toMatchObject({ drift: false, leftovers: [] })
    expect(await lab.ping('192.0.2.1', { source: '192.0.2.2', count: 1 })).toBe(0)
    expect(await lab.ping('198.51.100.1', { source: '198.51.100.2', count: 1 })).toBe(0)
  },
)

inTurns('a signal during the switch does not disturb it: the apply finishes', async () => {
  lab.write('xdp.yaml', config('192.0.2.2'))
  await lab.ok('apply', '--auto-approve')
  lab.write('xdp.yaml', config('192.0.2.3'))
  const go = join(lab.directory, 'go')
  lab.tool(
    'bpftool',
    `[ "$*" = "-j batch file -" ] || exec /usr/sbin/bpftool "$@"
lines=$(cat)
case "$lines" in *"dev eth1 overwrite"*) echo $$ > ${begun()}; until [ -e ${go} ]; do sleep 0.02; done;; esac
printf '%s\\n' "$lines" | /usr/sbin/bpftool -j batch file -
`,
  )
  const child = lab.start('apply', '--auto-approve')
  const ended = outcomeOf(child)
  await expect.poll(() => existsSync(begun())).toBe(true)
  child.kill('SIGTERM')
  lab.write('go', '')
  expect(await ended).toMatchObject({ exitCode: 0 })
  expect(await lab.ping('192.0.2.1', { source: '192.0.2.3', count: 1 })).toBe(0)
})

const INTERRUPTED = [['plan'], ['status'], ['destroy', '--auto-approve'], ['why', '192.0.2.2'], ['stats']]

test.each(sample(INTERRUPTED, INTERRUPTED.length))('an interrupt ends %s while a tool hangs', async (...args) => {
  lab.write('xdp.yaml', config('192.0.2.2'))
  await lab.ok('apply', '--auto-approve')
  hangAt('bpftool', '*')
  const child = lab.start(...args)
  const ended = outcomeOf(child)
  await expect.poll(() => existsSync(begun()) && orphans().length).toBeGreaterThan(0)
  child.kill('SIGINT')
  expect(await ended).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('E112') })
  expect(orphans()).toEqual([])
})

test.each(sample(['SIGINT', 'SIGTERM'] as const, 2))('%s ends the reading of long lists at once', async (signal) => {
  const lines = Array.from({ length: 2_000_000 }, (_, i) => `${10 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.1`)
  lab.write('long.txt', lines.join('\n'))
  lab.write('xdp.yaml', 'version: 1\ninterfaces: { eth0: {} }\nblocklist: [{ name: long, file: long.txt }]\n')
  const child = lab.start('apply', '--auto-approve')
  const closed = once(child, 'close')
  // From its start the process handles the signal, but not while it reads.
  await expect.poll(() => handles(child.pid, signal), { interval: 1 }).toBe(true)
  await expect.poll(() => handles(child.pid, signal), { interval: 1 }).toBe(false)
  child.kill(signal)
  expect(await closed).toEqual([null, signal])
  expect(lab.objects()).toEqual(NO_OBJECTS)
  lab.write('long.txt', '192.0.2.2')
  await lab.ok('apply', '--auto-approve', '--lock-timeout', '1ms')
})

/** Whether a process has a handler for a signal (proc(5): SigCgt). */
function handles(pid: number | undefined, signal: 'SIGINT' | 'SIGTERM'): boolean {
  const [, caught = '0'] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return ((BigInt(`0x${caught}`) >> BigInt(constants.signals[signal] - 1)) & 1n) === 1n
}

inTurns('a lock command that hangs is killed after its time', async () => {
  lab.write('xdp.yaml', config('192.0.2.2'))
  lab.tool('flock', `case "$*" in *--exclusive*) ${hanging()};; esac\nexec /usr/bin/flock "$@"\n`)
  const within = ['/usr/bin/env', 'XDP_TOOL_TIMEOUT=500ms']
  const { exitCode, stderr } = await lab.xdpWithin(within, 'apply', '--auto-approve')
  expect(stderr).toMatch(/E130 tool-hung\]: flock --exclusive/)
  expect(exitCode).toBe(1)
  expect(orphans()).toEqual([])
  expect(lab.objects()).toEqual(NO_OBJECTS)
})
