// The single-writer lock of an instance. Uses flock(2) through flock(1) of util-linux: the kernel frees it however the
// holder dies, so no lock is ever stale. The child holds the lock as long as our end of its stdin is open.

import { access, constants, readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import { fail, XdpError } from '../../diagnostics.ts'
import { killGroup, within } from '../tools/deadline.ts'
import { explain, instanceFile, runDirectory } from '../tools/exchange.ts'
import { installHint } from '../tools/packages.ts'
import { writeHint } from '../tools/permission.ts'
import { findTool, toolEnvironment } from '../tools/places.ts'
import { spawnTool } from '../tools/spawn.ts'
import type { Host } from './host.ts'

/** Exit status for a lock held by another process; the statuses of flock itself are lower. */
const CONFLICT = 75
/** sysexits.h EX_NOINPUT: flock cannot open the file. */
const NOT_OPENED = 66

interface Holder {
  readonly pid: number
  readonly command: string
  readonly user: string
  readonly since: string
}

export interface Lock {
  readonly release: () => Promise<void>
  /** Settles when the lock is no longer held, whatever the reason. */
  readonly ended: Promise<void>
}

export const lockFile = (bpffs: string, instance: string): Promise<string> => instanceFile(bpffs, instance, 'lock')

/** The holder of a lock file, from the note that it wrote into the file. */
export async function describeHolder(file: string): Promise<string> {
  try {
    const holder = JSON.parse(await readFile(file, 'utf8')) as Holder
    return `pid ${holder.pid} (${holder.command}), user ${holder.user}, since ${holder.since}`
  } catch {
    // The holder has the lock but has not written its note yet.
    return 'another xdp process'
  }
}

/**
 * Takes the lock of the instance, waiting at most `lockTimeoutMs`. Calls `progress` with the holder when it starts to
 * wait. Throws XdpError E106 (exit 75), which names the holder, on timeout, and E112 if interrupted.
 */
export async function acquireLock(host: Host): Promise<Lock> {
  await runDirectory()
  const file = await lockFile(host.bpffs, host.instance)
  const lock = (await tryLock(file, 0)) ?? (await waitForLock(file, host))
  await signHolder(file)
  return lock
}

/** When the holder of a lock is killed, its helper frees the lock shortly after, but not at once. */
const SUCCESSION_MS = 2000

/** Takes the lock of a file; undefined if another process holds it for more than a moment, as isLocked does. */
export const acquireFile = (file: string): Promise<Lock | undefined> => tryLock(file, SUCCESSION_MS)

/** Whether another process holds the lock of a file. Takes a shared lock for a moment. */
export async function isLocked(file: string): Promise<boolean> {
  const { exitCode } = await spawnTool('flock', ['--shared', '--nonblock', file, 'true'])
  return exitCode === 1
}

/** Takes the lock of the bans, like acquireLock; writers of bans hold it for milliseconds, without a note. */
export async function acquireBansLock(host: Host): Promise<Lock> {
  await runDirectory()
  const file = await instanceFile(host.bpffs, host.instance, 'bans.lock')
  return (await tryLock(file, 0)) ?? waitForLock(file, host)
}

/** Name of the user; `uid N` on a system without an entry for the user, or without /etc/passwd. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid ${process.getuid?.()}`
  }
}

/**
 * Writes a note about this process into a lock file. Only messages of other processes depend on it, so that a full file
 * system must not fail the command here, with the lock in its hands.
 */
async function signHolder(file: string): Promise<void> {
  const holder: Holder = {
    pid: process.pid,
    command: process.argv.slice(1).join(' '),
    user: process.env['SUDO_USER'] ?? userName(),
    since: new Date().toISOString(),
  }
  await writeFile(file, `${JSON.stringify(holder)}\n`).catch(() => {})
}

const watchFile = ({ bpffs, instance }: Host): Promise<string> => instanceFile(bpffs, instance, 'watch.lock')

/** Takes the lock of the one daemon of an instance. Throws XdpError E118 (exit 75), which names the running daemon. */
export async function acquireWatchLock(host: Host): Promise<Lock> {
  await runDirectory()
  const file = await watchFile(host)
  const lock = await tryLock(file, SUCCESSION_MS, host.signal)
  if (!lock) {
    if (host.signal?.aborted) throw fail('E112', 'interrupted before the daemon started')
    throw fail(
      'E118',
      `another daemon already watches this instance: ${await describeHolder(file)}`,
      'stop it first, or use a separate `--instance NAME`',
    )
  }
  await signHolder(file)
  return lock
}

/**
 * Whether a daemon watches the instance. Takes a shared lock for a moment; a daemon that starts meanwhile waits for it.
 */
export const isWatched = async (host: Host): Promise<boolean> => isLocked(await watchFile(host))

async function waitForLock(file: string, { lockTimeoutMs, progress, signal }: Host): Promise<Lock> {
  if (lockTimeoutMs > 0) {
    progress?.(`waiting for the lock held by ${await describeHolder(file)}`)
    const lock = await tryLock(file, lockTimeoutMs, signal)
    if (lock) return lock
  }
  if (signal?.aborted) throw fail('E112', 'interrupted while waiting for the lock: nothing was changed')
  throw new XdpError([
    {
      code: 'E106',
      severity: 'error',
      message: `another process is changing this instance: ${await describeHolder(file)}`,
      hint: 'wait for it to finish, or wait longer with `--lock-timeout 2m`',
    },
  ])
}

/** Script of the process that holds the lock; $0 is the lock file. */
const HOLD = ': >"$0"; echo locked; exec cat'
/** Time to end by itself for the process that holds the lock. */
const RELEASE_MS = 2000

const spawnHolder = (argv: readonly string[]) =>
  execa(findTool('flock'), argv, {
    ...{ env: toolEnvironment(), extendEnv: false, reject: false, detached: true, buffer: false },
    ...{ stdin: 'pipe', stdout: 'pipe' },
  })

/** Undefined on timeout, or if `signal` ended the wait. On success, removes the note of the last holder. */
async function tryLock(file: string, timeoutMs: number, signal?: AbortSignal): Promise<Lock | undefined> {
  const wait = timeoutMs === 0 ? ['--nonblock'] : ['--timeout', `${timeoutMs / 1000}`]
  const argv = ['--exclusive', ...wait, '--conflict-exit-code', `${CONFLICT}`, file, 'sh', '-c', HOLD, file]
  let kill = async (): Promise<void> => undefined
  const stop = (): void => void kill()
  // Started by `within`, which throws after an interrupt: a process without a waiting parent would keep the lock.
  const start = () => {
    const child = spawnHolder(argv)
    kill = () => killGroup(child.pid)
    signal?.addEventListener('abort', stop)
    const locked = new Promise<{ child: typeof child }>((resolve) =>
      child.stdout.once('data', () => resolve({ child })),
    )
    return { result: Promise.race([locked, child]), kill }
  }
  const outcome = await within({ tool: 'flock', argv }, start, timeoutMs).finally(() =>
    signal?.removeEventListener('abort', stop),
  )
  if ('child' in outcome) {
    const { child } = outcome
    const ended = child.then(() => undefined)
    return {
      ended,
      release: async () => {
        child.stdin.end()
        const isLate = await Promise.race([ended, delay(RELEASE_MS, true, { ref: false })])
        if (isLate) await kill()
      },
    }
  }
  const { exitCode, code } = outcome as { exitCode?: number; code?: string }
  if (exitCode === CONFLICT || signal?.aborted) return undefined
  if (exitCode === NOT_OPENED) throw fail('E104', `no permission to open the lock file ${file}`, writeHint())
  // The holder empties the file, which a read-only file system refuses after it was opened for the lock.
  await access(file, constants.W_OK).catch((error: unknown) => {
    throw explain(error)
  })
  throw new XdpError([
    {
      code: 'E100',
      severity: 'error',
      message: `cannot lock ${file} with flock (${code ?? `exit status ${exitCode}`})`,
      hint: installHint('flock'),
    },
  ])
}
