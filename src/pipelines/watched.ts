// Daemons of an instance, for those that would be one, and for those that would change what one keeps.

import { resolve } from 'node:path'
import { fail } from '../diagnostics.ts'
import { type Host, requireHost } from '../kernel/host/host.ts'
import { becomeWatcher, readWatcher, type Watcher } from '../kernel/host/watcher.ts'

export type { Watcher }

/**
 * Throws E118 where a daemon keeps the instance as another config says, and would undo what is to be done.
 *
 * @param path of the config that is to be applied; undefined: none, everything is to go
 */
export async function refuseWatched(host: Host, path: string | undefined): Promise<void> {
  await requireHost(host)
  const watcher = await readWatcher(host)
  const watched = watcher?.config?.path
  if (!watcher || watched === undefined || (path !== undefined && resolve(path) === watched)) return
  const what = `the daemon with pid ${watcher.pid} keeps this instance as ${watched} says, and would undo this`
  throw fail('E118', what, `edit that file, or stop the daemon first: kill ${watcher.pid}`)
}

/** Becomes the daemon of the instance. Throws XdpError E118 where there is one. */
export async function openWatcher(host: Host): Promise<Watcher> {
  await requireHost(host)
  return becomeWatcher(host)
}
