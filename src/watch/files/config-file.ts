// The config on disk with the files it names: detects changes and loads it.

import { statSync } from 'node:fs'
import type { Cache } from '../../cache/cache.ts'
import type { Shelf } from '../../config/lists/shelf.ts'
import { type Loaded, loadConfig } from '../../config/load.ts'
import { hasOtherAddresses, type OwnHost } from '../../config/text/own-host.ts'
import { DEFAULT_COPIES } from '../../config/text/remote.ts'
import { newReads, type Reads } from '../../config/text/source.ts'
import type { Trust } from '../../config/text/trust.ts'
import { unexpected, XdpError } from '../../diagnostics.ts'
import { createContents } from './contents.ts'

export type Look =
  /** Nothing changed since the last look. */
  | { readonly kind: 'same' }
  | { readonly kind: 'good'; readonly loaded: Loaded }
  | { readonly kind: 'bad'; readonly error: XdpError }

export interface ConfigFile {
  /** Reads the files that changed since the last look; all files with `force`. */
  readonly look: (force: boolean) => Promise<Look>
  /** Whether any file may have changed; reads none. */
  readonly hasMoved: () => boolean
  /** Whether the addresses of the host, which the config names, are others than the last look read: it has to look again. */
  readonly hasReaddressed: () => Promise<boolean>
  /** The paths that the last look read. */
  readonly reads: () => Reads
}

/** When a file was last written, in Unix seconds: the age of a feed whose content has no timestamp. */
function writtenAt(path: string): number | undefined {
  try {
    return Math.floor(statSync(path).mtimeMs / 1000)
  } catch {
    return undefined
  }
}

/** `place`: where the copies of sources in the network are. */
export function openConfig(
  path: string,
  cache?: Cache,
  trust?: Trust,
  place?: { readonly directory: string },
  readHost?: OwnHost['read'],
): ConfigFile {
  const copies = { ...DEFAULT_COPIES, ...place }
  const contents = createContents()
  let reads = newReads(trust, undefined, copies, readHost)
  const shelf: Shelf = { cache, kept: new Map(), services: new Map() }
  let isReaddressed = false
  let ages: ReadonlyMap<string, number | undefined> = new Map()
  const aged = ({ desired }: Loaded): Map<string, number | undefined> =>
    new Map(
      desired.feeds
        .filter(({ maxAge }) => maxAge !== undefined)
        .flatMap(({ files }) => files.map((file) => [file.path, writtenAt(file.path)] as const)),
    )
  const load = async (): Promise<Look> => {
    reads = newReads(trust, undefined, copies, readHost)
    isReaddressed = false
    ages = new Map()
    try {
      const loaded = await loadConfig(path, { reads, shelf })
      ages = aged(loaded)
      return { kind: 'good', loaded }
    } catch (error) {
      // An unexpected error of the loader must not end the daemon: the next edit may avoid it.
      return { kind: 'bad', error: error instanceof XdpError ? error : unexpected(error) }
    }
  }
  const isOld = (): boolean =>
    !isReaddressed &&
    reads.files.length > 0 &&
    !contents.differFrom(reads) &&
    [...ages].every(([file, written]) => writtenAt(file) === written)
  return {
    reads: () => reads,
    async hasReaddressed() {
      isReaddressed ||= await hasOtherAddresses(reads.host)
      return isReaddressed
    },
    hasMoved: () => contents.moved(reads),
    async look(force) {
      return !force && isOld() ? { kind: 'same' } : load()
    },
  }
}
