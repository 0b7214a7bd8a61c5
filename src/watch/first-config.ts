// The config with which the daemon starts.

import type { Loaded } from '../config/load.ts'
import { CODES } from '../diagnostics.ts'
import type { ConfigFile } from './files/config-file.ts'
import type { Sources } from './sources.ts'

/**
 * Reads the config at startup; fetches sources that have no copy yet, if only they are missing. Throws its errors, because
 * the user who starts the daemon sees them.
 */
export async function firstConfig(file: ConfigFile, sources: Sources): Promise<Loaded> {
  let look = await file.look(true)
  if (look.kind === 'bad' && look.error.diagnostics.every(({ code }) => CODES[code].name === 'never-fetched')) {
    await sources.fill(file.reads().remotes)
    look = await file.look(true)
  }
  if (look.kind === 'good') return look.loaded
  throw look.kind === 'bad' ? look.error : new Error('the first look at a config found nothing new')
}
