// Retries readings that an apply disturbs: readers take no lock, so an apply may free the generation being read, or be
// between its switch and its commit.

import { setTimeout } from 'node:timers/promises'
import { type Code, XdpError } from '../../diagnostics.ts'

const ATTEMPTS = 3
/** Longer than an apply takes from its switch to its end. */
const SETTLING_MS = 200
/** Failed command, refusal by the data plane, damaged tables: the errors of a reader whose generation is freed. */
const TRANSIENT: readonly Code[] = ['E101', 'E108', 'E113']

const isTransient = (error: unknown): boolean =>
  error instanceof XdpError && error.diagnostics.some(({ code }) => TRANSIENT.includes(code))

/**
 * Returns the answer of `read`. Retries after an error that a concurrent apply can cause, and after an answer that
 * `isPassing` calls transient. Throws the error of the last attempt.
 */
export async function settled<T>(read: () => Promise<T>, isPassing: (answer: T) => boolean = () => false): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await read()
      if (attempt === ATTEMPTS || !isPassing(answer)) return answer
    } catch (error) {
      if (attempt === ATTEMPTS || !isTransient(error)) throw error
    }
    await setTimeout(SETTLING_MS)
  }
}
