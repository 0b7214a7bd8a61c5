// What a valid file says, as text and as JSON (schemas/validate.schema.json).

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired, Feed } from '../model/desired.ts'
import { listPrefixes } from '../model/state.ts'
import { diagnosticsJson } from './diagnostic.ts'
import { jsonDocument } from './json.ts'
import { plural } from './numbers.ts'

export function renderValidate({ config, state }: Desired): string {
  const lists = [...state.lists.values()]
  const prefixes = lists.reduce((sum, list) => sum + listPrefixes(list), 0)
  const parts = [
    plural(state.interfaces.size, 'interface'),
    `${plural(lists.length, 'list')} with ${plural(prefixes, 'prefix', 'prefixes')}`,
    `default ${state.policy?.default ?? 'pass'}`,
  ]
  return `${config.path} is valid: ${parts.join(', ')}.\n`
}

/** What was read of every list file. */
const feedsJson = (feeds: readonly Feed[]) =>
  feeds.flatMap(({ list, files }) =>
    files.map(({ path, format, entries, skipped, private: ownNetworks, wide, updatedAt, notes }) => ({
      list,
      path,
      format,
      entries,
      skipped,
      left_out: { private: ownNetworks, wide },
      updated_at: updatedAt,
      notes,
    })),
  )

export function renderValidateJson({ config, state, feeds }: Desired, warnings: readonly Diagnostic[]): string {
  const byName = (left: { readonly name: string }, right: { readonly name: string }): number =>
    left.name < right.name ? -1 : 1
  return jsonDocument({
    valid: true,
    config,
    interfaces: [...state.interfaces.values()].map(({ interface: name, modes }) => ({ name, modes })).sort(byName),
    policy: state.policy ?? null,
    lists: [...state.lists.values()]
      .map((list) => ({ name: list.name, kind: list.kind, prefixes: listPrefixes(list) }))
      .sort(byName),
    feeds: feedsJson(feeds),
    warnings: diagnosticsJson(warnings),
  })
}
