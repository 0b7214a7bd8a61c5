// Objects of the executable as files, for bpftool, which loads from a path. Those of other builds stay until the host is
// booted again: a running daemon may be of one.

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { isExecutable, shipped } from '../../shipped.ts'
import { explain, RUN, runDirectory } from './exchange.ts'

/** Path of the directory of a build in ours in /run, which only root may enter. */
export const placeOf = (digest: string): string => `${RUN}/objects-${digest}/`

/**
 * Makes sure that an object is at its path with the content of the executable; does nothing where installed files are used.
 * Throws E104 or E115 if it cannot be written.
 */
export async function place(path: string): Promise<void> {
  const content = isExecutable ? shipped(`bpf/${basename(path)}`) : undefined
  if (content === undefined) return
  const present = await readFile(path).catch(() => undefined)
  if (present?.equals(content)) return
  await runDirectory()
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const partial = `${path}.${process.pid}`
    await writeFile(partial, content, { mode: 0o600 })
    await rename(partial, path)
  } catch (error) {
    throw explain(error)
  }
}
