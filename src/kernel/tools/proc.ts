// Files that the kernel makes when they are read. The kernel takes microseconds, and a thread of Node a hundred.

import { readFileSync } from 'node:fs'

/** The text of a file in /proc; undefined if it cannot be read. */
export function tryReadProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
