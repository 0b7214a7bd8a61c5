// Digests of the files of a config. Reads a file again only where its metadata changed.

import { readFileSync, statSync } from 'node:fs'
import { expand } from '../../config/feed/glob.ts'
import { LIST_LIMIT, type Reads, sha256 } from '../../config/text/source.ts'

export interface Contents {
  /** Whether loading the config again would read other content than `reads`. Reads files whose metadata changed. */
  readonly differFrom: (reads: Reads) => boolean
  /** Whether metadata or pattern matches changed since the last call. Reads no file. */
  readonly moved: (reads: Reads) => boolean
}

/**
 * Timestamps are coarse: a file written less than this many milliseconds before it is read may be written again with
 * unchanged metadata.
 */
const TICK = 100

/** The identity, size and times of a file; undefined: it is unreadable, missing or no regular file. */
function stampOf(path: string): { readonly stamp: string; readonly isFresh: boolean } | undefined {
  try {
    const stats = statSync(path, { bigint: true })
    if (!stats.isFile() || stats.size > LIST_LIMIT) return undefined
    const { dev, ino, size, mtimeNs, ctimeNs } = stats
    const age = Date.now() - Number(ctimeNs / 1_000_000n)
    return { stamp: [dev, ino, size, mtimeNs, ctimeNs].join(':'), isFresh: Math.abs(age) < TICK }
  } catch {
    return undefined
  }
}

/** undefined for a file that cannot be read, for which `Reads` has no digest either. */
function digestOf(path: string): string | undefined {
  try {
    return sha256(readFileSync(path))
  } catch {
    return undefined
  }
}

export function createContents(): Contents {
  const known = new Map<string, { readonly stamp: string; readonly digest: string | undefined }>()
  const seen = new Map<string, string>()
  const digest = (path: string): string | undefined => {
    const now = stampOf(path)
    if (now === undefined) return undefined
    const before = known.get(path)
    if (before?.stamp === now.stamp) return before.digest
    const read = digestOf(path)
    if (now.isFresh) known.delete(path)
    else known.set(path, { stamp: now.stamp, digest: read })
    return read
  }
  const patternsDiffer = ({ patterns }: Reads): boolean =>
    [...patterns].some(([pattern, found]) => expand(pattern, { patterns: new Map() }).join('\n') !== found.join('\n'))
  return {
    differFrom(reads) {
      const wanted = new Set(reads.files)
      for (const path of known.keys()) if (!wanted.has(path)) known.delete(path)
      return patternsDiffer(reads) || reads.files.some((path) => digest(path) !== reads.digests.get(path))
    },
    moved(reads) {
      const now = new Map(reads.files.map((path) => [path, stampOf(path)?.stamp ?? '']))
      const differs = [...now].some(([path, stamp]) => seen.get(path) !== stamp)
      seen.clear()
      for (const [path, stamp] of now) seen.set(path, stamp)
      return differs || patternsDiffer(reads)
    },
  }
}
