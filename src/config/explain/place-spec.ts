// The words about one place of a config.

import type { Code } from '../../diagnostics.ts'

/** One place of the config. */
export interface Spec {
  /** What is called wrong: `mode`, `an entry`. */
  readonly what: string
  /** Completes "must be …". */
  readonly expected: string
  /** Error for a value of the right kind that is not allowed; default E013. */
  readonly code?: Code
  /** Error for a value of the wrong kind; default `code`, then E012. */
  readonly kindCode?: Code
  /** Words to choose from, for "did you mean". */
  readonly words?: readonly string[]
  /** Keys of a mapping. */
  readonly keys?: readonly string[]
  /** Hint where nothing is written. */
  readonly whenEmpty?: string
  /** Hint where a key that must be there is not. */
  readonly whenMissing?: string
  /** Hint for a value that is not allowed. */
  readonly hint?: string
}
