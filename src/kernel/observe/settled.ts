// Reading beside a writer: readers take no lock, so an apply may free what is being read, or be between its switch and its
// commit. Such a reading is repeated.

import { setTimeout } from 'node:timers/promises'
import { type Code, XdpError } from '../../diagnostics.ts'

const ATTEMPTS = 3
/** Longer than an apply takes from its switch to its end. */
const SETTLING_MS = 200
/** A command failed, the data plane refused, tables were damaged: what a reader meets when its generation is freed. */
const TRANSIENT: readonly Code[] = ['E101', 'E108', 'E113']

const isTransient = (error: unknown): boolean =>
  error instanceof XdpError && error.diagnostics.some(({ code }) => TRANSIENT.includes(code))

/**
 * The answer of `read`, repeated where it failed as a reader beside an apply fails, or where `isPassing` says that the
 * answer will not last. Throws the error of the last attempt.
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
