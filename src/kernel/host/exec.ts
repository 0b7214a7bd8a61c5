// The command of an exec check: as a named user, without a shell, in a process group of its own, with an environment
// that says what to check and nothing else. setpriv(1) of util-linux sets user, group and all the user's groups before
// it becomes the command, which Node cannot; and has the kernel kill it when we die.

import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { XdpError } from '../../diagnostics.ts'
import { spawnTool } from '../tools/spawn.ts'
import { effectiveCapabilities } from './host.ts'

export interface ExecRequest {
  /** Absolute path and arguments. */
  readonly command: readonly [string, ...string[]]
  /** Name of the user it runs as. */
  readonly user: string
  readonly env: Readonly<Record<string, string>>
}

/**
 * How it ended, with the beginning of what it said; `unable`: it never ran, because of the user, the file or this host,
 * told in words.
 */
export type ExecEnd =
  | ({ readonly kind: 'exit'; readonly status: number } & Said)
  | ({ readonly kind: 'signal'; readonly signal: string } & Said)
  | { readonly kind: 'unable'; readonly reason: string }

interface Said {
  readonly stdout: string
  readonly stderr: string
}

/** Bytes that are kept of either stream; the rest is read and forgotten, so that the command does not hang on a full pipe. */
const MOST_OUTPUT = 4096
/** Milliseconds for which output may come after the end: a child of the command's may hold the pipe for ever. */
const LINGER = 50
/** POSIX, "Exit Status for Commands": found but not executable, not found. setpriv has the same. */
const NOT_EXECUTABLE = 126
const NOT_FOUND = 127
/** linux/capability.h */
const CAP_SETGID = 6n
const CAP_SETUID = 7n
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

interface User {
  readonly uid: string
  readonly gid: string
}

/** Milliseconds for which a user is taken to be the same. */
const FRESH = 60_000
const users = new Map<string, { readonly user: Promise<User | string>; readonly until: number }>()

/** The ids of a user by name service, whatever it is made of; else why there are none. */
async function lookUp(name: string): Promise<User | string> {
  const { stdout, exitCode } = await spawnTool('getent', ['passwd', name])
  const [, , uid, gid] = stdout.split(':')
  if (exitCode !== 0 || uid === undefined || gid === undefined) return `there is no user ${name}`
  const capabilities = await effectiveCapabilities()
  const may = [CAP_SETGID, CAP_SETUID].every((one) => ((capabilities >> one) & 1n) === 1n)
  if (!may && Number(uid) !== process.getuid?.()) return `running as ${name} needs CAP_SETUID and CAP_SETGID`
  return { uid, gid }
}

function userOf(name: string): Promise<User | string> {
  const known = users.get(name)
  if (known && known.until > performance.now()) return known.user
  const user = lookUp(name).catch((error: unknown) => {
    if (error instanceof XdpError) return error.message
    throw error
  })
  users.set(name, { user, until: performance.now() + FRESH })
  return user
}

const asUser = ({ uid, gid }: User): string[] =>
  Number(uid) === process.getuid?.() && Number(gid) === process.getgid?.()
    ? []
    : ['--reuid', uid, '--regid', gid, '--init-groups']

function start({ command, env }: ExecRequest, user: User): ChildProcess {
  return spawn('setpriv', [...asUser(user), '--pdeathsig', 'KILL', '--', ...command], {
    cwd: '/',
    env: { PATH, LANG: 'C.UTF-8', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A session and a process group of its own, which can be killed as one.
    detached: true,
  })
}

/** Keeps the first bytes of a stream; `read` gives them as text. */
function collect(stream: Readable | null): { readonly read: () => string; readonly close: () => void } {
  const chunks: Buffer[] = []
  let room = MOST_OUTPUT
  stream?.on('error', () => undefined)
  stream?.on('data', (chunk: Buffer) => {
    if (room > 0) chunks.push(chunk.subarray(0, room))
    room -= Math.min(room, chunk.length)
  })
  return { read: () => Buffer.concat(chunks).toString(), close: () => stream?.destroy() }
}

function endOf(status: number | null, signal: string | null, said: Said): ExecEnd {
  if (status === null) return { kind: 'signal', signal: signal ?? 'a signal', ...said }
  if (status === NOT_FOUND || status === NOT_EXECUTABLE) {
    return { kind: 'unable', reason: said.stderr.trim() || `exit status ${status}` }
  }
  return { kind: 'exit', status, ...said }
}

const unable = (error: unknown): ExecEnd => ({
  kind: 'unable',
  reason: error instanceof Error ? error.message : String(error),
})

/** Follows a child to its end. Returns what kills it and all of its group. */
function follow(child: ChildProcess, done: (end: ExecEnd) => void): () => void {
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)]
  const close = (): void => {
    stdout.close()
    stderr.close()
  }
  let isRunning = true
  child.on('error', (error) => {
    isRunning = false
    close()
    done(unable(error))
  })
  child.on('exit', (status, signal) => {
    isRunning = false
    const finish = (): void => {
      clearTimeout(linger)
      child.off('close', finish)
      close()
      done(endOf(status, signal, { stdout: stdout.read(), stderr: stderr.read() }))
    }
    const linger = setTimeout(finish, LINGER)
    child.on('close', finish)
  })
  return () => {
    close()
    // Before its end is told the process is not reaped, so that its number is nobody else's.
    if (isRunning && child.pid !== undefined) killGroup(child.pid)
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has not become the leader of its group yet, or runs as a user that we may not signal.
  }
}

/**
 * Runs the command. `done` is called once, but not after the returned function was called, which kills the command and
 * whatever it started in its process group.
 */
export function startExec(request: ExecRequest, done: (end: ExecEnd) => void): () => void {
  let isOpen = true
  let kill: () => void = () => undefined
  const end = (result: ExecEnd): void => {
    if (!isOpen) return
    isOpen = false
    done(result)
  }
  const begin = (user: User | string): void => {
    if (!isOpen) return
    try {
      if (typeof user === 'string') end({ kind: 'unable', reason: user })
      else kill = follow(start(request, user), end)
    } catch (error) {
      end(unable(error))
    }
  }
  userOf(request.user).then(begin, (error: unknown) => end(unable(error)))
  return () => {
    isOpen = false
    kill()
  }
}
