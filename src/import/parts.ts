// Packets of one family as parts: a scope and the source addresses under it. A part minus another is exact where scopes
// can express the rest; if not, the rest loses addresses and is smaller than the true one.

import type { AddressSet, Family, Ranges } from '../model/address.ts'
import { subtract } from '../model/ranges.ts'
import { type Scope, scopeKey } from '../model/state.ts'
import { EVERY, intersect, overlaps, RangeCollector } from './addresses.ts'
import type { Match } from './rules.ts'
import { coversScope, hasPorts, scopesOf, scopesWithout, sharesScope } from './scopes.ts'
import type { Place } from './source.ts'

export interface Part {
  readonly family: Family
  readonly scope: Scope
  readonly ranges: Ranges
}

const rangesOf = (addresses: AddressSet | undefined, family: Family): Ranges =>
  addresses === undefined ? EVERY[family] : family === 4 ? addresses.v4 : addresses.v6

/** The packets of a match; no part is empty. */
export function partsOf({ addresses, traffic }: Pick<Match, 'addresses' | 'traffic'>, family: Family): readonly Part[] {
  const ranges = rangesOf(addresses, family)
  return ranges.length === 0 ? [] : scopesOf(traffic, family).map((scope) => ({ family, scope, ranges }))
}

/** Whether one packet can be in both. */
export const meets = (one: Part, other: Part): boolean =>
  sharesScope(one.scope, other.scope) && overlaps(one.ranges, other.ranges)

export interface Rest {
  readonly parts: readonly Part[]
  /** Whether the parts hold every packet of the difference; they never hold another. */
  readonly exact: boolean
}

const filled = (parts: readonly Part[]): readonly Part[] => parts.filter(({ ranges }) => ranges.length > 0)

/** The packets of `part` outside `other`. */
export function minus(part: Part, other: Part): Rest {
  if (!meets(part, other)) return { parts: [part], exact: true }
  const rest = { ...part, ranges: subtract(part.ranges, other.ranges) }
  if (coversScope(other.scope, part.scope)) return { parts: filled([rest]), exact: true }
  const scopes = scopesWithout(part.scope, other.scope)
  if (scopes === undefined) return { parts: filled([rest]), exact: false }
  const shared = intersect(part.ranges, other.ranges)
  const pieces = scopes.map((scope) => ({ ...part, scope, ranges: shared }))
  // Later fragments belong to a scope without ports, and to none of the pieces.
  return { parts: filled([rest, ...pieces]), exact: hasPorts(part.scope) }
}

export function minusAll(parts: readonly Part[], others: readonly Part[]): Rest {
  let rest: Rest = { parts, exact: true }
  for (const other of others) {
    const next = rest.parts.map((part) => minus(part, other))
    rest = { parts: next.flatMap((one) => one.parts), exact: rest.exact && next.every((one) => one.exact) }
  }
  return rest
}

interface Scoped {
  readonly family: Family
  readonly scope: Scope
  readonly place: Place
  readonly found: RangeCollector
  part: Part | undefined
}

/** Many parts of one family, one set of addresses per scope. Merged on demand. */
export class PartSets {
  readonly #sets = new Map<string, Scoped>()

  /** `place`: where the rule is, for messages. */
  add({ family, scope, ranges }: Part, place: Place): void {
    const key = scopeKey(scope)
    const known = this.#sets.get(key) ?? { family, scope, place, found: new RangeCollector(), part: undefined }
    known.found.addRanges(ranges)
    known.part = undefined
    this.#sets.set(key, known)
  }

  *#parts(): Generator<{ readonly part: Part; readonly place: Place }> {
    for (const set of this.#sets.values()) {
      const { family, scope, place, found } = set
      set.part ??= { family, scope, ranges: rangesOf(found.finish(), family) }
      yield { part: set.part, place }
    }
  }

  /** The addresses of a part outside these; if its scope cannot express that, the place of the rule in the way. */
  outside({ scope, ranges, family }: Part): Ranges | Place {
    let rest = ranges
    for (const { part, place } of this.#parts()) {
      if (!meets({ family, scope, ranges: rest }, part)) continue
      if (!coversScope(part.scope, scope)) return place
      rest = subtract(rest, part.ranges)
    }
    return rest
  }

  /** The place of a rule whose packets the part shares. */
  meeting(part: Part): Place | undefined {
    for (const own of this.#parts()) if (meets(part, own.part)) return own.place
    return undefined
  }

  /** The parts outside these. */
  removeFrom(parts: readonly Part[]): readonly Part[] {
    return minusAll(
      parts,
      [...this.#parts()].map(({ part }) => part),
    ).parts
  }
}

export const isPlace = (value: Ranges | Place): value is Place => 'text' in value
