// xdp ban

import { type Exit, fail } from '../../diagnostics.ts'
import type { BanOutcome, BanRequest } from '../../model/ban.ts'
import { EVERY_CUT } from '../../model/contact.ts'
import { openBans } from '../../pipelines/bans.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { BAN_FLAGS } from '../cli/flags.ts'
import { allowedCutsBy } from './accepted.ts'
import { BanTally } from './ban-report.ts'
import { readBanned, readLabels, readTtl } from './ban-words.ts'

const isInForce = (outcome: BanOutcome | undefined): boolean =>
  outcome?.result === 'added' || outcome?.result === 'refreshed'

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
  const outcomes = await bans.change(requests, settings.labels, settings.allowed)
  tally.addAll(requests, outcomes)
  const banned = requests.filter((_, i) => isInForce(outcomes[i]))
  const { warnOfAllowlist } = await import('./ban-spared.ts')
  await warnOfAllowlist(
    context,
    banned.map(({ prefix }) => prefix),
    tally,
  )
  return tally.report(context)
}
