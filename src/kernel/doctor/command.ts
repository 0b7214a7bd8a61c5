// The command itself: another program may have its name.

import { accessSync, constants, realpathSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import type { Check } from '../../report/result.ts'
import { ok, warn } from './check.ts'

const NAME = 'xdp'

/** The file behind a path of an executable file; undefined without one. */
function fileAt(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK)
    return realpathSync(path)
  } catch {
    return undefined
  }
}

/**
 * Looks for another program of the name that a shell would start.
 *
 * @param own the file that runs
 * @param path directories, as in PATH
 */
export function checkCommand(own: string | undefined, path: string): Check[] {
  const self = own === undefined ? undefined : fileAt(own)
  const commands = path
    .split(':')
    .filter(isAbsolute)
    .map((directory) => join(directory, NAME))
  const first = commands.find((command) => fileAt(command) !== undefined)
  // A checkout, or npx.
  if (self === undefined || first === undefined) return []
  const id = 'tools.xdp'
  if (fileAt(first) === self) return [ok(id, `the command xdp is ${first}`)]
  const message = `the command xdp is ${first}, which is another program or installation than this, ${self}`
  return [warn(id, message, `remove ${first}, or put the directory of this one before it in PATH`)]
}
