// The pipeline of why: the verdict of a packet in the kernel and by the config.

import { explain, type Query } from '../kernel/report/why.ts'
import type { Desired } from '../model/desired.ts'
import type { WhyResult } from '../report/result.ts'
import { type Host, interruptible, openSession, reading } from './session.ts'

export type { Query }

/**
 * Explains the verdict; without `desired` only the live one. Throws E103 for a missing interface, E114 for one without
 * our program.
 */
export async function why(host: Host, desired: Desired | undefined, query: Query): Promise<WhyResult> {
  return interruptible(host, async () => {
    const { paths } = await openSession(host, 'pins')
    return reading(paths, () => explain(paths, host, desired, query))
  })
}
