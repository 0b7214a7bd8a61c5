// Checks `backup` of backends against the other keys of their service.

import type { Fallback } from '../../model/health.ts'
import { BACKUPS_A_SERVICE } from '../../model/limits.ts'
import { formatCount } from '../../model/numbers.ts'
import { backendKey } from '../../model/service.ts'
import { fieldOf, type Reading, reportAt } from '../text/place.ts'
import type { Placed } from '../text/tree.ts'
import type { ReadBackend } from './backends.ts'
import type { WrittenService } from './written-services.ts'

/** Values of `fallback` that send new flows to the backups. */
const FOR_BACKUPS: readonly Fallback[] = ['backup', 'sorry']

export function checkBackups(
  { fallback }: WrittenService,
  placed: Placed,
  backends: readonly ReadBackend[],
  reading: Reading,
): void {
  const backups = backends.filter(({ backend }) => backend.backup)
  const [first] = backups
  const extra = backups[BACKUPS_A_SERVICE]
  if (first === undefined) {
    if (fallback !== 'backup') return
    const hint = 'mark the backends that stand in for the others, for example `{ address: 10.0.0.21, backup: true }`'
    reportAt(reading, fieldOf(placed, 'fallback'), 'E223', 'fallback: backup needs a backend with `backup: true`', hint)
    return
  }
  if (fallback !== undefined && !FOR_BACKUPS.includes(fallback)) {
    const message = `with fallback: ${fallback} no new flow would go to the backup ${backendKey(first.backend)}`
    const hint = 'remove `fallback`: the backups take new flows while too few other backends are healthy'
    reportAt(reading, fieldOf(placed, 'fallback'), 'E223', message, hint)
  }
  if (extra !== undefined) {
    const message = `the service has ${formatCount(backups.length)} backups; it can have ${BACKUPS_A_SERVICE}`
    reportAt(reading, extra.placed, 'E223', message, 'remove `backup` from some, or divide the service')
  }
}
