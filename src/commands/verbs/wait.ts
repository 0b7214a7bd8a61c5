// --wait-interfaces: delays an apply until the interfaces of the config exist.

import { type Diagnostic, XdpError } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { waitForInterfaces } from '../../pipelines/host.ts'
import type { Context } from '../cli/context.ts'
import { parseDuration } from '../cli/duration.ts'

/** The interfaces to wait for: those without `missing: skip`. */
const required = ({ options }: Desired): string[] =>
  [...options].filter(([, { missing }]) => missing === 'error').map(([name]) => name)

/**
 * Waits up to `time` (as on the command line; undefined: not at all), then runs `body`. If an interface is still
 * missing, the error of `body` gets the time waited.
 */
export async function afterInterfaces<T>(
  { host }: Context,
  desired: Desired,
  time: string | undefined,
  body: () => Promise<T>,
): Promise<T> {
  if (time === undefined) return body()
  await waitForInterfaces(host, required(desired), parseDuration('wait-interfaces', time))
  try {
    return await body()
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    const withTime = (one: Diagnostic): Diagnostic =>
      one.code === 'E103' ? { ...one, message: `${one.message}, nor did it appear within ${time}` } : one
    throw new XdpError(error.diagnostics.map(withTime), { cause: error, omitted: error.omitted })
  }
}
