// The names in directories that decide which file a path leads to. Editors replace files, and Kubernetes replaces a
// symbolic link to a whole directory, so a path is followed through all of its links, and each link is watched.

import { lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isPattern, matcherOf } from '../../config/feed/glob.ts'
import type { Reads } from '../../config/text/source.ts'

type Matches = (name: string) => boolean

/** By real path of the directory. */
export type Places = ReadonlyMap<string, Matches>

/** Linux follows at most this many (MAXSYMLINKS). */
const MOST_LINKS = 40

interface Walk {
  readonly found: Map<string, { readonly names: Set<string>; readonly matchers: Matches[] }>
  /** Real paths of directories already resolved, by the path that led there. */
  readonly known: Map<string, string | undefined>
}

function placeIn({ found }: Walk, directory: string): { names: Set<string>; matchers: Matches[] } {
  const place = found.get(directory) ?? { names: new Set<string>(), matchers: [] }
  found.set(directory, place)
  return place
}

type Entry = { readonly kind: 'directory' | 'file' | 'none' } | { readonly kind: 'link'; readonly target: string }

function entryAt(path: string): Entry {
  try {
    const stats = lstatSync(path)
    if (stats.isSymbolicLink()) return { kind: 'link', target: readlinkSync(path) }
    return { kind: stats.isDirectory() ? 'directory' : 'file' }
  } catch {
    return { kind: 'none' }
  }
}

const join = (directory: string, name: string): string => (directory === '/' ? `/${name}` : `${directory}/${name}`)

const componentsOf = (path: string): string[] => path.split('/').filter((component) => component !== '')

/**
 * Walks to the last of the components and records every name on the way that is a link or does not exist. Existing
 * directories are not recorded: the watch on the directory itself reports its removal.
 *
 * @returns the real path, or undefined where nothing exists
 */
function walk(start: string, components: readonly string[], state: Walk, isLast: boolean): string | undefined {
  const rest = [...components]
  let directory = start
  for (let links = 0; rest.length > 0; ) {
    const name = rest.shift() as string
    if (name === '.') continue
    if (name === '..') {
      directory = dirname(directory)
      continue
    }
    const path = join(directory, name)
    const entry = entryAt(path)
    if (entry.kind === 'link' && links++ < MOST_LINKS) {
      placeIn(state, directory).names.add(name)
      if (entry.target.startsWith('/')) directory = '/'
      rest.unshift(...componentsOf(entry.target))
      continue
    }
    if (entry.kind !== 'directory' || (isLast && rest.length === 0)) placeIn(state, directory).names.add(name)
    if (entry.kind === 'none' || entry.kind === 'link' || (entry.kind === 'file' && rest.length > 0)) return undefined
    directory = path
  }
  return directory
}

/** The real path of a directory; resolves each path once. */
function directoryOf(path: string, state: Walk): string | undefined {
  if (!state.known.has(path)) state.known.set(path, walk('/', componentsOf(path), state, false))
  return state.known.get(path)
}

function addFile(path: string, state: Walk): void {
  const directory = directoryOf(dirname(path), state)
  if (directory !== undefined) walk(directory, componentsOf(path).slice(-1), state, true)
}

const namesIn = (directory: string): readonly string[] => {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/**
 * Records the directories in which new names could match. Files that match now are among the config's files already.
 */
function addPattern(pattern: string, state: Walk): void {
  const components = componentsOf(pattern)
  const from = components.findIndex(isPattern)
  const before = directoryOf(`/${components.slice(0, from).join('/')}`, state)
  let directories = before === undefined ? [] : [before]
  for (const [index, component] of components.entries()) {
    if (index < from) continue
    const matches = matcherOf(component)
    for (const directory of directories) placeIn(state, directory).matchers.push(matches)
    directories = directories.flatMap((directory) =>
      namesIn(directory)
        .filter(matches)
        .flatMap((name) => walk(directory, [name], state, false) ?? []),
    )
  }
}

/** All places where a change can alter the loaded config. Relative paths start at the working directory. */
export function placesOf({ files, patterns }: Reads): Places {
  const state: Walk = { found: new Map(), known: new Map() }
  for (const file of files) addFile(resolve(file), state)
  for (const pattern of patterns.keys()) addPattern(resolve(pattern), state)
  return new Map(
    [...state.found].map(([directory, { names, matchers }]) => [
      directory,
      (name) => names.has(name) || matchers.some((matches) => matches(name)),
    ]),
  )
}
