// Arguments that are one of a few words.

import { fail } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'

/** The value of the word among `known`. Throws E300 with the message, and a hint with the nearest word or all of them. */
export function choose<T>(known: Readonly<Record<string, T>>, word: string, message: string): T {
  const value = Object.hasOwn(known, word) ? known[word] : undefined
  if (value !== undefined) return value
  const words = Object.keys(known)
  const meant = nearest(word, words)
  throw fail('E300', message, meant === undefined ? `there are ${words.join(', ')}` : `did you mean ${meant}?`)
}
