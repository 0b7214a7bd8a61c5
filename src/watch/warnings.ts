// Warnings hold for as long as what they warn of: each is told when it comes up, and again only after it was gone.

import type { Diagnostic } from '../diagnostics.ts'
import type { WatchEvent } from '../report/watch.ts'

export interface Warnings {
  /** All that hold now. */
  readonly tell: (warnings: readonly Diagnostic[]) => void
}

/** Numbers change while the warning stays the same: how old a feed is, how many lines were skipped. */
const keyOf = ({ code, message, at }: Diagnostic): string =>
  `${code} ${at?.file}:${at?.line} ${message.replaceAll(/\d+/g, '#')}`

export function createWarnings(tell: (event: WatchEvent) => void): Warnings {
  let known = new Set<string>()
  return {
    tell(warnings) {
      const fresh = warnings.filter((warning) => !known.has(keyOf(warning)))
      known = new Set(warnings.map(keyOf))
      if (fresh.length > 0) tell({ event: 'warning', warnings: fresh })
    },
  }
}
