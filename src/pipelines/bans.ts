// The pipeline of bans: guard → lock → write. It does not observe, so that one ban costs one reading of the pins, one
// bpftool process for the namespace and one for the write.

import { XdpError } from '../diagnostics.ts'
import { ownNetns } from '../kernel/host/host.ts'
import { protectedAddresses } from '../kernel/host/protect.ts'
import { listBans as readBans } from '../kernel/live/ban-list.ts'
import { banGeneration, banNetns, MOST_REQUESTS, writeBans } from '../kernel/live/bans.ts'
import {
  type Ban,
  type BanLabels,
  type BanOutcome,
  type BanRequest,
  coversAddress,
  type Protected,
} from '../model/ban.ts'
import { compareAddresses } from '../model/text.ts'
import { guardNamespace } from '../plan/guard.ts'
import { type Host, interruptible, now, openSession, reading, refuse, type Session, withLock } from './session.ts'

/** Throws E201 if the instance belongs to another network namespace, whose own addresses cannot be read here. */
async function requireNamespace({ paths }: Session): Promise<void> {
  const [netns, own] = await Promise.all([banNetns(paths), ownNetns()])
  refuse(guardNamespace({ netns, ownNetns: own }))
}

/** The protected addresses that a request would ban. */
const covered = ({ op, prefix }: BanRequest, addresses: readonly Protected[]): readonly Protected[] =>
  op === 'remove' ? [] : addresses.filter(({ address }) => coversAddress(prefix, address))

/** Milliseconds for which the protected addresses are cached: a stream of requests may last for days. */
const FRESH = 5000

/** Changes bans, once or repeatedly; caches facts about the host for a moment. */
export interface BanSession {
  /**
   * Carries out requests in order; returns one outcome each. Without `force`, refuses those that cover a protected
   * address and carries out the others. Throws E116 if nothing is applied, E106 if another process holds the lock.
   */
  readonly change: (requests: readonly BanRequest[], labels: BanLabels, force: boolean) => Promise<BanOutcome[]>
}

/** Throws E116 if nothing is applied, E201 in another namespace. */
export async function openBans(host: Host): Promise<BanSession> {
  const session = await openSession(host)
  const inNamespace = requireNamespace(session)
  // Awaited in `change`; this prevents an unhandled rejection until then.
  inNamespace.catch(() => undefined)
  let known: readonly Protected[] = []
  let knownAt = Number.NEGATIVE_INFINITY
  const protectedNow = async (): Promise<readonly Protected[]> => {
    if (Date.now() - knownAt > FRESH) {
      known = await protectedAddresses()
      knownAt = Date.now()
    }
    return known
  }
  return {
    change: async (requests, labels, force) => {
      const isGuarded = !force && requests.some(({ op }) => op === 'add')
      const [addresses] = await Promise.all([isGuarded ? protectedNow() : [], inNamespace])
      return write(session, requests, labels, addresses)
    },
  }
}

async function write(
  session: Session,
  requests: readonly BanRequest[],
  labels: BanLabels,
  addresses: readonly Protected[],
): Promise<BanOutcome[]> {
  const outcomes: BanOutcome[] = requests.map((request) => {
    const protects = covered(request, addresses)
    return protects.length > 0 ? { result: 'refused', protects } : { result: 'absent' }
  })
  const wanted = requests.flatMap((_, i) => (outcomes[i]?.result === 'refused' ? [] : [i]))
  for (let first = 0; first < wanted.length; first += MOST_REQUESTS) {
    const part = wanted.slice(first, first + MOST_REQUESTS)
    const chosen = part.map((i) => requests[i] as BanRequest)
    const { paths } = session
    // Under the lock: an apply may have replaced the generation.
    const results = await withLock(session, async () =>
      writeBans(paths, await banGeneration(paths), chosen, labels, now()),
    )
    for (const [at, result] of results.entries()) outcomes[part[at] as number] = { result } as BanOutcome
  }
  return outcomes
}

/** Every ban in force, sorted by address. Removes expired bans, unless another process holds the lock. */
export const listBans = (host: Host): Promise<Ban[]> => interruptible(host, () => listInSession(host))

async function listInSession(host: Host): Promise<Ban[]> {
  const session = await openSession(host)
  const { paths } = session
  await reading(paths, () => banGeneration(paths))
  const read = async (isLocked: boolean): Promise<Ban[]> => readBans(paths, await banGeneration(paths), isLocked)
  const impatient = { ...session, host: { ...host, lockTimeoutMs: 0 } }
  const bans = await withLock(impatient, () => read(true)).catch((error: unknown) => {
    // Another process holds the lock, or /run is not writable.
    const isUnlocked = error instanceof XdpError && ['E106', 'E115'].includes(error.diagnostics[0]?.code ?? '')
    if (!isUnlocked) throw error
    return reading(paths, () => read(false))
  })
  return bans.sort(
    ({ prefix: left }, { prefix: right }) =>
      left.family - right.family || compareAddresses(left.start, right.start) || left.length - right.length,
  )
}
