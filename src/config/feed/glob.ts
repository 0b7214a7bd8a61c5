// Patterns for several files: `*` and `?` stand for any characters but "/", `[abc]` and `[a-z]` for one of them, `[!a]`
// for any other. As in a shell, names that begin with a dot must be named with it, and what matches comes sorted.

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Reads } from '../text/source.ts'

const SPECIAL = /[*?[]/

/** Whether a path is a pattern. */
export const isPattern = (path: string): boolean => SPECIAL.test(path)

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')

/** One component of a pattern as a regular expression. */
function expressionOf(component: string): RegExp {
  const source = component.replace(/\[(!?)(\]?[^\]]*)\]|\*|\?|[^*?[]+|\[/g, (part, negation: string, set?: string) => {
    if (part === '*') return '[^/]*'
    if (part === '?') return '[^/]'
    if (set === undefined || set === '') return literal(part)
    return `[${negation === '!' ? '^' : ''}${set.replace(/[\\\]^[]/g, '\\$&')}]`
  })
  try {
    return new RegExp(`^${source}$`, 'su')
  } catch {
    // A set such as [z-a] matches nothing but itself.
    return new RegExp(`^${literal(component)}$`, 's')
  }
}

/** Which names a component of a pattern stands for. */
export function matcherOf(component: string): (name: string) => boolean {
  const expression = expressionOf(component)
  const hidden = component.startsWith('.')
  return (name) => (hidden || !name.startsWith('.')) && expression.test(name)
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
export function expand(pattern: string, { patterns }: Pick<Reads, 'patterns'>): readonly string[] {
  const found = matching(pattern)
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
