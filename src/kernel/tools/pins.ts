// Making and removing pins. A BPF object lives as long as a pin, an attachment or another object holds it.

import { lstat, mkdir, readdir, rmdir, unlink } from 'node:fs/promises'
import { fail } from '../../diagnostics.ts'

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

/**
 * Makes a directory of pins, and those above it. Throws E105 where the bpffs is read-only, as units of systemd with
 * ProtectKernelTunables= have it.
 */
export async function makeDirectory(path: string, bpffs: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    // Node tells EROFS of a directory above as ENOENT.
    if (!['EROFS', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    const hint = `mount -o remount,rw ${bpffs} (a systemd unit: no ProtectKernelTunables, and ReadWritePaths=${bpffs})`
    throw fail('E105', `the bpffs at ${bpffs} is read-only here`, hint, error)
  }
}
