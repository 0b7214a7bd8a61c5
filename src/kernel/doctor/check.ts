// Constructors of findings.

import type { Check } from '../../report/result.ts'

export const ok = (id: string, message: string): Check => ({ id, level: 'ok', message, fix: undefined })

/** Works, but not as well as it could; or could not be checked. */
export const warn = (id: string, message: string, fix?: string): Check => ({ id, level: 'warn', message, fix })

/** Apply would fail. */
export const bad = (id: string, message: string, fix?: string): Check => ({ id, level: 'fail', message, fix })

/** `a, b and c` */
export const listed = (words: readonly string[]): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`
