// xdp unban of an address that is not banned: most often the file blocks it. Loaded only then, because it reads the config.

import { XdpError } from '../../diagnostics.ts'
import { originOf } from '../../model/provenance.ts'
import { formatRange, type Prefix } from '../../model/text.ts'
import type { Context } from '../cli/context.ts'
import { loadIfAny } from './config.ts'

/** Says which entries of the file block the first address of each prefix. Says nothing about a file with mistakes. */
export async function noteBlocked(context: Context, prefixes: readonly Prefix[]): Promise<void> {
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
      const title = formatRange(family, start, end)
      context.stderr(`${title} is not banned, but in the list ${name} of the file: ${origin.entry} at ${origin.at}\n`)
    }
  }
}
