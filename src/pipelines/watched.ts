// The daemon of an instance: becomes it, and refuses changes that it would undo.

import { resolve } from 'node:path'
import { fail } from '../diagnostics.ts'
import { type Host, requireHost } from '../kernel/host/host.ts'
import { becomeWatcher, readWatcher, stopCommand, type Watcher } from '../kernel/host/watcher.ts'

import { interruptible } from './session.ts'

export type { Watcher }

/**
 * Throws E118 if a daemon keeps another config in force, and would undo the change.
 *
 * @param path of the config to apply; undefined: destroy
 */
export async function refuseWatched(host: Host, path: string | undefined): Promise<void> {
  await requireHost(host, path === undefined ? 'attachments' : 'programs')
  const watcher = await interruptible(host, () => readWatcher(host))
  const watched = watcher?.config?.path
  if (!watcher || watched === undefined || (path !== undefined && resolve(path) === watched)) return
  const what = `the daemon with pid ${watcher.pid} keeps ${watched} in force, and would undo this`
  throw fail('E118', what, `edit that file, or stop the daemon first: ${await stopCommand(watcher.pid)}`)
}

/** Becomes the daemon of the instance. Throws XdpError E118 if it has one. */
export async function openWatcher(host: Host): Promise<Watcher> {
  await requireHost(host)
  return becomeWatcher(host)
}
