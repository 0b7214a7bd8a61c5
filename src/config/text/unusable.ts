// Why a file cannot be used.

import type { Code, Location } from '../../diagnostics.ts'

/** Why a file is unusable; the caller adds the place that names the file. */
export interface Unusable {
  readonly code: Code
  readonly message: string
  readonly hint?: string
  /** Place in the file, for an error in its content. */
  readonly at?: Location
}
