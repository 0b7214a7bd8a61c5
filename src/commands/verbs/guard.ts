// The guardian of a confirmation: not for users.

import { EXIT, type Exit } from '../../diagnostics.ts'
import { guardPending } from '../../pipelines/guardian.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { NO_FLAGS } from '../cli/flags.ts'

export async function run(
  { host, outlive }: Context,
  { positionals: [id = ''] }: Arguments<typeof NO_FLAGS>,
): Promise<Exit> {
  const stop = outlive()
  const { bpffs, instance, lockTimeoutMs, cache, history } = host
  await guardPending(
    { bpffs, instance, lockTimeoutMs, ...(cache ? { cache } : {}), ...(history ? { history } : {}) },
    id,
    stop,
  )
  return EXIT.ok
}
