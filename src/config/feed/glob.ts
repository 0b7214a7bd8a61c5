// Patterns for several files: `*` and `?` stand for any characters but "/", `[abc]` and `[a-z]` for one of them, `[!a]`
// for any other. As in a shell, names that begin with a dot must be named with it, and what matches comes sorted.

import { readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Matcher } from '@isaacs/nonrecursive-glob-match'
import type { Reads } from '../text/source.ts'

const SPECIAL = /[*?[]/

/** Whether a path is a pattern. */
export const isPattern = (path: string): boolean => SPECIAL.test(path)

/** Which names a component of a pattern stands for. A backslash is a character of the name, not an escape. */
export function matcherOf(component: string): (name: string) => boolean {
  const matcher = new Matcher(component.replaceAll('\\', '\\\\'), { noext: true })
  return (name) => matcher.test(name)
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function exists(path: string): boolean {
  try {
    statSync(path)
    return true
  } catch {
    return false
  }
}

/**
 * The paths that a pattern matches, sorted; none if it matches nothing. A file of just that name is taken first.
 * `reads` gets the pattern.
 */
export function expand(
  pattern: string,
  { patterns, kept }: Pick<Reads, 'patterns'> & Partial<Pick<Reads, 'kept'>>,
): readonly string[] {
  const found = kept ? kept.matches(resolve(pattern)) : matching(pattern)
  patterns.set(pattern, found)
  return found
}

function matching(pattern: string): readonly string[] {
  if (exists(pattern)) return [pattern]
  const [first = '', ...rest] = pattern.split('/')
  let found = [first === '' && rest.length > 0 ? '/' : '']
  for (const component of first === '' ? rest : [first, ...rest]) {
    if (component === '') continue
    if (!isPattern(component)) {
      found = found.map((directory) => join(directory, component)).filter(exists)
      continue
    }
    const matches = matcherOf(component)
    found = found.flatMap((directory) =>
      namesIn(directory || '.')
        .filter(matches)
        .map((name) => join(directory, name)),
    )
  }
  return found.filter((path) => path !== '').sort()
}
