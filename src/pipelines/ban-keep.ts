// Bans that outlive a reboot (`bans.persist`): a daemon saves them, and the first apply after a boot brings them back, with
// the guard of every ban. A file of an earlier boot is to be restored, and is replaced only once that is complete; every apply
// and every save tries again until then. A file that cannot be used is a warning: no policy depends on it.

import { confirmationOf, pinPaths } from '../abi/paths.ts'
import { type Diagnostic, XdpError } from '../diagnostics.ts'
import {
  isSettled,
  readSavedBans,
  removeSavedBans,
  type SavedBan,
  type SavedBans,
  savedBansFile,
  setAside,
  writeSavedBans,
} from '../history/saved-bans.ts'
import { hostIdentity } from '../kernel/host/identity.ts'
import { acquireLock } from '../kernel/host/lock.ts'
import { beginRestoring, concernedBy, endRestoring, readRestoring, textOf } from '../kernel/host/restoring.ts'
import { shielded } from '../kernel/tools/interrupt.ts'
import { list } from '../kernel/tools/pins.ts'
import type { Ban, BanLabels, BanOrder, BanOutcome } from '../model/ban.ts'
import { NO_ALLOWED_CUTS } from '../model/contact.ts'
import type { Desired } from '../model/desired.ts'
import { plural } from '../model/numbers.ts'
import { RATE_BAN_AUTHOR } from '../model/rate-limit.ts'
import { formatRange } from '../model/text.ts'
import { listBans } from './ban-list.ts'
import { type BanWriter, openWriter } from './bans.ts'
import type { Host } from './session.ts'

type Persist = Desired['persist']

/** The file of an instance; undefined: bans are not kept. */
const fileOf = ({ history }: Host, persist: Persist): string | undefined =>
  persist === true ? history && savedBansFile(history.directory) : persist

const unkept = (message: string, hint: string): Diagnostic => ({ code: 'W252', severity: 'warning', message, hint })

/** Hints of W252. */
const AGAIN = '`xdp apply` tries again'
const WHY = '`xdp ban ADDRESS` says why'

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/** Removes the bans that were saved in the state directory, and those that are still to be restored. */
export async function forgetSavedBans(host: Host): Promise<void> {
  if (host.history) removeSavedBans(savedBansFile(host.history.directory))
  const restoring = await readRestoring(host)
  if (!restoring) return
  removeSavedBans(restoring.file)
  await endRestoring(host)
}

/** A daemon saves bans when it has been stopped already, and an apply that has switched restores them. */
const uninterrupted = ({ signal: _, ...host }: Host): Host => host

const isCode = (error: unknown, code: string): boolean =>
  error instanceof XdpError && error.diagnostics[0]?.code === code

/** Writes the file that `make` makes of the bans in force. Returns why it could not; without a policy there are none. */
async function save(host: Host, file: string, make: (live: readonly Ban[]) => SavedBans): Promise<string | undefined> {
  try {
    writeSavedBans(file, make(await listBans(uninterrupted(host))))
    return undefined
  } catch (error) {
    if (isCode(error, 'E116')) return undefined
    return unsaved(file, error)
  }
}

const whyOf = (error: unknown): string | undefined =>
  error instanceof XdpError ? error.diagnostics[0]?.message : codeOf(error)

const unsaved = (file: string, error: unknown): string => `the bans could not be saved to ${file}: ${whyOf(error)}`

/**
 * Saves the bans in force. If those of an earlier boot are still to be restored, tries that before, and keeps both if it
 * fails. Returns trouble.
 */
export async function saveBans(host: Host, persist: Persist): Promise<string | undefined> {
  const file = fileOf(host, persist)
  if (file === undefined) return undefined
  const { bootId } = await hostIdentity()
  if (isSettled(file, bootId)) return save(host, file, (bans) => ({ boot: bootId, bans }))
  try {
    const lock = await acquireLock({ ...uninterrupted(host), lockTimeoutMs: 0 })
    try {
      return await shielded(() => saveWithRest(uninterrupted(host), file, bootId))
    } finally {
      await lock.release()
    }
  } catch (error) {
    // The apply that has the lock restores them.
    return isCode(error, 'E106') ? undefined : unsaved(file, error)
  }
}

async function saveWithRest(host: Host, file: string, boot: string): Promise<string | undefined> {
  const { rest, warnings } = await restoreFrom(host, file, boot)
  const found = warnings.map(({ message }) => message)
  if (typeof rest === 'string') {
    let aside: string | undefined
    const trouble = await save(host, file, (bans) => {
      aside = setAside(file, boot)
      return { boot, bans }
    })
    const moved = aside && `the saved bans that could not be restored (${rest}) are in ${aside} now`
    return trouble ?? moved
  }
  if (rest !== undefined) {
    const isChanged = concernedBy((await readRestoring(host))?.changes ?? [])
    const trouble = await save(host, file, (live) => {
      const own = new Set(live.map(({ prefix }) => textOf(prefix)))
      const others = rest.bans.filter((ban) => !isChanged(ban) && !own.has(textOf(ban.prefix)))
      return { boot: rest.boot, bans: [...live, ...others] }
    })
    if (trouble !== undefined) found.push(trouble)
  }
  return found.length === 0 ? undefined : found.join('; ')
}

const ofLimit = ({ by }: BanLabels): boolean => by === RATE_BAN_AUTHOR

