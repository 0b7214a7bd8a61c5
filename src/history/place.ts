// Where the history of an instance is.

import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'

/** The mount whose directories have no hash. */
export const USUAL_BPFFS = '/sys/fs/bpf'

/**
 * `STATE/history/INSTANCE` for the usual bpffs, `INSTANCE.HASH` (first 12 hex digits of the SHA-256 of the mount point) for
 * other mounts: as with the record in /run/xdp, and unlike files there, the same after a reboot.
 */
export function historyDirectory(state: string, bpffs: string, instance: string): string {
  const mount = resolve(bpffs)
  const hash = mount === USUAL_BPFFS ? '' : `.${createHash('sha256').update(mount).digest('hex').slice(0, 12)}`
  return join(state, 'history', `${instance}${hash}`)
}
