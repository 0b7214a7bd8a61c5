// The feeds and cuts that the command line accepts.

import { fail } from '../../diagnostics.ts'
import type { Guarded } from '../../model/contact.ts'
import { parsePrefix } from '../../model/text.ts'
import type { AllowedCuts } from '../../plan/cuts.ts'
import type { Accepted } from '../../plan/feeds.ts'
import type { Options } from '../cli/flag.ts'
import { CUT_FLAGS, type FEED_FLAGS } from '../cli/flags.ts'

const isKind = (word: string): word is Guarded => CUT_FLAGS['allow-cut'].completes.some((kind) => kind === word)

/** The guarded peers that the flags allow to cut. Throws E300 for other words. */
export function allowedCutsBy(options: Options<typeof CUT_FLAGS>): AllowedCuts {
  const words = options['allow-cut']
  const prefixes = words.flatMap((word) => {
    if (isKind(word)) return []
    const prefix = parsePrefix(word)
    if (prefix) return [prefix]
    const hint = 'write ssh, gateway, dns, or an address or CIDR such as 192.0.2.0/24'
    throw fail('E300', `--allow-cut "${word}" is neither a kind of peer nor an address`, hint)
  })
  return { all: options['force-cut'], kinds: words.filter(isKind), prefixes }
}

/** Throws E300 for a word that names no peer. */
export const acceptedBy = (options: Options<typeof FEED_FLAGS & typeof CUT_FLAGS>): Accepted => ({
  acceptShrink: options['accept-shrink'],
  acceptGrowth: options['accept-growth'],
  allowedCuts: allowedCutsBy(options),
})
