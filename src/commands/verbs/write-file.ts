// Writes files atomically: a reader sees the old content or the new, never half of it.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { fail, XdpError } from '../../diagnostics.ts'

const cannot = (path: string, cause: unknown): XdpError =>
  cause instanceof XdpError
    ? cause
    : fail(
        'E405',
        `cannot write ${path}: ${(cause as NodeJS.ErrnoException).code ?? 'unknown error'}`,
        undefined,
        cause,
      )

/** As `recursive` of mkdir, which never ends below /proc: there a directory cannot be made, although its parent exists. */
function makePath(path: string): void {
  try {
    mkdirSync(path)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EEXIST' && statSync(path).isDirectory()) return
    const parent = dirname(path)
    if (code !== 'ENOENT' || existsSync(parent)) throw cause
    makePath(parent)
    mkdirSync(path)
  }
}

/** Makes a directory and its parents. Throws E405. */
export function makeDirectory(path: string): void {
  try {
    makePath(path)
  } catch (cause) {
    throw cannot(path, cause)
  }
}

const READABLE = 0o644

/** The real path and mode of a file. Throws E405 for other kinds: a rename would replace a device with a file. */
function target(path: string): { readonly path: string; readonly mode: number } {
  const found: Stats | undefined = statSync(path, { throwIfNoEntry: false })
  if (!found) return { path, mode: READABLE }
  if (!found.isFile()) throw fail('E405', `cannot write ${path}: not a regular file`, 'name a regular file')
  return { path: realpathSync(path), mode: found.mode & 0o7777 }
}

/** Mode of files that only their owner may read. */
export const PRIVATE = 0o600

/**
 * Writes a new file beside the old one and renames it. Without `wanted`, an existing file keeps its mode, and a new one is
 * readable by all, whatever the umask. Throws E405 and then leaves the old file as it was.
 *
 * @param wanted mode of the file
 */
export function writeWhole(path: string, content: string | Uint8Array, wanted?: number): void {
  let fresh: string | undefined
  try {
    const { path: real, mode: usual } = target(path)
    const mode = wanted ?? usual
    fresh = `${real}.${Math.random().toString(36).slice(2)}.new`
    writeFileSync(fresh, content, { flag: 'wx', mode })
    chmodSync(fresh, mode)
    renameSync(fresh, real)
  } catch (cause) {
    if (fresh) rmSync(fresh, { force: true })
    throw cannot(path, cause)
  }
}
