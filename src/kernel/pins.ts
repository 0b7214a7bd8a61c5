// Removing pins. A BPF object lives as long as a pin, an attachment or another object holds it.

import { lstat, readdir, rmdir, unlink } from 'node:fs/promises'

/** Removes a pin, or a directory of pins with everything in it. What is not there is no error. */
export async function removePins(path: string): Promise<void> {
  try {
    if (!(await lstat(path)).isDirectory()) {
      await unlink(path)
      return
    }
    for (const name of await readdir(path)) await removePins(`${path}/${name}`)
    await rmdir(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
