// Looks up the words of errors, which schemas/xdp.schema.json has for each place of a config. The first look-up makes them.

import { type Words, words } from '../generated/words.js'

let made: Words | undefined
const whole = (): Words => {
  made ??= words()
  return made
}

function below({ below: keys = {}, each }: Words, step: string): Words | undefined {
  return Object.hasOwn(keys, step) ? keys[step] : each
}

/** The words about the value at a path of keys, names and indexes. */
export function wordsOf(path: readonly string[]): Words | undefined {
  return path.reduce<Words | undefined>((at, step) => at && below(at, step), whole())
}

/** The keys of the mapping at a path. */
export const keysOf = (path: readonly string[]): readonly string[] => Object.keys(wordsOf(path)?.below ?? {})

/** The key of the mapping at a path that `key` is another name of. */
export function aliased(path: readonly string[], key: string): string | undefined {
  const plain = key.toLowerCase().replaceAll('-', '_')
  return Object.entries(wordsOf(path)?.below ?? {}).find(([, { aliases }]) => aliases?.includes(plain))?.[0]
}

let homes: Map<string, Set<string>> | undefined

function collect({ home, below: keys = {}, each }: Words, into: Map<string, Set<string>>): Map<string, Set<string>> {
  if (home !== undefined)
    for (const key of Object.keys(keys)) {
      const found = into.get(key) ?? new Set()
      into.set(key, found.add(home))
    }
  for (const inner of [...Object.values(keys), ...(each ? [each] : [])]) collect(inner, into)
  return into
}

/** Where a key belongs, for a known key at the wrong place: `an interface`, `policy`, `an entry of a list`. */
export function homesOf(key: string): readonly string[] {
  homes ??= collect(whole(), new Map())
  return [...(homes.get(key) ?? [])]
}
