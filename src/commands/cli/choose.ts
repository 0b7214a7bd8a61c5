// Arguments that are one of a few words.

import { fail } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'

/** The word, if it is one of `known`. Throws E300 with the message, and a hint with the nearest word or all of them. */
export function choose<T extends string>(known: readonly T[], word: string, message: string): T {
  const found = known.find((one) => one === word)
  if (found !== undefined) return found
  const meant = nearest(word, known)
  throw fail('E300', message, meant === undefined ? `there are ${known.join(', ')}` : `did you mean ${meant}?`)
}
