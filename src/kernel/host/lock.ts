// The single-writer lock of an instance. flock(2) by flock(1) of util-linux, because the kernel frees it however the
// holder dies, so that no lock is ever stale. The child holds the lock for as long as our end of its stdin is open.

import { readFile, stat, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { execa } from 'execa'
import { fail, XdpError } from '../../diagnostics.ts'
import { runDirectory } from '../tools/exchange.ts'
import { spawnTool } from '../tools/spawn.ts'
import type { Host } from './host.ts'

/** flock's own statuses are below this. */
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
  /** Settles when the lock is held no more, whoever ended it. */
  readonly ended: Promise<void>
}

/** Instances of different bpffs mounts are different instances; the mount's device number tells them apart. */
export async function instanceFile(bpffs: string, instance: string, suffix: string): Promise<string> {
  const { dev } = await stat(bpffs)
  return `/run/xdp/${instance}.${dev}.${suffix}`
}

export const lockFile = (bpffs: string, instance: string): Promise<string> => instanceFile(bpffs, instance, 'lock')

/** Who holds a lock file, as its holder wrote it down. */
export async function describeHolder(file: string): Promise<string> {
  try {
    const holder = JSON.parse(await readFile(file, 'utf8')) as Holder
    return `pid ${holder.pid} (${holder.command}), user ${holder.user}, since ${holder.since}`
  } catch {
    // The holder has the lock but has not yet written who it is.
    return 'another xdp process'
  }
}

/**
 * Takes the lock of the host's instance, waiting at most its `lockTimeoutMs`. Its `progress` hears who holds it when the
 * wait begins. Throws XdpError E106 (exit 75) naming the holder when the time is up, E112 when interrupted meanwhile.
 */
export async function acquireLock(host: Host): Promise<Lock> {
  await runDirectory()
  const file = await lockFile(host.bpffs, host.instance)
  const lock = (await tryLock(file, 0)) ?? (await waitForLock(file, host))
  await signHolder(file)
  return lock
}

/** Writes down who holds a lock file. */
async function signHolder(file: string): Promise<void> {
  const holder: Holder = {
    pid: process.pid,
    command: process.argv.slice(1).join(' '),
    user: process.env['SUDO_USER'] ?? userInfo().username,
    since: new Date().toISOString(),
  }
  await writeFile(file, `${JSON.stringify(holder)}\n`)
}

/** A watcher that was killed frees its lock when its helper notices: in no time, but not at once. */
const SUCCESSION_MS = 2000

const watchFile = ({ bpffs, instance }: Host): Promise<string> => instanceFile(bpffs, instance, 'watch.lock')

/** The lock of the one daemon that may watch an instance. Throws XdpError E118 (exit 75) naming the one that does. */
export async function acquireWatchLock(host: Host): Promise<Lock> {
  await runDirectory()
  const file = await watchFile(host)
  const lock = await tryLock(file, SUCCESSION_MS, host.signal)
  if (!lock) {
    if (host.signal?.aborted) throw fail('E112', 'interrupted before anything was watched')
    throw fail(
      'E118',
      `this instance is being watched already, by ${await describeHolder(file)}`,
      'stop that one first, or give this one its own --instance',
    )
  }
  await signHolder(file)
  return lock
}

/** Whether a daemon watches the instance. Asks for a shared lock, which a daemon that starts meanwhile waits for. */
export async function isWatched(host: Host): Promise<boolean> {
  const { exitCode } = await spawnTool('flock', ['--shared', '--nonblock', await watchFile(host), 'true'])
  return exitCode === 1
}

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
      hint: 'wait for it to finish, or give it longer with --lock-timeout 2m',
    },
  ])
}

/** undefined: not in this time, or `signal` ended the wait. Whoever held it before is wiped from the file first. */
async function tryLock(file: string, timeoutMs: number, signal?: AbortSignal): Promise<Lock | undefined> {
  const wait = timeoutMs === 0 ? ['--nonblock'] : ['--timeout', `${timeoutMs / 1000}`]
  const child = execa(
    'flock',
    [
      '--exclusive',
      ...wait,
      '--conflict-exit-code',
      `${CONFLICT}`,
      file,
      'sh',
      '-c',
      ': >"$0"; echo locked; exec cat',
      file,
    ],
    { stdin: 'pipe', stdout: 'pipe', reject: false, detached: true, buffer: false },
  )
  const stop = (): void => void child.kill()
  signal?.addEventListener('abort', stop)
  const locked = new Promise<boolean>((resolve) => child.stdout.once('data', () => resolve(true)))
  const outcome = await Promise.race([locked, child])
  signal?.removeEventListener('abort', stop)
  if (outcome === true) {
    const ended = child.then(() => undefined)
    return {
      ended,
      release: async () => {
        child.stdin.end()
        await ended
      },
    }
  }
  const { exitCode, code } = outcome as { exitCode?: number; code?: string }
  if (exitCode === CONFLICT || signal?.aborted) return undefined
  if (exitCode === NOT_OPENED) throw fail('E104', `the lock file ${file} is not ours to open`, 'run it with sudo')
  throw new XdpError([
    {
      code: 'E100',
      severity: 'error',
      message: `cannot lock ${file} with flock (${code ?? `exit status ${exitCode}`})`,
      hint: 'apt-get install util-linux',
    },
  ])
}
