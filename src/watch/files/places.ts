// Which names in which directories decide what a path means. Editors replace files, and Kubernetes replaces a symbolic
// link that a whole directory hangs on, so a path is followed through all its links, and watched where it could bend.

import { lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isPattern, matcherOf } from '../../config/feed/glob.ts'
import type { Reads } from '../../config/text/source.ts'

type Matches = (name: string) => boolean

/** By directory: a real path, without links. */
export type Places = ReadonlyMap<string, Matches>

/** Linux follows no more (MAXSYMLINKS). */
const MOST_LINKS = 40

interface Walk {
  readonly found: Map<string, { readonly names: Set<string>; readonly matchers: Matches[] }>
  /** Directories already walked to, by the path that led there. */
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
 * Walks to the last of the components and notes every name on the way that is a link or is not there. The name of a
 * directory that is there is not noted: when it goes, who watches the directory itself hears of it.
 *
 * @returns the real path of what is there, or undefined
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

/** The real path of a directory, walked to once. */
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

/** Notes the directories in which a name could come to match. What matches now is a file of the config, noted as such. */
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

/** Where a change may change what reading the config finds. Relative paths start at the working directory. */
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
