// Makes and removes pins. A BPF object lives as long as a pin, an attachment or another object holds it.

import { readdirSync } from 'node:fs'
import { lstat, mkdir, readdir, rmdir, unlink } from 'node:fs/promises'
import { fail } from '../../diagnostics.ts'

/** Names in a directory; none if it does not exist. Without a thread of Node, which takes longer than the kernel. */
export async function list(directory: string): Promise<string[]> {
  try {
    return readdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Removes a pin, or a directory of pins with everything in it. A missing path is no error. */
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
 * Makes a directory of pins and its parents. Throws E105 if the bpffs is read-only, as in systemd units with
 * ProtectKernelTunables=.
 */
export async function makeDirectory(path: string, bpffs: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    // Node reports EROFS of a parent directory as ENOENT.
    if (!['EROFS', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    const hint = `mount -o remount,rw ${bpffs} (a systemd unit: no ProtectKernelTunables, and ReadWritePaths=${bpffs})`
    throw fail('E105', `the bpffs at ${bpffs} is read-only here`, hint, error)
  }
}
