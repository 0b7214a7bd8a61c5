// xdp ban

import { type Exit, fail } from '../../diagnostics.ts'
import { EVERY_CUT } from '../../model/contact.ts'
import { openBans } from '../../pipelines/bans.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { BAN_FLAGS } from '../cli/flags.ts'
import { allowedCutsBy } from './accepted.ts'
import { BanTally } from './ban-report.ts'
import { readBanned, readLabels, readTtl } from './ban-words.ts'

export async function run(context: Context, { positionals, options }: Arguments<typeof BAN_FLAGS>): Promise<Exit> {
  const [address] = positionals
  const settings = {
    op: 'add' as const,
    labels: readLabels(options),
    ttlMs: readTtl(options.ttl),
    observe: options.observe,
    allowed: options.force ? EVERY_CUT : allowedCutsBy(options),
  }
  const tally = new BanTally()
  if (options.stdin) {
    if (address !== undefined) throw fail('E300', `"${address}" and --stdin exclude each other`, 'give one of them')
    const { banStream } = await import('./ban-stream.ts')
    await banStream(context, settings, tally)
    return tally.report(context)
  }
  if (address === undefined) throw fail('E300', '`xdp ban` needs ADDRESS, or --stdin', 'xdp ban ADDRESS')
  const { ttlMs, observe } = settings
  const request = { op: 'add', prefix: await readBanned(address), ttlMs, ...(observe ? { observe } : {}) } as const
  const bans = await openBans(context.host)
  for (const outcome of await bans.change([request], settings.labels, settings.allowed)) {
    tally.add(request, outcome)
  }
  return tally.report(context)
}
