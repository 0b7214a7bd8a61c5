// The daemon of an instance: its lock, and its state file on tmpfs. The lock distinguishes a running daemon from a
// killed one, which leaves its state file behind.

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { WatchState } from '../../report/watch.ts'
import { exchangeDirectory, instanceFile } from '../tools/exchange.ts'
import { openHelper } from '../tools/helper.ts'
import type { Host } from './host.ts'
import { acquireWatchLock, isWatched } from './lock.ts'

export interface Watcher {
  readonly pid: number
  /** Replaces the state file. Never throws; if there is no space, the old state stays. */
  readonly writeState: (state: WatchState) => Promise<void>
  /** Settles when the lock is lost, because the process that holds it for the daemon was killed. */
  readonly lost: Promise<void>
  readonly release: () => Promise<void>
}

/** Version of the state file; fields of other versions may have other meanings. */
const FORMAT = 1

const stateFile = ({ bpffs, instance }: Host): Promise<string> => instanceFile(bpffs, instance, 'watch.json')

/** Becomes the daemon of the instance. Throws XdpError E118 if it has one. */
export async function becomeWatcher(host: Host): Promise<Watcher> {
  const lock = await acquireWatchLock(host)
  const file = await stateFile(host)
  const helper = openHelper(exchangeDirectory)
  return {
    pid: process.pid,
    lost: lock.ended,
    async writeState(state) {
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

/** The unit of systemd in `/proc/PID/cgroup`: `0::/system.slice/xdp-watch.service`; undefined: not of a service. */
export const unitOf = (cgroup: string): string | undefined => /\/([\w@.:\\-]+\.service)$/m.exec(cgroup)?.[1]

/** The command that stops a daemon: systemd would start one of its own again, or take its end for a failure. */
export async function stopCommand(pid: number): Promise<string> {
  const unit = unitOf(await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => ''))
  return unit === undefined ? `kill ${pid}` : `systemctl stop ${unit}`
}

/** The state of the daemon of the instance; undefined if none is running. */
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
