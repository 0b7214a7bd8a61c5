// The context that a reader needs to report an error in a value: its file, and the report.

import type { Code, Location } from '../../diagnostics.ts'
import type { Report } from './report.ts'
import type { Source } from './source.ts'
import type { Placed } from './tree.ts'

export interface Reading {
  readonly source: Source
  readonly report: Report
}

/** Place of a value; that of its key if the value has no text. */
export function locationOf({ source }: Pick<Reading, 'source'>, { from, to, key }: Placed): Location {
  return from === to && key ? source.locate(key.from, key.to) : source.locate(from, to)
}

/** Place of the key of a value. */
export const keyLocation = ({ source }: Pick<Reading, 'source'>, { from, to, key }: Placed): Location =>
  key ? source.locate(key.from, key.to) : source.locate(from, to)

/** The value of a key; the mapping itself if it does not have the key. */
export const fieldOf = (placed: Placed, key: string): Placed => placed.fields?.get(key) ?? placed

/** Reports an error in a value. */
export function reportAt(reading: Reading, placed: Placed, code: Code, message: string, hint?: string): void {
  reading.report.error(code, locationOf(reading, placed), message, hint)
}
