// Reading beside a writer: readers take no lock, so that an apply may free what is just being read, or be between its
// switch and its commit.

import { setTimeout } from 'node:timers/promises'
import { CommandError } from '../tools/spawn.ts'

const ATTEMPTS = 3
/** Longer than an apply takes from its switch to its end. */
const SETTLING_MS = 200

/**
 * The answer of `read`, which is asked again where a command of it failed or the answer is one that will not last. Throws
 * what the last attempt threw.
 */
export async function settled<T>(read: () => Promise<T>, isPassing: (answer: T) => boolean = () => false): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await read()
      if (attempt === ATTEMPTS || !isPassing(answer)) return answer
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof CommandError)) throw error
    }
    await setTimeout(SETTLING_MS)
  }
}
