// The kind and name of a list in its record (struct list).

import { limitOfSources, sourcesList } from '../model/rate-limit.ts'
import type { List, ListKind } from '../model/state.ts'
import type { List as Line } from './generated.ts'

/** By the field `allow`. */
const KINDS: readonly ListKind[] = ['blocklist', 'allowlist', 'sources']

type Named = Pick<List, 'kind' | 'name'>

/** A list of sources has the name of its limit. */
export const recordOf = ({ kind, name }: Named): Pick<Line, 'allow' | 'name'> => ({
  allow: KINDS.indexOf(kind),
  name: kind === 'sources' ? limitOfSources(name) : name,
})

export function listOf({ allow, name }: Pick<Line, 'allow' | 'name'>): Named {
  const kind = KINDS[allow] ?? 'allowlist'
  return { kind, name: kind === 'sources' ? sourcesList(name) : name }
}
