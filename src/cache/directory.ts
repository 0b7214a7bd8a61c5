// Directories in which this program keeps files of its own, and reading and writing whole files.

import { mkdirSync, readSync, type Stats, writevSync } from 'node:fs'
import { dirname } from 'node:path'

export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/** Why a file or directory is not trusted; undefined: it is. */
export function objection(path: string, stats: Stats, uid: number): string | undefined {
  if (stats.uid !== uid) return `${path} belongs to user ${stats.uid}`
  return (stats.mode & 0o022) === 0 ? undefined : `${path} can be written by others`
}

export function readWhole(descriptor: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size)
  let length = 0
  while (length < size) {
    const count = readSync(descriptor, bytes, length, size - length, null)
    if (count === 0) break
    length += count
  }
  return bytes.subarray(0, length)
}

export function writeWhole(descriptor: number, pieces: readonly Uint8Array[]): void {
  let left = pieces.filter(({ length }) => length > 0)
  while (left.length > 0) {
    let written = writevSync(descriptor, left)
    left = left.flatMap((piece) => {
      const skipped = Math.min(written, piece.length)
      written -= skipped
      return skipped < piece.length ? [piece.subarray(skipped)] : []
    })
  }
}

/**
 * Creates a directory and its missing parents. Not with `recursive`, which never returns if a file system reports a
 * missing parent for every directory that it cannot create (/proc does).
 */
export function makeDirectory(path: string, levels = 8): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    if (codeOf(error) !== 'ENOENT' || levels === 0 || dirname(path) === path) throw error
    makeDirectory(dirname(path), levels - 1)
    makeDirectory(path, 0)
  }
}