function orderOf(ban: SavedBan, labelsOf: (ban: SavedBan) => BanLabels, now: number): BanOrder | undefined {
  const { prefix, expires, observe } = ban
  const ttlMs = expires === undefined ? 0 : Math.ceil(expires - now)
  if (expires !== undefined && ttlMs <= 0) return undefined
  const order = { op: 'add', prefix, ttlMs, labels: labelsOf(ban), allowed: NO_ALLOWED_CUTS, peers: [] } as const
  // As when a limit made it: the rest of the table is for others.
  return { ...order, unlessBanned: true, yields: ofLimit(ban), observe }
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
 * Brings the bans of the last boot back, whose time is not over, unless an apply of this boot has done so. The caller holds
 * the lock. No signal interrupts it: the policy that it belongs to is in force. Returns warnings.
 */
export async function restoreBans(host: Host, persist: Persist): Promise<readonly Diagnostic[]> {
  const file = fileOf(host, persist)
  if (file === undefined) return []
  const { bootId } = await hostIdentity()
  if (isSettled(file, bootId)) {
    await endRestoring(host)
    return []
  }
  host.progress?.('restoring bans')
  return (await shielded(() => restoreFrom(uninterrupted(host), file, bootId))).warnings
}

interface Restored {
  readonly warnings: readonly Diagnostic[]
  /** The bans that a later restore has to bring back, or why they cannot be read; undefined: none. */
  readonly rest?: SavedBans | string
}

async function restoreFrom(host: Host, file: string, boot: string): Promise<Restored> {
  const saved = readSavedBans(file)
  // Another process may have completed it before this one had the lock.
  if (saved === undefined || (typeof saved !== 'string' && saved.boot === boot)) return { warnings: [] }
  if (typeof saved === 'string') {
    const hint = `remove the file, or put a backup there, which \`xdp apply\` restores: ${file}`
    return { warnings: [unkept(`the saved bans in ${file} were not restored: ${saved}`, hint)], rest: saved }
  }
  try {
    await beginRestoring(host, { boot, of: saved.boot, file })
    const { orders, outcomes } = await writeSaved(host, saved)
    if (outcomes.some(({ result }) => result === 'no-memory')) {
      const message = `not all saved bans in ${file} were restored: the kernel has no memory for them`
      return { warnings: [unkept(message, AGAIN)], rest: saved }
    }
    if (await mayVanish(host)) return { warnings: lostOf(orders, outcomes), rest: saved }
    const trouble = await save(host, file, (bans) => ({ boot, bans }))
    if (trouble === undefined) await endRestoring(host)
    return { warnings: [...lostOf(orders, outcomes), ...(trouble === undefined ? [] : [unkept(trouble, AGAIN)])] }
  } catch (error) {
    if (isCode(error, 'E116')) return { warnings: [], rest: saved }
    const message = `not all saved bans in ${file} were restored: ${whyOf(error)}`
    return { warnings: [unkept(message, AGAIN)], rest: saved }
  }
}

/** Whether the policy is a first one that waits for its confirmation: without it, the bans end with the policy. */
async function mayVanish({ bpffs, instance }: Host): Promise<boolean> {
  const names = await list(pinPaths(bpffs, instance).instance)
  return names.some((name) => confirmationOf(name)?.previous === 0)
}

interface Written {
  readonly orders: readonly BanOrder[]
  readonly outcomes: readonly BanOutcome[]
}

/** Writes the saved bans, except those that an operator has changed since this restore first began. */
async function writeSaved(host: Host, saved: SavedBans): Promise<Written> {
  const labelsOf = sharedLabels()
  const now = Date.now()
  const before = (await readRestoring(host))?.changes ?? []
  const isChanged = concernedBy(before)
  // Those of limits come last: they take only the room that the others leave.
  const sorted = [...saved.bans.filter((ban) => !ofLimit(ban)), ...saved.bans.filter(ofLimit)]
  const orders = sorted.flatMap((ban) => (isChanged(ban) ? [] : (orderOf(ban, labelsOf, now) ?? [])))
  const writer = await openWriter(host)
  const outcomes = await writer.write(orders)
  await liftAgain(host, writer, { orders, outcomes }, before.length)
  return { orders, outcomes }
}

/** Lifts bans that an operator lifted while they were being restored, perhaps before they were there. */
async function liftAgain(host: Host, writer: BanWriter, { orders, outcomes }: Written, seen: number): Promise<void> {
  const changes = (await readRestoring(host))?.changes.slice(seen) ?? []
  const isLifted = concernedBy(changes, ({ op }) => op === 'remove')
  const isBanned = concernedBy(changes, ({ op }) => op === 'add')
  const lifted = orders.filter(({ prefix, labels }, i) => {
    const ban = { prefix, ...labels }
    return outcomes[i]?.result === 'added' && isLifted(ban) && !isBanned(ban)
  })
  if (lifted.length > 0) await writer.write(lifted.map((order) => ({ ...order, op: 'remove', ttlMs: 0 })))
}

/** One warning for all saved bans that were refused. */
function lostOf(orders: readonly BanOrder[], outcomes: readonly BanOutcome[]): Diagnostic[] {
  const lost = orders.filter((_, i) => !['added', 'refreshed', 'kept'].includes(outcomes[i]?.result ?? ''))
  if (lost.length === 0) return []
  const some = lost.slice(0, 3).map(({ prefix: { family, start, end } }) => formatRange(family, start, end))
  const what = `${plural(lost.length, 'saved ban')} of ${orders.length} could not be restored: ${some.join(', ')}`
  const isFull = outcomes.some(({ result }) => result === 'full')
  const hint = isFull ? 'raise `limits.bans`: the table is full, up to the eighth that limits leave to others' : WHY
  return [unkept(`${what}${lost.length > 3 ? ' and others' : ''}`, hint)]
}
