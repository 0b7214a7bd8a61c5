// --wait-interfaces: an apply that begins when the interfaces of the config are there.

import { type Diagnostic, XdpError } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { waitForInterfaces } from '../../pipelines/host.ts'
import type { Context } from '../cli/context.ts'
import { parseDuration } from '../cli/duration.ts'

/** Interfaces that may be missing are not waited for. */
const required = ({ options }: Desired): string[] =>
  [...options].filter(([, { missing }]) => missing === 'error').map(([name]) => name)

/**
 * Waits as long as `time` (as given on the command line; undefined = not at all), then runs `body`, which fails where
 * an interface is still missing: its error also tells how long that was waited for.
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
    const tell = (one: Diagnostic): Diagnostic =>
      one.code === 'E103' ? { ...one, message: `${one.message}, nor did it appear within ${time}` } : one
    throw new XdpError(error.diagnostics.map(tell), { cause: error, omitted: error.omitted })
  }
}
