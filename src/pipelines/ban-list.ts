// Lists bans, and lifts those with a label.

import { XdpError } from '../diagnostics.ts'
import { acquireBansLock } from '../kernel/host/lock.ts'
import { noteChanges } from '../kernel/host/restoring.ts'
import { listBans as readBans } from '../kernel/live/ban-list.ts'
import { banGeneration } from '../kernel/live/ban-write.ts'
import type { Ban, BanLabels, BanOutcome, BanRequest } from '../model/ban.ts'
import { EVERY_CUT } from '../model/contact.ts'
import { compareAddresses } from '../model/text.ts'
import type { BanSession } from './bans.ts'
import { type Host, interruptible, openSession, reading } from './session.ts'

/** Every ban in force, sorted by address. Removes expired bans, unless another process holds the lock of the bans. */
export const listBans = (host: Host): Promise<Ban[]> => interruptible(host, () => listInSession(host))

async function listInSession(host: Host): Promise<Ban[]> {
  const { paths } = await openSession(host, 'pins')
  await reading(paths, () => banGeneration(paths))
  const read = async (isLocked: boolean): Promise<Ban[]> => readBans(paths, await banGeneration(paths), isLocked)
  const readLocked = async (): Promise<Ban[]> => {
    const lock = await acquireBansLock({ ...host, lockTimeoutMs: 0 })
    try {
      return await reading(paths, () => read(true))
    } finally {
      await lock.release()
    }
  }
  const bans = await readLocked().catch((error: unknown) => {
    const isUnlocked = error instanceof XdpError && ['E106', 'E115'].includes(error.diagnostics[0]?.code ?? '')
    if (!isUnlocked) throw error
    return reading(paths, () => read(false))
  })
  return bans.sort(
    ({ prefix: left }, { prefix: right }) =>
      left.family - right.family || compareAddresses(left.start, right.start) || left.length - right.length,
  )
}

/** Outcomes by request. */
export type Lifted = readonly (readonly [BanRequest, BanOutcome])[]

/** Most requests at once. */
const PART = 4096

/**
 * Lifts every ban in force that carries the labels; an empty label matches any. A ban that gets other labels meanwhile
 * stays.
 */
export async function liftBans(host: Host, session: BanSession, labels: BanLabels): Promise<Lifted> {
  const isMeant = ({ by, reason }: Ban): boolean =>
    (labels.by === '' || by === labels.by) && (labels.reason === '' || reason === labels.reason)
  // Also bans of an earlier boot that are still to be restored.
  await noteChanges(host, [{ op: 'remove', prefix: undefined, labels }])
  const requests = (await listBans(host))
    .filter(isMeant)
    .map(({ prefix }): BanRequest => ({ op: 'remove', prefix, ttlMs: 0 }))
  const lifted: [BanRequest, BanOutcome][] = []
  for (let first = 0; first < requests.length; first += PART) {
    const part = requests.slice(first, first + PART)
    const outcomes = await session.change(part, labels, EVERY_CUT)
    for (const [i, outcome] of outcomes.entries()) lifted.push([part[i] as BanRequest, outcome])
  }
  return lifted
}
