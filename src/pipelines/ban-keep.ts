// Bans that outlive a reboot (`bans.persist`): a daemon saves them, and the first apply after a boot brings them back, with
// the guard of every ban. A file that cannot be used is a warning: no policy depends on it.

import { type Diagnostic, XdpError } from '../diagnostics.ts'
import {
  isSettled,
  readSavedBans,
  removeSavedBans,
  type SavedBan,
  savedBansFile,
  writeSavedBans,
} from '../history/saved-bans.ts'
import { hostIdentity } from '../kernel/host/identity.ts'
import { shielded } from '../kernel/tools/interrupt.ts'
import type { BanLabels, BanOrder } from '../model/ban.ts'
import { NO_ALLOWED_CUTS } from '../model/contact.ts'
import type { Desired } from '../model/desired.ts'
import { plural } from '../model/numbers.ts'
import { formatRange } from '../model/text.ts'
import { listBans } from './ban-list.ts'
import { openWriter } from './bans.ts'
import type { Host } from './session.ts'

type Persist = Desired['persist']

/** The file of an instance; undefined: bans are not kept. */
const fileOf = ({ history }: Host, persist: Persist): string | undefined =>
  persist === true ? history && savedBansFile(history.directory) : persist

const unkept = (message: string, hint: string): Diagnostic => ({ code: 'W252', severity: 'warning', message, hint })

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/** Removes the bans that were saved in the state directory. */
export function forgetSavedBans({ history }: Host): void {
  if (history) removeSavedBans(savedBansFile(history.directory))
}

/** A daemon saves bans when it has been stopped already, and an apply that has switched restores them. */
const uninterrupted = ({ signal: _, ...host }: Host): Host => host

/**
 * Saves the bans in force, unless those of an earlier boot are still to be restored. Returns why it could not; without a
 * policy there is nothing to save.
 */
export async function saveBans(host: Host, persist: Persist): Promise<string | undefined> {
  const file = fileOf(host, persist)
  if (file === undefined) return undefined
  const { bootId } = await hostIdentity()
  if (!isSettled(file, bootId))
    return `the bans were not saved to ${file}: those of an earlier boot in it were not restored`
  return writeLive(host, file, bootId)
}

async function writeLive(host: Host, file: string, boot: string): Promise<string | undefined> {
  try {
    writeSavedBans(file, { boot, bans: await listBans(uninterrupted(host)) })
    return undefined
  } catch (error) {
    if (error instanceof XdpError && error.diagnostics[0]?.code === 'E116') return undefined
    const why = error instanceof XdpError ? error.diagnostics[0]?.message : codeOf(error)
    return `the bans could not be saved to ${file}: ${why}`
  }
}

function orderOf(ban: SavedBan, labelsOf: (ban: SavedBan) => BanLabels, now: number): BanOrder | undefined {
  const { prefix, expires, observe } = ban
  const ttlMs = expires === undefined ? 0 : Math.ceil(expires - now)
  if (expires !== undefined && ttlMs <= 0) return undefined
  const order = { op: 'add', prefix, ttlMs, labels: labelsOf(ban), allowed: NO_ALLOWED_CUTS, peers: [] } as const
  return observe ? { ...order, observe } : order
}

/** One object for equal labels, so that their bytes are made once. */
function sharedLabels(): (ban: SavedBan) => BanLabels {
  const known = new Map<string, BanLabels>()
  return ({ by, reason }) => {
    const key = JSON.stringify([by, reason])
    const labels = known.get(key) ?? { by, reason }
    known.set(key, labels)
    return labels
  }
}

/**
 * Brings the bans of the last boot back, whose time is not over. `isFirst`: nothing was applied before this apply. No
 * signal interrupts it: the policy that it belongs to is in force. Returns warnings.
 */
export async function restoreBans(host: Host, persist: Persist, isFirst: boolean): Promise<Diagnostic[]> {
  const file = isFirst ? fileOf(host, persist) : undefined
  return file === undefined ? [] : shielded(() => restoreFrom(uninterrupted(host), file))
}

async function restoreFrom(host: Host, file: string): Promise<Diagnostic[]> {
  const saved = readSavedBans(file)
  if (saved === undefined) return []
  if (typeof saved === 'string') {
    return [
      unkept(
        `the saved bans in ${file} were not restored: ${saved}`,
        `remove the file, or put a backup there: ${file}`,
      ),
    ]
  }
  // Bans that were lifted by `xdp destroy` in this boot stay lifted.
  const { bootId } = await hostIdentity()
  if (saved.boot === bootId) return []
  const labelsOf = sharedLabels()
  const now = Date.now()
  const orders = saved.bans.flatMap((ban) => orderOf(ban, labelsOf, now) ?? [])
  try {
    const outcomes = await (await openWriter(host)).write(orders)
    const lost = orders.filter((_, i) => !['added', 'refreshed'].includes(outcomes[i]?.result ?? ''))
    await writeLive(host, file, bootId)
    if (lost.length === 0) return []
    const some = lost.slice(0, 3).map(({ prefix: { family, start, end } }) => formatRange(family, start, end))
    const what = `${plural(lost.length, 'saved ban')} of ${orders.length} could not be restored: ${some.join(', ')}`
    return [unkept(`${what}${lost.length > 3 ? ' and others' : ''}`, '`xdp ban ADDRESS` says why')]
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    return [unkept(`the saved bans in ${file} were not restored: ${error.diagnostics[0]?.message}`, 'xdp doctor')]
  }
}
