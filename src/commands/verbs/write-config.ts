// Writes a config and its list files into a directory. Replaces existing files only with --force.

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fail } from '../../diagnostics.ts'
import { makeDirectory, writeWhole } from './write-file.ts'

interface Files {
  readonly config: string
  readonly files: readonly { readonly path: string; readonly content: Uint8Array }[]
}

/**
 * Writes `xdp.yaml` and the files it names, the config last. Returns its path. Throws E402 if one of the files exists
 * and `force` is false, before it writes anything; E405 if writing fails.
 */
export function writeConfig(directory: string, { config, files }: Files, force: boolean): string {
  const path = join(directory, 'xdp.yaml')
  const all = [...files.map((file) => ({ ...file, path: join(directory, file.path) })), { path, content: config }]
  const there = all.filter((file) => existsSync(file.path))
  if (there.length > 0 && !force) {
    const more = there.length > 1 ? ` (and ${there.length - 1} more)` : ''
    throw fail('E402', `${there[0]?.path}${more} exists`, 'add --force to replace it, or choose another --output DIR')
  }
  for (const file of all) {
    makeDirectory(dirname(file.path))
    writeWhole(file.path, file.content)
  }
  return path
}
