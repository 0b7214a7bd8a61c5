// What readers of a value need to tell what is wrong with it: the file it stands in, and who collects errors.

import type { Code, Location } from '../../diagnostics.ts'
import type { Report } from './report.ts'
import type { Source } from './source.ts'
import type { Placed } from './tree.ts'

export interface Reading {
  readonly source: Source
  readonly report: Report
}

/** Where a value stands; its key where there is no text of its own. */
export function locationOf({ source }: Pick<Reading, 'source'>, { from, to, key }: Placed): Location {
  return from === to && key ? source.locate(key.from, key.to) : source.locate(from, to)
}

/** Where the key of a value stands. */
export const keyLocation = ({ source }: Pick<Reading, 'source'>, { from, to, key }: Placed): Location =>
  key ? source.locate(key.from, key.to) : source.locate(from, to)

/** The value of a key, or the mapping itself where the key is not written. */
export const fieldOf = (placed: Placed, key: string): Placed => placed.fields?.get(key) ?? placed

/** Reports what is wrong with a value. */
export function reportAt(reading: Reading, placed: Placed, code: Code, message: string, hint?: string): void {
  reading.report.error(code, locationOf(reading, placed), message, hint)
}
