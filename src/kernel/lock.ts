// The single-writer lock of an instance. flock(2) by flock(1) of util-linux, because the kernel frees it however the
// holder dies, so that no lock is ever stale. The child holds the lock for as long as our end of its stdin is open.

import { execa } from 'execa'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { XdpError } from '../diagnostics.ts'

const RUN = '/run/xdp'
/** flock's own statuses are below this. */
const CONFLICT = 75

interface Holder {
  readonly pid: number
  readonly command: string
  readonly user: string
  readonly since: string
}

export interface Lock {
  readonly release: () => Promise<void>
}

/** Instances of different bpffs mounts are different instances; the mount's device number tells them apart. */
export async function lockFile(bpffs: string, instance: string): Promise<string> {
  const { dev } = await stat(bpffs)
  return `${RUN}/${instance}.${dev}.lock`
}

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
 * Takes the lock of an instance, waiting at most `timeoutMs`. `waiting` hears who holds it when the wait begins.
 * Throws XdpError E106 (exit 75) naming the holder when the time is up.
 */
export async function acquireLock(
  bpffs: string,
  instance: string,
  timeoutMs: number,
  waiting: (holder: string) => void = () => {},
): Promise<Lock> {
  await mkdir(RUN, { recursive: true, mode: 0o700 })
  const file = await lockFile(bpffs, instance)
  const lock = (await tryLock(file, 0)) ?? (await waitForLock(file, timeoutMs, waiting))
  const holder: Holder = {
    pid: process.pid,
    command: process.argv.slice(1).join(' '),
    user: process.env['SUDO_USER'] ?? userInfo().username,
    since: new Date().toISOString(),
  }
  await writeFile(file, `${JSON.stringify(holder)}\n`)
  return lock
}

async function waitForLock(file: string, timeoutMs: number, waiting: (holder: string) => void): Promise<Lock> {
  const holder = await describeHolder(file)
  if (timeoutMs > 0) {
    waiting(holder)
    const lock = await tryLock(file, timeoutMs)
    if (lock) return lock
  }
  throw new XdpError([
    {
      code: 'E106',
      severity: 'error',
      message: `another process is changing this instance: ${await describeHolder(file)}`,
      hint: 'wait for it to finish, or give it longer with --lock-timeout 2m',
    },
  ])
}

async function tryLock(file: string, timeoutMs: number): Promise<Lock | undefined> {
  const wait = timeoutMs === 0 ? ['--nonblock'] : ['--timeout', `${timeoutMs / 1000}`]
  const child = execa(
    'flock',
    ['--exclusive', ...wait, '--conflict-exit-code', `${CONFLICT}`, file, 'sh', '-c', 'echo locked; exec cat'],
    { stdin: 'pipe', stdout: 'pipe', reject: false, detached: true, buffer: false },
  )
  const locked = new Promise<boolean>((resolve) => child.stdout.once('data', () => resolve(true)))
  const outcome = await Promise.race([locked, child])
  if (outcome === true) {
    return {
      release: async () => {
        child.stdin.end()
        await child
      },
    }
  }
  const { exitCode, code } = outcome as { exitCode?: number; code?: string }
  if (exitCode === CONFLICT) return undefined
  throw new XdpError([
    {
      code: 'E100',
      severity: 'error',
      message: `cannot lock ${file} with flock (${code ?? `exit status ${exitCode}`})`,
      hint: 'apt-get install util-linux',
    },
  ])
}
