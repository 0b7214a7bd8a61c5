// One file of a config, parsed and checked against the schema.

import type { Report } from './report.ts'
import type { Source } from './source.ts'
import type { Placed } from './tree.ts'

/** One file of a config. */
export interface Part {
  readonly source: Source
  readonly root: Placed
  /** Paths with an error in them, as `reportSchemaErrors` returns them. */
  readonly wrong: ReadonlySet<string>
}

/** The key of a mapping at the top level; undefined if it is missing, or the mapping has an error in it. */
export function soundField(
  { root, wrong }: Pick<Part, 'root' | 'wrong'>,
  outer: string,
  key: string,
): Placed | undefined {
  const isWrong = [...wrong].some((path) => path === outer || path.startsWith(`${outer}/`))
  return isWrong ? undefined : root.fields?.get(outer)?.fields?.get(key)
}

/** The fields of a mapping without an error in them. */
export function soundFields({ root, wrong }: Pick<Part, 'root' | 'wrong'>, key: string): (readonly [string, Placed])[] {
  return [...(root.fields?.get(key)?.fields ?? [])].filter(([name]) => !wrong.has(`${key}/${name}`))
}

/** Reports a key that two files of a config set. */
export function reportTwice(
  what: string,
  { source }: Pick<Part, 'source'>,
  placed: Placed,
  first: string,
  report: Report,
): void {
  const at = placed.key ?? placed
  const hint = 'remove one of them'
  report.error('E008', source.locate(at.from, at.to), `${what} is already set in ${first}`, hint)
}

export const lineOf = ({ source }: Pick<Part, 'source'>, { key, from }: Placed): string =>
  `${source.path}:${source.lineOf(key?.from ?? from)}`
