// xdp unban

import { openBans } from '../bans.ts'
import type { Exit } from '../diagnostics.ts'
import { BanTally } from './ban-report.ts'
import { readBanned } from './ban-words.ts'
import type { Context } from './context.ts'
import type { NO_FLAGS } from './flags.ts'
import type { Arguments } from './specification.ts'

export async function run(
  context: Context,
  { positionals: [address = ''] }: Arguments<typeof NO_FLAGS>,
): Promise<Exit> {
  const request = { op: 'remove', prefix: readBanned(address), ttlMs: 0 } as const
  const tally = new BanTally()
  const bans = await openBans(context.host)
  for (const outcome of await bans.change([request], { reason: '', by: '' }, true)) {
    tally.add(request, outcome)
  }
  return tally.report(context)
}
