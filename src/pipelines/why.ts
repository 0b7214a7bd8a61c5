// The pipeline of why: the verdict of a packet in the kernel and by the config.

import { CODES, EXIT, XdpError } from '../diagnostics.ts'
import { explain } from '../kernel/report/why.ts'
import { type AloneFacts, explainFile } from '../kernel/report/why-file.ts'
import type { Query } from '../kernel/report/why-parts.ts'
import { explainState, type StateFacts } from '../kernel/report/why-state.ts'
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

/** Errors of a host that has no XDP to read, or does not let this user read it. */
const isUnreadable = (error: unknown): error is XdpError =>
  error instanceof XdpError &&
  error.diagnostics.some(({ code }) => ([EXIT.unavailable, EXIT.notPermitted] as number[]).includes(CODES[code].exit))

/**
 * Explains the verdict, by the file alone if nothing live can be read. Throws E282 then for an interface that the file does
 * not have.
 */
export async function whyIfAny(host: Host, desired: Desired, query: Query, facts: AloneFacts): Promise<WhyResult> {
  try {
    return await why(host, desired, query)
  } catch (error) {
    // A missing interface is an answer about this host.
    if (!isUnreadable(error) || error.diagnostics.some(({ code }) => code === 'E103')) throw error
    return explainFile(desired, query, { ...facts, unread: error.message })
  }
}

/** The verdict by the file alone. */
export const whyOffline = (desired: Desired, query: Query, facts: AloneFacts): WhyResult =>
  explainFile(desired, query, facts)

/** The verdict by an exported state and the file. Throws E103 or E114 for a bad interface, as on its host. */
export const whyAgainst = (facts: StateFacts, desired: Desired | undefined, query: Query): WhyResult =>
  explainState(facts, desired, query)
