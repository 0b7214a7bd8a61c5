// Parts of rules, collected into lists: one per kind, set, scope and comment.

import { scopeKey } from '../model/state.ts'
import { RangeCollector } from './addresses.ts'
import type { Part } from './parts.ts'
import type { Rule } from './rules.ts'
import type { ImportedList } from './source.ts'

interface Group {
  readonly list: Omit<ImportedList, 'addresses' | 'places'>
  readonly found: RangeCollector
  readonly places: Set<string>
}

export class Groups {
  readonly #groups = new Map<string, Group>()

  add({ kind, list: name, comment, place }: Rule, { scope, ranges }: Pick<Part, 'scope' | 'ranges'>): void {
    const key = JSON.stringify([kind, name ?? null, scopeKey(scope), comment ?? null])
    const list = { kind, name, scope, comment }
    const group = this.#groups.get(key) ?? { list, found: new RangeCollector(), places: new Set() }
    group.found.addRanges(ranges)
    group.places.add(place.text)
    this.#groups.set(key, group)
  }

  finish(): ImportedList[] {
    return [...this.#groups.values()].map(({ list, found, places }) => ({
      ...list,
      addresses: found.finish(),
      places: [...places],
    }))
  }
}
