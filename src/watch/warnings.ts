// Reports each warning when it first holds, and again only after a reconcile in which it did not hold.

import type { Diagnostic } from '../diagnostics.ts'
import type { WatchEvent } from '../report/watch.ts'

export interface Warnings {
  /** Takes all warnings that hold now, and reports the new ones. */
  readonly report: (warnings: readonly Diagnostic[]) => void
}

/** Leaves numbers out, which change while a warning holds: the age of a feed, the count of skipped lines. */
const keyOf = ({ code, message, at }: Diagnostic): string =>
  `${code} ${at?.file}:${at?.line} ${message.replaceAll(/\d+/g, '#')}`

export function createWarnings(emit: (event: WatchEvent) => void): Warnings {
  let known = new Set<string>()
  return {
    report(warnings) {
      const fresh = warnings.filter((warning) => !known.has(keyOf(warning)))
      known = new Set(warnings.map(keyOf))
      if (fresh.length > 0) emit({ event: 'warning', warnings: fresh })
    },
  }
}
