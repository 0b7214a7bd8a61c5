// The command of an exec check. Runs as a named user, without a shell, in a separate process group, with an environment
// that names the target and nothing else. setpriv(1) of util-linux sets the user, the group and all supplementary
// groups before it executes the command, which Node cannot, and has the kernel kill the command when this process dies.

import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { XdpError } from '../../diagnostics.ts'
import { findTool } from '../tools/places.ts'
import { spawnTool } from '../tools/spawn.ts'
import { effectiveCapabilities } from './host.ts'

export interface ExecRequest {
  /** Absolute path and arguments. */
  readonly command: readonly [string, ...string[]]
  /** Name of the user that the command runs as. */
  readonly user: string
  readonly env: Readonly<Record<string, string>>
}

/**
 * The end of a command, with the first bytes of its output. `unable`: it did not start, because of the user, the file
 * or this host; `reason` says why.
 */
export type ExecEnd =
  | ({ readonly kind: 'exit'; readonly status: number } & Said)
  | ({ readonly kind: 'signal'; readonly signal: string } & Said)
  | { readonly kind: 'unable'; readonly reason: string }

interface Said {
  readonly stdout: string
  readonly stderr: string
}

/** Bytes kept of each stream. The rest is read and discarded, so that the command does not block on a full pipe. */
const MOST_OUTPUT = 4096
/** Milliseconds to wait for output after the end: a child of the command may keep the pipe open forever. */
const LINGER = 50
/** POSIX, "Exit Status for Commands": found but not executable, and not found. setpriv uses the same statuses. */
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

/** Milliseconds for which the ids of a user are cached. */
const FRESH = 60_000
const users = new Map<string, { readonly user: Promise<User | string>; readonly until: number }>()

/** The ids of a user, from any source of the name service; else why they are unknown or unusable. */
async function lookUp(name: string): Promise<User | string> {
  const { stdout, exitCode } = await spawnTool('getent', ['passwd', name])
  const [, , uid, gid] = stdout.split(':')
  if (exitCode !== 0 || uid === undefined || gid === undefined) return `user ${name} does not exist`
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
  return spawn(findTool('setpriv'), [...asUser(user), '--pdeathsig', 'KILL', '--', ...command], {
    cwd: '/',
    env: { PATH, LANG: 'C.UTF-8', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A separate session and process group, so that one signal kills all of it.
    detached: true,
  })
}

/** Keeps the first bytes of a stream; `read` returns them as text. */
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

/** Follows a child to its end. Returns a function that kills it with its whole group. */
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
    // Until Node reports the exit the child is a zombie, so no other process can have its pid.
    if (isRunning && child.pid !== undefined) killGroup(child.pid)
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // The child does not lead its group yet, or runs as a user that this process may not signal.
  }
}

/**
 * Runs the command. Calls `done` once, unless the returned function is called first: that kills the command and every
 * process of its group.
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
