// Finds and loads the config of a command, and keeps its warnings.

import { findConfig, loadConfig } from '../../config/load.ts'
import { CODES, type Diagnostic, XdpError } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import { renderDiagnostics } from '../../render/diagnostic.ts'
import type { Context } from '../cli/context.ts'

export interface Loaded {
  readonly desired: Desired
  readonly warnings: readonly Diagnostic[]
}

/** Loads the file of --file, or the default one. Throws XdpError with all mistakes in it. */
export async function load({ flags, cache }: Context): Promise<Loaded> {
  return loadConfig(findConfig(flags.file), { shelf: { cache } })
}

/** Like `load`, but returns undefined without --file and without a default file. */
export async function loadIfAny({ flags, cache }: Context): Promise<Loaded | undefined> {
  let path: string
  try {
    path = findConfig(flags.file)
  } catch (error) {
    const none = error instanceof XdpError && error.diagnostics.every(({ code }) => CODES[code].name === 'file-missing')
    if (none && flags.file === undefined) return undefined
    throw error
  }
  return loadConfig(path, { shelf: { cache } })
}

/** Writes warnings to stderr, for commands whose result has no place for them. */
export function showWarnings({ stderr, color }: Context, warnings: readonly Diagnostic[]): void {
  if (warnings.length > 0) stderr(renderDiagnostics(warnings, { color: color.stderr }))
}
