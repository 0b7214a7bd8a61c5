// Whatever a command throws, as the failure that is reported.

import { fail, XdpError } from '../diagnostics.ts'

/** What was thrown, as diagnostics: a failure we expected, an interruption, or a bug. */
export function explain(error: unknown, signal?: AbortSignal): XdpError {
  if (error instanceof XdpError) return error
  if (signal?.aborted) return fail('E112', 'interrupted', 'run `xdp plan` to see where things stand', error)
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return fail(
    'E999',
    `unexpected ${message.split('\n')[0]}`,
    'this is a bug of xdp; run again with --debug to see where',
    error,
  )
}
