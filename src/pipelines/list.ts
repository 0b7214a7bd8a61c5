// Reads the live policy with everything that a config of it needs.

import { fail } from '../diagnostics.ts'
import { bansInForce } from '../kernel/live/bans.ts'
import { observe, refuseOtherNamespace } from '../kernel/observe/observe.ts'
import type { State } from '../model/state.ts'
import { type Host, interruptible, openSession, reading } from './session.ts'

export interface Listed {
  readonly state: State
  readonly generation: number
  /** ISO 8601, UTC. */
  readonly committedAt: string
  /** Bans in force, and removed backends that keep their flows. */
  readonly bans: number
  readonly leaving: number
}

/**
 * The live policy. Where no interface runs it, those of the last apply stand for them. Takes no lock. Throws E283 without
 * a policy, or without an interface that a config could name.
 */
export const readListed = (host: Host): Promise<Listed> =>
  interruptible(host, async () => {
    const { paths } = await openSession(host, 'pins')
    const live = await reading(paths, () => observe(paths, host))
    refuseOtherNamespace(live)
    const { state, generation, committedAt, instance, leaving, applied } = live
    const interfaces = state.interfaces.size > 0 ? state.interfaces : applied.interfaces
    if (state.policy === undefined || interfaces.size === 0) {
      const what = state.policy === undefined ? 'nothing is applied' : 'no interface runs the policy'
      throw fail('E283', `there is no live policy to list: ${what}`, '`xdp status` shows what there is')
    }
    return {
      state: { ...state, interfaces },
      generation,
      committedAt: new Date(committedAt * 1000).toISOString(),
      bans: bansInForce(instance),
      leaving: leaving.length,
    }
  })
