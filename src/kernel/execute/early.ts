// The start of every reconcile: the lock, the live state, and a staged generation. The daemon begins while it waits for
// an edit to finish.

import type { Paths } from '../../abi/paths.ts'
import { partsFor } from '../../features/features.ts'
import type { State } from '../../model/state.ts'
import { type Host, requireHost } from '../host/host.ts'
import { acquireLock, type Lock } from '../host/lock.ts'
import { type Observation, observe, withSurroundings } from '../observe/observe.ts'
import { loadObject } from '../tools/object.ts'
import { type Committed, type Stage, type Staging, stageAfter, unstage } from './stage.ts'

/** A prepared apply. No other process can change the instance until it ends. */
export interface Early {
  readonly lock: Promise<Lock>
  /** The live state, with the facts about the network that the services of a state need. */
  readonly observe: (wanted: State) => Promise<Observation>
  /** The staged generation, which the caller fills or removes. */
  readonly takeStage: () => Promise<Stage | undefined>
  /** Removes an unused stage, and releases the lock. */
  readonly end: () => Promise<void>
}

/**
 * Begins a reconcile. A failure reaches only the caller that awaits the failed part.
 *
 * @param expected as for `observe`
 * @param last the generation that is most likely live
 */
export function beginEarly(host: Host, paths: Paths, expected: State, last: Committed | undefined): Early {
  const lock = requireHost(host).then(() => acquireLock(host))
  const parts = partsFor(expected)
  // A program that calls others is loaded for those of its generation, which are not known yet.
  const next = parts.get('chain') === true ? undefined : last
  const staging = lock.then(async () => next && stageAfter(host, paths, next, await loadObject(), parts))
  // Backends are resolved later, once the services are known.
  const state = { ...expected, services: new Map() }
  const live = staging.then((staged) => observe(paths, host, { state, staged: staged?.generation }))
  for (const promise of [lock, staging, live]) promise.catch(() => undefined)
  let isTaken = false
  const stageOf = async (): Promise<Stage | undefined> => (await (staging as Promise<Staging | undefined>))?.stage
  return {
    lock,
    observe: async (wanted) => withSurroundings(await live, wanted, host),
    takeStage() {
      isTaken = true
      return stageOf()
    },
    async end() {
      const stage = await stageOf().catch(() => undefined)
      await live.catch(() => undefined)
      if (stage && !isTaken) await unstage(paths, stage.generation)
      await lock.then(
        ({ release }) => release(),
        () => undefined,
      )
    },
  }
}
