// What every reconcile begins with, whatever it is for: the lock, what is live, and a generation to be filled. The daemon
// begins while it waits for an edit to come to its end.

import type { Paths } from '../../abi/paths.ts'
import { partsFor } from '../../features/features.ts'
import type { State } from '../../model/state.ts'
import { type Host, requireHost } from '../host/host.ts'
import { acquireLock, type Lock } from '../host/lock.ts'
import { type Observation, observe, withSurroundings } from '../observe/observe.ts'
import { loadObject } from '../tools/object.ts'
import { type Committed, type Stage, type Staging, stageAfter, unstage } from './stage.ts'

/** A reconcile that was begun. Nobody else can change the instance before it is ended. */
export interface Early {
  readonly lock: Promise<Lock>
  /** What is live, and what must be known of the network for the services of a state. */
  readonly observe: (wanted: State) => Promise<Observation>
  /** The staged generation, for whoever fills it. */
  readonly takeStage: () => Promise<Stage | undefined>
  /** Tidies up what was not used, and gives the lock back. */
  readonly end: () => Promise<void>
}

/**
 * Begins a reconcile. Failures are for those who wait for what failed.
 *
 * @param expected as for `observe`
 * @param last the generation that is live most likely
 */
export function beginEarly(host: Host, paths: Paths, expected: State, last: Committed | undefined): Early {
  const lock = requireHost(host).then(() => acquireLock(host))
  const staging = lock.then(async () => last && stageAfter(host, paths, last, await loadObject(), partsFor(expected)))
  // What the network says of backends is asked for when it is known of which.
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
