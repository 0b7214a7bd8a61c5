// Whether root may act on a file: no other user may be able to change it, nor to replace it or a directory on its path.
// And whether its lines may appear in messages, which may reach readers who may not read the file.

import { lstatSync, readlinkSync, type Stats } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Unusable } from './unusable.ts'

export interface Trust {
  /** Why a file must not be used; undefined if it may, and if it cannot be examined. */
  readonly distrust: (path: string) => Unusable | undefined
  /** Whether some user may not read the file. */
  readonly isPrivate: (path: string) => boolean
}

/** The rule of a process without privileges: it can do no harm with a file, and shows only what its user may read. */
export const ANY_FILE: Trust = { distrust: () => undefined, isPrivate: () => false }

/** inode(7) */
const STICKY = 0o1000
const WRITABLE_BY_OTHERS = 0o022
const READABLE_BY_ALL = 0o004
const SEARCHABLE_BY_ALL = 0o001
/** Links that the kernel follows on one path (path_resolution(7)). */
const MOST_LINKS = 40

interface Node {
  readonly path: string
  readonly stats: Stats
}

/** Every directory and symbolic link on the way to a file, from the root, and the file at the end. Throws like lstat. */
function* wayTo(path: string): Generator<Node> {
  let at = '/'
  yield { path: at, stats: lstatSync(at) }
  const left = resolve(path).split('/')
  for (let links = 0; left.length > 0; ) {
    const name = left.shift() as string
    if (name === '' || name === '.') continue
    const next = name === '..' ? dirname(at) : join(at, name)
    const stats = lstatSync(next)
    yield { path: next, stats }
    if (!stats.isSymbolicLink()) at = next
    else {
      if (++links > MOST_LINKS) return
      const target = readlinkSync(next)
      if (target.startsWith('/')) at = '/'
      left.unshift(...target.split('/'))
    }
  }
}

/** A path as a word of a shell. */
const word = (path: string): string => (/^[\w./@%+:,-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`)

const what = ({ path, stats }: Node): string => {
  if (stats.isSymbolicLink()) return `the symbolic link ${path}`
  return stats.isDirectory() ? `the directory ${path}` : path
}

/** Why users other than root can change a node; undefined if they cannot. */
function weakness(node: Node): Unusable | undefined {
  const { path, stats } = node
  const override = 'or accept it with --allow-insecure-permissions'
  if (stats.uid !== 0) {
    const message = `${what(node)} belongs to uid ${stats.uid}, so that user could change what root applies`
    const chown = stats.isSymbolicLink() ? 'chown -h' : 'chown'
    return { code: 'E132', message, hint: `${chown} root ${word(path)}, ${override}` }
  }
  if (stats.isSymbolicLink() || (stats.mode & WRITABLE_BY_OTHERS) === 0) return undefined
  // In a directory like /tmp only the owner of a file can replace it.
  if (stats.isDirectory() && (stats.mode & STICKY) !== 0) return undefined
  const message = `${what(node)} is writable for other users, who could change what root applies`
  return { code: 'E132', message, hint: `chmod go-w ${word(path)}, ${override}` }
}

/** Calls `body`; undefined if a file on the way cannot be examined: then it cannot be read either. */
function examined<T>(body: () => T): T | undefined {
  try {
    return body()
  } catch {
    return undefined
  }
}

/**
 * The rule of root.
 *
 * @param isLax whether to use files that other users can change
 */
export const rootsRule = (isLax: boolean): Trust => ({
  distrust: (path) =>
    isLax ? undefined : examined(() => [...wayTo(path)].map(weakness).find((reason) => reason !== undefined)),
  isPrivate(path) {
    const isOpen = ({ stats: { mode }, stats }: Node): boolean => {
      if (stats.isSymbolicLink()) return true
      return (mode & (stats.isDirectory() ? SEARCHABLE_BY_ALL : READABLE_BY_ALL)) !== 0
    }
    return examined(() => [...wayTo(path)].every(isOpen)) !== true
  },
})
