// Whatever a command throws, as the failure that is reported.

import { fail, unexpected, XdpError } from '../../diagnostics.ts'

/** What was thrown, as diagnostics: a failure we expected, an interruption, or a bug. */
export function explain(error: unknown, signal?: AbortSignal): XdpError {
  if (error instanceof XdpError) return error
  if (signal?.aborted) return fail('E112', 'interrupted', 'run `xdp plan` to see where things stand', error)
  return unexpected(error)
}
