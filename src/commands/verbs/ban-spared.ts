// xdp ban of addresses that the allowlist lets pass: the ban is in force, and stops less than it seems to. Loaded after the ban.

import { XdpError } from '../../diagnostics.ts'
import { formatAddress, formatRange, type Prefix } from '../../model/text.ts'
import { type Spared, sparedBans } from '../../pipelines/ban-spared.ts'
import type { Context } from '../cli/context.ts'
import type { BanTally } from './ban-report.ts'

const listText = ({ list }: Spared): string => (list === 'allowlist' ? 'the allowlist' : `allowlist ${list}`)

const packetsText = ({ packets, addresses }: Spared): string =>
  `${packets === 'any' ? 'all packets' : packets} from ${addresses}`

function messageOf(title: string, [first, ...others]: readonly [Spared, ...Spared[]]): string {
  if (first.isWhole) return `the ban of ${title} has no effect: ${listText(first)} passes all its packets`
  const more = others.length > 0 ? `, and ${others.length} more of its entries apply` : ''
  return `the ban of ${title} does not stop everything: ${listText(first)} still passes ${packetsText(first)}${more}`
}

/** Warns of each ban that the allowlist beats, as a whole or in part. Says nothing if the live policy cannot be read. */
export async function warnOfAllowlist(context: Context, prefixes: readonly Prefix[], tally: BanTally): Promise<void> {
  const found = await sparedBans(context.host, prefixes).catch((error: unknown) => {
    if (!(error instanceof XdpError)) throw error
    return []
  })
  for (const [i, spared] of found.entries()) {
    const { family, start, end } = prefixes[i] as Prefix
    const [first, ...others] = spared
    if (!first) continue
    const address = first.isWhole ? formatAddress(family, start) : first.addresses.replace(/[-/].*/, '')
    tally.warn({
      code: 'W273',
      message: messageOf(formatRange(family, start, end), [first, ...others]),
      hint: `an allowlist beats bans; \`xdp why ${address}\` shows the entry to remove`,
    })
  }
}
