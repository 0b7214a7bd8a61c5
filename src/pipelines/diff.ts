// The live policy, for comparisons.

import { observe } from '../kernel/observe/observe.ts'
import type { State } from '../model/state.ts'
import { type Host, interruptible, openSession, reading } from './session.ts'

/** The live policy. Takes no lock. */
export const readLivePolicy = (host: Host): Promise<State> =>
  interruptible(host, async () => {
    const { paths } = await openSession(host, 'pins')
    return (await reading(paths, () => observe(paths, host))).state
  })
