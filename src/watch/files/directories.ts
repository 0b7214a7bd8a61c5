// Directory events, by chokidar. Watches directories and never the files in them: a directory reports a replaced file,
// while a watch on the file would stay with the old one. Uses chokidar's raw events, because its own leave out a
// symbolic link that is replaced by another.

import { statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { FSWatcher } from 'chokidar'
import type { Places } from './places.ts'

export interface DirectoryEvents {
  /** A name that matters had an event. */
  readonly onEvent: () => void
  /** A directory cannot be watched; `why` quotes the kernel. */
  readonly onBlind: (directory: string, why: string) => void
}

export interface Directories {
  /** Watches exactly these places from now on. Resolves when events of all of them arrive. */
  readonly follow: (places: Places) => Promise<void>
  readonly close: () => Promise<void>
}

interface Watched {
  readonly watcher: FSWatcher
  /** Device and inode, because the path may later name another directory. */
  readonly identity: string
  readonly ready: Promise<void>
  matches: (name: string) => boolean
}

function identityOf(directory: string): string | undefined {
  try {
    const { dev, ino } = statSync(directory)
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}

function watch(
  directory: string,
  identity: string,
  matches: Watched['matches'],
  { onEvent, onBlind }: DirectoryEvents,
): Watched {
  const watcher = new FSWatcher({
    depth: 0,
    ignoreInitial: true,
    ignorePermissionErrors: true,
    ignored: (path) => resolve(path) !== directory,
  })
  const ready = new Promise<void>((settle) => {
    watcher.on('ready', settle)
    watcher.on('error', (error) => {
      onBlind(directory, error instanceof Error ? error.message : String(error))
      settle()
    })
  })
  const watched: Watched = { watcher, identity, ready, matches }
  const own = basename(directory)
  watcher.on('raw', (_event, path) => {
    // An event about the directory itself carries the directory's name, or none.
    const name = path ? basename(path) : own
    if (name === own || watched.matches(name)) onEvent()
  })
  watcher.add(directory)
  return watched
}

export function watchDirectories(events: DirectoryEvents): Directories {
  const watched = new Map<string, Watched>()
  const drop = async (directory: string, { watcher }: Watched): Promise<void> => {
    watched.delete(directory)
    await watcher.close()
  }
  return {
    async follow(places) {
      for (const [directory, one] of [...watched]) {
        if (!places.has(directory) || identityOf(directory) !== one.identity) await drop(directory, one)
      }
      for (const [directory, matches] of places) {
        const known = watched.get(directory)
        const identity = identityOf(directory)
        if (known) known.matches = matches
        else if (identity !== undefined) watched.set(directory, watch(directory, identity, matches, events))
      }
      await Promise.all([...watched.values()].map(({ ready }) => ready))
    },
    async close() {
      for (const [directory, one] of [...watched]) await drop(directory, one)
    },
  }
}
