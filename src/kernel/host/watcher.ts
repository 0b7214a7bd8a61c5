// The one daemon of an instance: its lock, and the file on tmpfs in which it says how things stand. The lock is what
// tells a daemon that runs from one that was killed, whose file is left behind.

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { WatchState } from '../../report/watch.ts'
import { exchangeDirectory } from '../tools/exchange.ts'
import { openHelper } from '../tools/helper.ts'
import type { Host } from './host.ts'
import { acquireWatchLock, instanceFile, isWatched } from './lock.ts'

export interface Watcher {
  readonly pid: number
  /** Replaces what others read. Never throws for want of room: what is told then is old. */
  readonly tell: (state: WatchState) => Promise<void>
  /** Settles when the lock was lost: somebody killed the process that holds it for us. */
  readonly lost: Promise<void>
  readonly release: () => Promise<void>
}

/** Of the file; another one is of another version of the tool, whose fields may mean something else. */
const FORMAT = 1

const stateFile = ({ bpffs, instance }: Host): Promise<string> => instanceFile(bpffs, instance, 'watch.json')

/** Becomes the daemon of the instance. Throws XdpError E118 where there is one. */
export async function becomeWatcher(host: Host): Promise<Watcher> {
  const lock = await acquireWatchLock(host)
  const file = await stateFile(host)
  const helper = openHelper(exchangeDirectory)
  return {
    pid: process.pid,
    lost: lock.ended,
    async tell(state) {
      const partial = `${file}.part`
      await writeFile(partial, `${JSON.stringify({ format: FORMAT, ...state })}\n`, { mode: 0o600 })
        .then(() => rename(partial, file))
        .catch(() => rm(partial, { force: true }).catch(() => undefined))
    },
    async release() {
      await helper.close()
      await rm(file, { force: true }).catch(() => undefined)
      await lock.release()
    },
  }
}

/** How things stand with the daemon of the instance; undefined where none runs. */
export async function readWatcher(host: Host): Promise<WatchState | undefined> {
  const text = await readFile(await stateFile(host), 'utf8').catch(() => undefined)
  if (text === undefined || !(await isWatched(host))) return undefined
  try {
    const { format, ...state } = JSON.parse(text) as WatchState & { readonly format: unknown }
    return format === FORMAT ? state : undefined
  } catch {
    return undefined
  }
}
