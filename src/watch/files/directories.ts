// Events of directories, by chokidar. Each directory is watched by itself and nothing in it: a file that is replaced is
// told of by the directory, and a watch on the file would stay with the old one. What chokidar makes of the events
// is left aside for the raw ones, because it tells nothing of a link that is replaced by another one.

import { statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { FSWatcher } from 'chokidar'
import type { Places } from './places.ts'

export interface DirectoryEvents {
  /** Something happened to a name that matters. */
  readonly onEvent: () => void
  /** A directory gives no events; why, in the words of the kernel. */
  readonly onBlind: (directory: string, why: string) => void
}

export interface Directories {
  /** Watches just these from now on. Settles when events of all of them would be heard. */
  readonly follow: (places: Places) => Promise<void>
  readonly close: () => Promise<void>
}

interface Watched {
  readonly watcher: FSWatcher
  /** Which directory it is, whatever its name leads to later. */
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
    // An event about the directory itself comes with its own name, or with none.
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
