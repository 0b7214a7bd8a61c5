// The config as it lies on the disk, with everything it names: whether it changed, and what it says.

import { statSync } from 'node:fs'
import type { Cache } from '../../cache/cache.ts'
import type { Shelf } from '../../config/lists/shelf.ts'
import { type Loaded, loadConfig } from '../../config/load.ts'
import { newReads, type Reads } from '../../config/text/source.ts'
import { unexpected, XdpError } from '../../diagnostics.ts'
import { createContents } from './contents.ts'

export type Look =
  /** What the last look found. */
  | { readonly kind: 'same' }
  | { readonly kind: 'good'; readonly loaded: Loaded }
  | { readonly kind: 'bad'; readonly error: XdpError }

export interface ConfigFile {
  /** Reads what changed since the last look; everything with `anew`. */
  readonly look: (anew: boolean) => Promise<Look>
  /** Whether another look is worth its while, without reading a file. */
  readonly hasMoved: () => boolean
  /** The paths that the last look went to. */
  readonly reads: () => Reads
}

/** When a file was last written, in seconds, where that is all that tells the age of a feed. */
function writtenAt(path: string): number | undefined {
  try {
    return Math.floor(statSync(path).mtimeMs / 1000)
  } catch {
    return undefined
  }
}

export function openConfig(path: string, cache?: Cache): ConfigFile {
  const contents = createContents()
  let reads = newReads()
  const shelf: Shelf = { cache, kept: new Map(), services: new Map() }
  let ages: ReadonlyMap<string, number | undefined> = new Map()
  const aged = ({ desired }: Loaded): Map<string, number | undefined> =>
    new Map(
      desired.feeds
        .filter(({ maxAge }) => maxAge !== undefined)
        .flatMap(({ files }) => files.map((file) => [file.path, writtenAt(file.path)] as const)),
    )
  const load = async (): Promise<Look> => {
    reads = newReads()
    ages = new Map()
    try {
      const loaded = await loadConfig(path, { reads, shelf })
      ages = aged(loaded)
      return { kind: 'good', loaded }
    } catch (error) {
      // A bug of ours that a file brings about must not end the daemon: the next edit may well be another one.
      return { kind: 'bad', error: error instanceof XdpError ? error : unexpected(error) }
    }
  }
  const isOld = (): boolean =>
    reads.files.length > 0 &&
    !contents.differFrom(reads) &&
    [...ages].every(([file, written]) => writtenAt(file) === written)
  return {
    reads: () => reads,
    hasMoved: () => contents.moved(reads),
    async look(anew) {
      return !anew && isOld() ? { kind: 'same' } : load()
    },
  }
}
