// xdp unban

import { type Exit, fail } from '../../diagnostics.ts'
import type { BanRequest } from '../../model/ban.ts'
import { EVERY_CUT } from '../../model/contact.ts'
import { openBans } from '../../pipelines/bans.ts'
import type { Context } from '../cli/context.ts'
import type { Arguments } from '../cli/flag.ts'
import type { UNBAN_FLAGS } from '../cli/flags.ts'
import { BanTally } from './ban-report.ts'
import { readBanned, readLabels } from './ban-words.ts'

type Given = Arguments<typeof UNBAN_FLAGS>

/** The chosen bans: those of addresses, of stdin, or all that carry the labels. Throws E300 without exactly one. */
function choiceOf({ positionals: [address], options }: Given): 'address' | 'stdin' | 'all' {
  const { stdin, all, by, reason } = options
  if (address !== undefined && (stdin || all)) {
    throw fail('E300', `"${address}" and --${stdin ? 'stdin' : 'all'} exclude each other`, 'give one of them')
  }
  if (stdin && all) throw fail('E300', '--stdin and --all exclude each other', 'give one of them')
  if (address !== undefined) return 'address'
  if (stdin) return 'stdin'
  if (all || by !== undefined || reason !== undefined) return 'all'
  throw fail('E300', '`xdp unban` needs ADDRESS, --stdin, --all, --by or --reason', 'xdp unban ADDRESS')
}

export async function run(context: Context, given: Given): Promise<Exit> {
  const { positionals, options } = given
  const labels = readLabels(options)
  if (options.by === '' || options.reason === '') {
    throw fail(
      'E300',
      'an empty --by or --reason matches no ban',
      'leave the flag out to lift the bans of every author',
    )
  }
  const choice = choiceOf(given)
  const tally = new BanTally()
  if (choice === 'stdin') {
    const { banStream } = await import('./ban-stream.ts')
    await banStream(context, { op: 'remove', labels, ttlMs: 0, allowed: EVERY_CUT }, tally)
    return tally.report(context)
  }
  if (choice === 'all') {
    const bans = await openBans(context.host)
    const { liftBans } = await import('../../pipelines/ban-list.ts')
    for (const [request, outcome] of await liftBans(context.host, bans, labels)) tally.add(request, outcome)
    return tally.report(context)
  }
  const requests = (await readBanned(positionals)).map((prefix): BanRequest => ({ op: 'remove', prefix, ttlMs: 0 }))
  const bans = await openBans(context.host)
  const outcomes = await bans.change(requests, labels, EVERY_CUT)
  tally.addAll(requests, outcomes)
  const absent = requests.filter((_, i) => outcomes[i]?.result === 'absent')
  if (absent.length > 0) {
    const { warnOfBlocked } = await import('./unban-blocked.ts')
    await warnOfBlocked(
      context,
      absent.map(({ prefix }) => prefix),
      tally,
    )
  }
  return tally.report(context)
}
