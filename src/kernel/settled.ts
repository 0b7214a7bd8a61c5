// Reading beside a writer: readers take no lock, so that an apply may free what is just being read.

import { setTimeout } from 'node:timers/promises'
import { CommandError } from './spawn.ts'

const ATTEMPTS = 3
/** Longer than an apply takes from its switch to its end. */
const SETTLING_MS = 200

/** The answer of `read`, which is asked again where a command of it failed. Throws what the last attempt threw. */
export async function settled<T>(read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await read()
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof CommandError)) throw error
      await setTimeout(SETTLING_MS)
    }
  }
}
