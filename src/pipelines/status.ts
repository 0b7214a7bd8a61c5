// Reads the live state for users and for the daemon. Takes no lock.

import { readLastApply } from '../kernel/host/last-apply.ts'
import { readLinks } from '../kernel/host/links.ts'
import { describePending, readReverted } from '../kernel/host/pending.ts'
import { readWatcher } from '../kernel/host/watcher.ts'
import { observe } from '../kernel/observe/observe.ts'
import { readStatus as readKernelStatus } from '../kernel/report/status.ts'
import { type Served, servedOf } from '../model/live.ts'
import type { Status } from '../report/result.ts'
import type { Links } from './apply.ts'
import { readRollback } from './history.ts'
import { type Host, interruptible, openSession, reading, sessionOf } from './session.ts'

/** The live state with its counters, the state of the daemon, and how the last apply ended. */
export const readStatus = (host: Host): Promise<Status> => interruptible(host, () => readInSession(host))

async function readInSession(host: Host): Promise<Status> {
  const { paths } = await openSession(host, 'pins')
  const [status, watcher, lastApply, reverted, rollback] = await Promise.all([
    reading(paths, () => readKernelStatus(paths, host)),
    readWatcher(host),
    readLastApply(host),
    readReverted(host),
    readRollback(host),
  ])
  const pending = status.pending && (await describePending(host, status.pending))
  return { ...status, watcher, last_apply: lastApply, pending, reverted, rollback }
}

/** The live services, independent of the config. */
export const readServed = async (host: Host): Promise<Served> => servedOf(await observe(sessionOf(host).paths, host))

/** Programs on the interfaces, from netlink alone, which is cheap. */
export const readAttachments = (): Promise<Links> => readLinks()
