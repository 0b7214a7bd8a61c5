// Facts about the config for stats: its digest and age, and the age of its feeds.

import { statSync } from 'node:fs'
import { XdpError } from '../../diagnostics.ts'
import { openStore } from '../../fetch/store.ts'
import { feedFacts, type Surroundings } from '../../report/stats.ts'
import type { Context } from '../cli/context.ts'
import { copiesOf, load, showWarnings } from './config.ts'

function modifiedAt(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found && Math.floor(found.mtimeMs / 1000)
}

/**
 * Loads the config of --file. Without the flag reads nothing, because loading all lists may take longer than reading
 * all counters. An invalid config is no failure: its errors go to stderr, and the facts say `valid: false`.
 */
export async function readSurroundings(context: Context): Promise<Surroundings> {
  const path = context.flags.file
  if (path === undefined) return {}
  try {
    const { desired, copies } = await load(context)
    const config = { path, sha256: desired.config.sha256, modifiedAt: modifiedAt(path), valid: true }
    const { directory } = copiesOf(context)
    const facts = openStore(directory, context.host.copies?.uid ?? 0).all()
    return { config, feeds: feedFacts(desired.feeds), copies: facts.filter(({ path: copy }) => copies.has(copy)) }
  } catch (error) {
    if (!(error instanceof XdpError)) throw error
    showWarnings(context, error.diagnostics)
    return { config: { path, sha256: undefined, modifiedAt: modifiedAt(path), valid: false } }
  }
}
