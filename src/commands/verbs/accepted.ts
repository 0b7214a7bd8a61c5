// The feeds, cuts and reach that the command line accepts.

import { fail } from '../../diagnostics.ts'
import { type AllowedCuts, readAllowedCuts } from '../../model/contact.ts'
import type { Accepted } from '../../plan/feeds.ts'
import type { Options } from '../cli/flag.ts'
import type { CUT_FLAGS, FEED_FLAGS, REACH_FLAGS } from '../cli/flags.ts'

/** The guarded peers that the flags allow to cut. Throws E300 for other words. */
export function allowedCutsBy(options: Options<typeof CUT_FLAGS>): AllowedCuts {
  const allowed = readAllowedCuts(options['allow-cut'], options['force-cut'])
  if (typeof allowed !== 'string') return allowed
  const hint = 'write ssh, gateway, dns, or an address or CIDR such as 192.0.2.0/24'
  throw fail('E300', `--allow-cut "${allowed}" is neither a kind of peer nor an address`, hint)
}

/** Throws E300 for a word that names no peer. */
export const acceptedBy = (options: Options<typeof FEED_FLAGS & typeof REACH_FLAGS & typeof CUT_FLAGS>): Accepted => ({
  acceptShrink: options['accept-shrink'],
  acceptGrowth: options['accept-growth'],
  allowedCuts: allowedCutsBy(options),
  acceptRemoved: options['accept-removed'],
  acceptBlocked: options['accept-blocked'],
  acceptWide: options['accept-wide'],
})
