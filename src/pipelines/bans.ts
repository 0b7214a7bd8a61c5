// Bans are written by the daemon, if one answers soon, else by this process: guard → write. Neither waits for an apply.
// Imports little, so that `xdp ban` starts fast; ban-list.ts lists bans.

import { pinPaths } from '../abi/paths.ts'
import { CODES, type Code, fail } from '../diagnostics.ts'
import { askDaemon, controlSocket } from '../kernel/host/control.ts'
import { type Host, ownNetns, requireHost } from '../kernel/host/host.ts'
import { ownAuthor, ownPeers, readDelicate } from '../kernel/host/protect.ts'
import { noteChanges } from '../kernel/host/restoring.ts'
import { banGenerations, banLockFile, MOST_REQUESTS, writeBans } from '../kernel/live/ban-write.ts'
import { type Caution, readProtect } from '../kernel/live/protect.ts'
import { runNow } from '../kernel/tools/now.ts'
import { CommandError, useRunner } from '../kernel/tools/spawn.ts'
import {
  type BanLabels,
  type BanOrder,
  type BanOutcome,
  type BanRefusal,
  type BanRequest,
  coversAddress,
} from '../model/ban.ts'
import { MOST_MESSAGE_REQUESTS } from '../model/ban-wire.ts'
import type { AllowedCuts } from '../model/contact.ts'
import { overlaps } from '../model/text.ts'

/** Whether a ban may cut a guarded peer. Most do not, and need no judge. */
const isDoubtful = ({ op, prefix, observe, allowed, peers }: BanOrder, caution: Caution): boolean =>
  op === 'add' &&
  !observe &&
  !allowed.all &&
  (caution.own.some(({ address }) => coversAddress(prefix, address)) ||
    [...peers, ...caution.peers].some(({ words }) => coversAddress(prefix, words)) ||
    caution.protect.some((element) => overlaps(prefix, element.prefix)))

/** Milliseconds for which those facts are cached: a stream of requests may last for days. */
const FRESH = 5000

/** Attempts to write: an apply may free the generation whose program was chosen. */
const LOOKS = 5

/** Whether a pin did not exist. The same requests may be written again. */
const isGone = (error: unknown): boolean =>
  error instanceof CommandError && error.words.includes('No such file or directory')

/** Writes bans, once or repeatedly; caches facts about the host for a moment. */
export interface BanWriter {
  /**
   * Carries out orders in the given sequence; returns one outcome each. Refuses those that would cut guarded peers and
   * carries out the others. Throws E116 if nothing is applied, E201 in another namespace, E106 if the lock stays held.
   */
  readonly write: (orders: readonly BanOrder[]) => Promise<BanOutcome[]>
}

/** Throws E201 with the namespaces. Loads the code for it only here. */
async function refuseNamespace(host: Host): Promise<never> {
  const { refuseElsewhere } = await import('./elsewhere.ts')
  return refuseElsewhere(host)
}

/** Tries again while an apply frees the generation that was chosen. */
async function persistently<T>(body: () => Promise<T>): Promise<T> {
  for (let look = 1; ; look++) {
    try {
      return await body()
    } catch (error) {
      if (look === LOOKS || !isGone(error)) throw error
    }
  }
}

type Refusals = ReadonlyMap<BanOrder, readonly BanRefusal[]>
const NO_REFUSALS: Refusals = new Map()

/** Why orders are refused. Loads the judge only if one of them is doubtful. */
async function refusalsOf(host: Host, orders: readonly BanOrder[], caution: Caution): Promise<Refusals> {
  const doubtful = orders.filter((order) => isDoubtful(order, caution))
  if (doubtful.length === 0) return NO_REFUSALS
  const { judgeBans } = await import('./ban-guard.ts')
  return judgeBans(host, doubtful, caution)
}

