// xdp ban

import { type Exit, fail } from '../../diagnostics.ts'
import type { BanRequest } from '../../model/ban.ts'
import { EVERY_CUT } from '../../model/contact.ts'
import { openBans } from '../../pipelines/bans.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { BAN_FLAGS } from '../cli/flags.ts'
import { allowedCutsBy } from './accepted.ts'
import { BanTally } from './ban-report.ts'
import { readBanned, readLabels, readTtl } from './ban-words.ts'

export async function run(context: Context, { positionals, options }: Arguments<typeof BAN_FLAGS>): Promise<Exit> {
  const settings = {
    op: 'add' as const,
    labels: readLabels(options),
    ttlMs: readTtl(options),
    observe: options.observe,
    allowed: options.force ? EVERY_CUT : allowedCutsBy(options),
  }
  const tally = new BanTally()
  if (options.stdin) {
    if (positionals.length > 0)
      throw fail('E300', `"${positionals[0]}" and --stdin exclude each other`, 'give one of them')
    const { banStream } = await import('./ban-stream.ts')
    await banStream(context, settings, tally)
    return tally.report(context)
  }
  if (positionals.length === 0) throw fail('E300', '`xdp ban` needs ADDRESS, or --stdin', 'xdp ban ADDRESS')
  const { ttlMs, observe } = settings
  const requests = (await readBanned(positionals)).map(
    (prefix): BanRequest => ({ op: 'add', prefix, ttlMs, ...(observe ? { observe } : {}) }),
  )
  const bans = await openBans(context.host)
  tally.addAll(requests, await bans.change(requests, settings.labels, settings.allowed))
  return tally.report(context)
}
