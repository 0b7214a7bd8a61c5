// Our directory in /run for locks, and the files on a tmpfs through which bpftool takes and gives bulk data.

import { lstat, mkdir, mkdtemp, readdir, readlink, rm, statfs } from 'node:fs/promises'
import { fail, XdpError } from '../diagnostics.ts'

export const RUN = '/run/xdp'
const PREFIX = 'exchange-'

/** A tmpfs that everybody may write to, with what our names begin with there. */
const SHARED = { directory: '/dev/shm', prefix: `xdp-${PREFIX}` } as const
/** linux/magic.h: TMPFS_MAGIC */
const TMPFS = 0x01021994
/** Free bytes that the tables of the largest policies need; containers are often given less. */
const ROOM = 2 ** 30

/** What the file system refuses, told as what it means for us. */
function explain(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === undefined || error instanceof XdpError) return error
  if (code === 'EACCES' || code === 'EPERM')
    return fail('E104', `${RUN} is not ours to write: ${message}`, 'run it with sudo', error)
  if (!['EROFS', 'ENOENT', 'ENOSPC', 'ENOTDIR', 'EDQUOT'].includes(code)) return error
  return fail(
    'E115',
    `${RUN} cannot be written: ${message}`,
    '/run must be a writable tmpfs with room for the tables: df -h /run',
    error,
  )
}

/** Makes sure of the directory and returns it. Throws E104 or E115 where it cannot be written. */
export async function runDirectory(): Promise<string> {
  try {
    await mkdir(RUN, { recursive: true, mode: 0o700 })
    return RUN
  } catch (error) {
    throw explain(error)
  }
}

/** Inode of our pid namespace: a process id means something in its namespace only, and containers may share /run. */
export const pidNamespace = async (): Promise<string> =>
  /\[(\d+)\]/.exec(await readlink('/proc/self/ns/pid'))?.[1] ?? '0'

/** `exchange-PIDNS-PID-`: how everything is called that is of no use once the process is gone. */
export const ownPrefix = async (pid: number): Promise<string> => `${PREFIX}${await pidNamespace()}-${pid}-`

/** Whether a process of our pid namespace is there. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Removes what killed processes of this pid namespace left behind: it takes memory. */
async function collect(directory: string, prefix: string): Promise<void> {
  const namespace = `${prefix}${await pidNamespace()}-`
  for (const name of await readdir(directory)) {
    if (!name.startsWith(namespace)) continue
    const pid = Number.parseInt(name.slice(namespace.length), 10)
    if (isAlive(pid)) continue
    // What somebody else made and can change meanwhile must not lead us elsewhere.
    const isOurs = await lstat(`${directory}/${name}`).then(
      ({ uid }) => uid === process.geteuid?.(),
      () => false,
    )
    if (isOurs) await rm(`${directory}/${name}`, { recursive: true, force: true })
  }
}

const isTmpfs = async (directory: string, room: number): Promise<boolean> =>
  statfs(directory).then(
    ({ type, bavail, bsize }) => type === TMPFS && bavail * bsize >= room,
    () => false,
  )

/**
 * Where exchange files are made. systemd makes /run a tmpfs; in a container it is often a disk, where each file takes
 * fifty times as long.
 */
async function chooseExchange(): Promise<{ readonly directory: string; readonly prefix: string }> {
  const own = { directory: await runDirectory(), prefix: PREFIX }
  if ((await isTmpfs(own.directory, 0)) || !(await isTmpfs(SHARED.directory, ROOM))) return own
  await collect(own.directory, own.prefix)
  return SHARED
}

/** A new directory for exchange files, for whoever removes it. Throws as runDirectory. */
export async function exchangeDirectory(): Promise<string> {
  try {
    const { directory, prefix } = await chooseExchange()
    await collect(directory, prefix)
    return await mkdtemp(`${directory}/${prefix}${await pidNamespace()}-${process.pid}-`)
  } catch (error) {
    throw explain(error)
  }
}

/** Runs `body` with a directory for exchange files on tmpfs, which is gone afterwards. Throws as runDirectory. */
export async function withExchange<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = await exchangeDirectory()
  try {
    return await body(directory)
  } catch (error) {
    throw explain(error)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
