// Turns an exception of a command into the error to report.

import { fail, unexpected, XdpError } from '../../diagnostics.ts'

/** Returns an expected failure as it is, else E112 after an interruption, else E999. */
export function explain(error: unknown, signal?: AbortSignal): XdpError {
  if (error instanceof XdpError) return error
  if (signal?.aborted) return fail('E112', 'interrupted', 'run `xdp plan` to see the remaining changes', error)
  return unexpected(error)
}
