// xdp unban of an address that is not banned: most often the file blocks it. Loaded only then, because it reads the config.

import { XdpError } from '../../diagnostics.ts'
import { originOf } from '../../model/provenance.ts'
import { formatRange, type Prefix } from '../../model/text.ts'
import type { Context } from '../cli/context.ts'
import type { BanTally } from './ban-report.ts'
import { loadIfAny } from './config.ts'

/** Warns of the entries of the file that block the first address of each prefix. Ignores a file with mistakes. */
export async function warnOfBlocked(context: Context, prefixes: readonly Prefix[], tally: BanTally): Promise<void> {
  const loaded = await loadIfAny(context).catch((error: unknown) => {
    if (!(error instanceof XdpError)) throw error
    return undefined
  })
  if (!loaded) return
  const { state, provenance } = loaded.desired
  const blocklists = [...state.lists.values()].filter(({ kind }) => kind === 'blocklist')
  for (const { family, start, end } of prefixes) {
    for (const { name } of blocklists) {
      const origin = originOf(provenance, name, family, start)
      if (!origin) continue
      const list = name === 'blocklist' ? 'the blocklist' : `blocklist ${name}`
      const entry = `${origin.entry} at ${origin.at}`
      tally.warn({
        code: 'W274',
        message: `${formatRange(family, start, end)} is not banned; ${list} of the config blocks it: ${entry}`,
        hint: 'remove or narrow that entry, then run `xdp apply`',
      })
    }
  }
}