/** A writer in this process. Throws E104 and E105. */
export async function openWriter(host: Host): Promise<BanWriter> {
  await requireHost(host, 'pins')
  const { bpffs, instance, lockTimeoutMs } = host
  const paths = pinPaths(bpffs, instance)
  const lock = { file: await banLockFile(bpffs, instance), timeoutMs: lockTimeoutMs }
  const access = { paths, lock, netns: await ownNetns() }
  let known: Caution = { own: [], peers: [], protect: [] }
  let knownAt = Number.NEGATIVE_INFINITY
  const readCaution = async (): Promise<Caution> => {
    const protect = await persistently(async () => readProtect(paths, await banGenerations(paths)))
    return { ...(await readDelicate()), protect }
  }
  const cautionNow = async (): Promise<Caution> => {
    if (Date.now() - knownAt > FRESH) {
      known = await readCaution()
      knownAt = Date.now()
    }
    return known
  }
  const writePart = (orders: readonly BanOrder[]): Promise<readonly BanOutcome['result'][]> =>
    persistently(async () => {
      const generations = await banGenerations(paths)
      const write = async (into: readonly number[]): Promise<readonly BanOutcome['result'][]> => {
        const results = await writeBans(access, into, orders, Math.floor(Date.now() / 1000))
        return results === 'elsewhere' ? await refuseNamespace(host) : results
      }
      const results = await write(generations)
      // An apply that began meanwhile may have taken the bans over just before they were written.
      const later = (await banGenerations(paths)).filter((number) => !generations.includes(number))
      if (later.length > 0) await write(later)
      return results
    })
  return {
    async write(orders) {
      const isGuarded = orders.some(({ op, observe, allowed }) => op === 'add' && !observe && !allowed.all)
      const refusals = isGuarded ? await refusalsOf(host, orders, await cautionNow()) : NO_REFUSALS
      const outcomes: BanOutcome[] = orders.map((order) => {
        const reasons = refusals.get(order) ?? []
        return reasons.length > 0 ? { result: 'refused', reasons } : { result: 'absent' }
      })
      const wanted = orders.flatMap((_, i) => (outcomes[i]?.result === 'refused' ? [] : [i]))
      const isOperators = ({ yields, unlessBanned }: BanOrder): boolean => !yields && !unlessBanned
      await noteChanges(host, wanted.map((i) => orders[i] as BanOrder).filter(isOperators))
      for (let first = 0; first < wanted.length; first += MOST_REQUESTS) {
        const part = wanted.slice(first, first + MOST_REQUESTS)
        const results = await writePart(part.map((i) => orders[i] as BanOrder))
        for (const [at, result] of results.entries()) outcomes[part[at] as number] = { result } as BanOutcome
      }
      return outcomes
    },
  }
}

/** A writer for short commands, which starts tools without the event loop. */
async function openQuickWriter(host: Host): Promise<BanWriter> {
  useRunner(runNow)
  return openWriter(host)
}

/** Changes bans for a command. */
export interface BanSession {
  /** Carries out requests; see BanWriter. */
  readonly change: (requests: readonly BanRequest[], labels: BanLabels, allowed: AllowedCuts) => Promise<BanOutcome[]>
}

/** Opens the bans of an instance. Throws E104 and E105. */
export async function openBans(host: Host): Promise<BanSession> {
  await requireHost(host, 'pins')
  const socket = await controlSocket(host.bpffs, host.instance)
  const netns = await ownNetns()
  const peers = ownPeers()
  let writer: Promise<BanWriter> | undefined
  const ask = async (orders: readonly BanOrder[]): Promise<readonly BanOutcome[] | undefined> => {
    const answer = await askDaemon(socket, { orders, netns })
    if (!answer?.error) return answer?.outcomes
    const { code, message, hint } = answer.error
    throw fail(code in CODES ? (code as Code) : 'E101', message, hint)
  }
  return {
    async change(requests, labels, allowed) {
      // One object for all of them, so that its bytes are made once.
      const authored = { ...labels, by: ownAuthor() }
      const isAnonymous = ({ op }: BanRequest): boolean => op === 'add' && labels.by === ''
      const orders = requests.map((request): BanOrder => {
        return { ...request, labels: isAnonymous(request) ? authored : labels, allowed, peers }
      })
      if (orders.length <= MOST_MESSAGE_REQUESTS) {
        const outcomes = await ask(orders)
        if (outcomes) return [...outcomes]
      }
      writer ??= openQuickWriter(host)
      return (await writer).write(orders)
    },
  }
}
