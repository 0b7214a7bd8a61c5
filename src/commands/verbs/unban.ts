// xdp unban

import { type Exit, fail } from '../../diagnostics.ts'
import { openBans } from '../../pipelines/bans.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { UNBAN_FLAGS } from '../cli/flags.ts'
import { BanTally } from './ban-report.ts'
import { banStream } from './ban-stream.ts'
import { readBanned } from './ban-words.ts'

const NO_LABELS = { reason: '', by: '' }

export async function run(context: Context, { positionals, options }: Arguments<typeof UNBAN_FLAGS>): Promise<Exit> {
  const [address] = positionals
  const tally = new BanTally()
  if (options.stdin) {
    if (address !== undefined) throw fail('E300', `"${address}" and --stdin exclude each other`, 'give one of them')
    await banStream(context, { op: 'remove', labels: NO_LABELS, ttlMs: 0, force: true }, tally)
    return tally.report(context)
  }
  if (address === undefined) throw fail('E300', '`xdp unban` needs ADDRESS, or --stdin', 'xdp unban ADDRESS')
  const request = { op: 'remove', prefix: readBanned(address), ttlMs: 0 } as const
  const bans = await openBans(context.host)
  for (const outcome of await bans.change([request], NO_LABELS, true)) {
    tally.add(request, outcome)
  }
  return tally.report(context)
}
