// The config that the daemon keeps in force: that of the file, unless the history says that another one holds until the
// file changes. Then the file stays as it is, and the policy in force is kept and repaired like any other.

import type { Loaded } from '../config/load.ts'
import type { Trust } from '../config/text/trust.ts'
import { XdpError } from '../diagnostics.ts'
import { warningOf } from '../history/history.ts'
import { readHeld } from '../pipelines/history.ts'
import type { Host } from '../pipelines/session.ts'
import type { WatchEvent } from '../report/watch.ts'
import { loadHeld } from './restore.ts'

/**
 * Chooses between the file and the history; returns the result of the last call if nothing changed. A config of the history
 * that cannot be read leaves that of the file, which an apply then refuses (E239): the policy in force stays.
 */
export function followRollbacks(
  host: Host,
  trust: Trust | undefined,
  emit: (event: WatchEvent) => void,
): (file: Loaded) => Promise<Loaded> {
  let known: { readonly key: string; readonly file: Loaded; readonly loaded: Loaded } | undefined
  let reported: string | undefined
  const warnOnce = (): void => {
    const warning = host.history && warningOf(host.history)
    if (warning === undefined || warning.message === reported) return
    reported = warning.message
    emit({ event: 'warning', warnings: [warning] })
  }
  return async (file) => {
    warnOnce()
    const held = await readHeld(host, file.desired)
    if (!held?.by) {
      known = undefined
      return file
    }
    const { by, over, why } = held
    const { config, watch } = file.desired
    const key = [by.number, over.number, config.path, config.sha256].join(' ')
    if (known?.key === key && known.file === file) return known.loaded
    try {
      const { desired, warnings } = await loadHeld(host, { ...held, by }, file, trust)
      // The daemon itself goes by the file, which it follows.
      const loaded = { desired: { ...desired, watch, config: { ...desired.config, path: config.path } }, warnings }
      if (known?.key !== key) emit({ event: 'overruled', why, apply: by.number, config: config.path })
      known = { key, file, loaded }
      return loaded
    } catch (error) {
      if (!(error instanceof XdpError)) throw error
      if (known?.key !== key) emit({ event: 'trouble', what: error.diagnostics[0]?.message ?? error.message })
      known = { key, file, loaded: file }
      return file
    }
  }
}
