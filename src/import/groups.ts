// Parts of rules, collected into lists: one per kind, set, scope and comment.

import type { Established } from '../model/policy.ts'
import { scopeKey } from '../model/state.ts'
import { RangeCollector } from './addresses.ts'
import { scopesOf } from './box-scopes.ts'
import type { Part } from './parts.ts'
import type { Rule } from './rules.ts'
import type { ImportedList } from './source.ts'

interface Group {
  /** Of a blocklist: whether connections that this host opened pass. */
  readonly established: Established
  readonly list: Omit<ImportedList, 'addresses' | 'places'>
  readonly found: RangeCollector
  readonly places: Set<string>
}

export class Groups {
  readonly #groups = new Map<string, Group>()

  add({ kind, list: name, comment, place, spares }: Rule, { box, ranges, family }: Part): void {
    const established = kind === 'blocklist' && spares ? 'pass' : 'judge'
    for (const scope of scopesOf(box, family)) {
      const key = JSON.stringify([kind, name ?? null, scopeKey(scope), comment ?? null, established])
      const list = { kind, name, scope, comment }
      const group = this.#groups.get(key) ?? { established, list, found: new RangeCollector(), places: new Set() }
      group.found.addRanges(ranges)
      group.places.add(place.text)
      this.#groups.set(key, group)
    }
  }

  /** @param policy `established` of the policy, which entries that differ from it name. */
  finish(policy: Established): ImportedList[] {
    return [...this.#groups.values()].map(({ established, list, found, places }) => ({
      ...list,
      scope: list.kind === 'allowlist' || established === policy ? list.scope : { ...list.scope, established },
      addresses: found.finish(),
      places: [...places],
    }))
  }
}
