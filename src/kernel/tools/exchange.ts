// Our directory in /run for locks, and the files on a tmpfs through which bpftool reads and writes bulk data. A call to a
// tmpfs takes less time than handing it to a thread of Node; only the removal of bulk data does not.

import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, type StatsFs, statfsSync } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fail, XdpError } from '../../diagnostics.ts'
import { writeHint } from './permission.ts'

export const RUN = '/run/xdp'
const PREFIX = 'exchange-'

/** A tmpfs that every user may write to. */
const SHARED = '/dev/shm'
/** linux/magic.h: TMPFS_MAGIC */
const TMPFS = 0x01021994
/** inode(7): S_ISVTX */
const STICKY = 0o1000
/** Free bytes that the tables of the largest policies need; containers often have less. */
const ROOM = 2 ** 30

/** Explains a refusal of the file system as E104 or E115; returns other errors as they are. */
export function explain(error: unknown, directory: string = RUN): unknown {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === undefined || error instanceof XdpError) return error
  if (code === 'EACCES' || code === 'EPERM')
    return fail('E104', `no permission to write to ${directory}: ${message}`, writeHint(), error)
  if (!['EROFS', 'ENOENT', 'ENOSPC', 'ENOTDIR', 'EDQUOT'].includes(code)) return error
  const mount = directory === RUN ? '/run' : directory
  return fail(
    'E115',
    `${directory} cannot be written: ${message}`,
    `${mount} must be a writable tmpfs with room for the tables: df -h ${mount}`,
    error,
  )
}

/** Creates the directory if it is missing, and returns it. Throws E104 or E115 if it cannot be written. */
export async function runDirectory(): Promise<string> {
  try {
    mkdirSync(RUN, { recursive: true, mode: 0o700 })
    return RUN
  } catch (error) {
    throw explain(error)
  }
}

/** Path of a file of an instance. Instances on different bpffs mounts differ by the device number of the mount. */
export async function instanceFile(bpffs: string, instance: string, suffix: string): Promise<string> {
  const { dev } = await stat(bpffs)
  return `${RUN}/${instance}.${dev}.${suffix}`
}

/** Inode of our pid namespace: a process id is valid only in its namespace, and containers may share /run. */
export const pidNamespace = (): string => /\[(\d+)\]/.exec(readlinkSync('/proc/self/ns/pid'))?.[1] ?? '0'

/** `exchange-PIDNS-PID-`: the prefix of names that are useless once the process has ended. */
export const ownPrefix = (pid: number): string => `${PREFIX}${pidNamespace()}-${pid}-`

/** Whether a process of our pid namespace exists. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** The prefix of our names in a directory. */
const leadIn = (directory: string): string => (directory === SHARED ? 'xdp-' : '')

/** Removes the files of killed processes of this pid namespace, which take memory. */
function collect(directory: string): void {
  const namespace = `${leadIn(directory)}${PREFIX}${pidNamespace()}-`
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(namespace)) continue
    const pid = Number.parseInt(name.slice(namespace.length), 10)
    if (isAlive(pid)) continue
    // Another user could replace its directory meanwhile, and misdirect the removal.
    const owner = lstatSync(`${directory}/${name}`, { throwIfNoEntry: false })?.uid
    if (owner === process.geteuid?.()) rmSync(`${directory}/${name}`, { recursive: true, force: true })
  }
}

/** Facts about the file system of a directory; undefined if there are none. */
function fileSystem(directory: string): StatsFs | undefined {
  try {
    return statfsSync(directory)
  } catch {
    return undefined
  }
}

const isTmpfs = (directory: string): boolean => fileSystem(directory)?.type === TMPFS

/** Whether only root can replace our files there. */
function isSafe(directory: string): boolean {
  const stats = lstatSync(directory, { throwIfNoEntry: false })
  return stats?.isDirectory() === true && stats.uid === 0 && (stats.mode & STICKY) !== 0
}

const makeIn = (directory: string): string => mkdtempSync(`${directory}/${leadIn(directory)}${ownPrefix(process.pid)}`)

/**
 * Makes a directory on the shared tmpfs; undefined without one that is safe and has room. systemd makes /run a tmpfs;
 * in a container it is often a disk, where each file takes fifty times as long.
 */
function makeShared(): string | undefined {
  if (!isTmpfs(SHARED) || !isSafe(SHARED)) return undefined
  try {
    collect(SHARED)
    const { bavail, bsize } = statfsSync(SHARED)
    return bavail * bsize < ROOM ? undefined : makeIn(SHARED)
  } catch {
    return undefined
  }
}

/**
 * Makes a directory for exchange files, which the caller removes. Throws like runDirectory, but only if the shared tmpfs
 * is no help either: a command that reads needs no lock, so it works without a writable /run.
 */
export async function exchangeDirectory(): Promise<string> {
  try {
    const run = await runDirectory()
    collect(run)
    return (isTmpfs(run) ? undefined : makeShared()) ?? makeIn(run)
  } catch (error) {
    const explained = explain(error)
    const isUnwritable = explained instanceof XdpError && explained.diagnostics[0]?.code === 'E115'
    const shared = isUnwritable ? makeShared() : undefined
    if (shared === undefined) throw explained
    return shared
  }
}

/** Whether the file system of a directory has no room left. */
const isFull = (directory: string): boolean => fileSystem(directory)?.bavail === 0

/** A tool that could not write its output fails, or leaves half of it. */
function explainFull(error: unknown, directory: string): unknown {
  const isByTool = error instanceof XdpError && ['E101', 'E131'].includes(error.diagnostics[0]?.code ?? '')
  if (!isByTool || !isFull(directory)) return explain(error, dirname(directory))
  const mount = dirname(directory) === RUN ? '/run' : dirname(directory)
  const message = `${dirname(directory)} cannot be written: no space left on the device`
  return fail('E115', message, `${mount} must be a tmpfs with room for the tables: df -h ${mount}`, error)
}

/** Removes a file or a directory that is needed no more. The result of a command does not depend on it. */
export const discard = async (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true }).catch(() => undefined)

/** Runs `body` with a directory for exchange files on tmpfs, and removes it afterwards. Throws like runDirectory. */
export async function withExchange<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = await exchangeDirectory()
  try {
    return await body(directory)
  } catch (error) {
    throw explainFull(error, directory)
  } finally {
    await discard(directory)
  }
}
