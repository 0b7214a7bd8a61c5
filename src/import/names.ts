// Names of sets and servers in other tools → names of lists and services, which are shorter, use fewer characters, and are unique in a config.

import { type ListKind, type Scope, scopeKey } from '../model/state.ts'
import type { ImportedList } from './source.ts'

const LONGEST = 39

const clean = (text: string): string =>
  text
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, LONGEST)
    .replace(/[-.]+$/, '')

/** `base` with `suffix`; shortens `base` if the result would be too long. */
const joined = (base: string, suffix: string): string =>
  suffix === '' ? base : `${base.slice(0, Math.max(1, LONGEST - 1 - suffix.length))}-${suffix}`.slice(0, LONGEST)

const SHORT: Readonly<Record<ListKind, string>> = { allowlist: 'allow', blocklist: 'block', sources: 'sources' }

const scopeWords = (scope: Scope): string => (scope.protocol === 'any' && !scope.match ? '' : clean(scopeKey(scope)))

/** Candidates for the name of a list, best first. */
function* candidates(base: string, { kind, scope }: ImportedList): Generator<string> {
  yield base
  yield joined(base, scopeWords(scope).slice(0, 20))
  yield joined(base, SHORT[kind])
  for (let number = 2; ; number++) yield joined(base, `${number}`)
}

/** A valid name for each text, all different. */
export function uniqueNames(texts: readonly string[]): readonly string[] {
  const used = new Set<string>()
  return texts.map((text) => {
    const base = clean(text) || 'service'
    let name = base
    for (let number = 2; used.has(name); number++) name = joined(base, `${number}`)
    used.add(name)
    return name
  })
}

/**
 * A unique name for each list, none of them reserved. A list without a name gets one for its file, from its kind and
 * scope.
 */
export function assignNames(lists: readonly ImportedList[]): ReadonlyMap<ImportedList, string> {
  const names = new Map<ImportedList, string>()
  const used = new Set<string>(['allowlist', 'blocklist'])
  for (const list of lists.toSorted((a, b) => Number(a.name === undefined) - Number(b.name === undefined))) {
    const base = list.name === undefined ? joined(list.kind, scopeWords(list.scope)) : clean(list.name) || 'set'
    // The file of the unnamed entries may have the reserved name of their kind, which no named list has.
    const own = list.name === undefined && base === list.kind && ![...names.values()].includes(base)
    for (const name of candidates(base, list)) {
      if (used.has(name) && !(own && name === base)) continue
      used.add(name)
      names.set(list, name)
      break
    }
  }
  return names
}
