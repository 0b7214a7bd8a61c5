// Paths for all scripts, independent of the working directory.
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** Absolute path of a file or directory of the repository. */
export const at = (...parts) => join(root, ...parts)

// Debian keeps bpftool and ip in /usr/sbin, which is not in the PATH of ordinary users.
process.env.PATH = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`
