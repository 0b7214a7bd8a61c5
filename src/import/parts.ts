// Packets of one family as parts: a box and the source addresses under it. A part minus another is exact where boxes
// can express the rest; if not, the rest loses addresses and is smaller than the true one.

import type { AddressSet, Family, Ranges } from '../model/address.ts'
import { subtract } from '../model/ranges.ts'
import { EVERY, intersect, overlaps, RangeCollector } from './addresses.ts'
import { type Box, boxesOf, boxesWithout, boxKey, commonBox, coversBox, sharesBox } from './boxes.ts'
import type { Match } from './rules.ts'
import type { Place } from './source.ts'

export interface Part {
  readonly family: Family
  readonly box: Box
  readonly ranges: Ranges
}

const rangesOf = (addresses: AddressSet | undefined, family: Family): Ranges =>
  addresses === undefined ? EVERY[family] : family === 4 ? addresses.v4 : addresses.v6

/** The packets of a match; no part is empty. */
export function partsOf({ addresses, traffic }: Pick<Match, 'addresses' | 'traffic'>, family: Family): readonly Part[] {
  const ranges = rangesOf(addresses, family)
  return ranges.length === 0 ? [] : boxesOf(traffic, family).map((box) => ({ family, box, ranges }))
}

/** Whether one packet can be in both. */
export const meets = (one: Part, other: Part): boolean =>
  sharesBox(one.box, other.box) && overlaps(one.ranges, other.ranges)

/** The packets in both, of parts that meet. */
export const commonPart = (one: Part, other: Part): Part => ({
  ...one,
  box: commonBox(one.box, other.box),
  ranges: intersect(one.ranges, other.ranges),
})

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
  if (coversBox(other.box, part.box)) return { parts: filled([rest]), exact: true }
  const { boxes, exact } = boxesWithout(part.box, other.box, part.family)
  const shared = intersect(part.ranges, other.ranges)
  const pieces = boxes.map((box) => ({ ...part, box, ranges: shared }))
  return { parts: filled([rest, ...pieces]), exact }
}

export function minusAll(parts: readonly Part[], others: readonly Part[]): Rest {
  let rest: Rest = { parts, exact: true }
  for (const other of others) {
    const next = rest.parts.map((part) => minus(part, other))
    rest = { parts: next.flatMap((one) => one.parts), exact: rest.exact && next.every((one) => one.exact) }
  }
  return rest
}

interface Boxed {
  readonly family: Family
  readonly box: Box
  readonly place: Place
  readonly found: RangeCollector
  part: Part | undefined
}

/** Most pieces of a part; a list of more is unreadable. */
const PIECES = 16

/** Many parts of one family, one set of addresses per box. Merged on demand. */
export class PartSets {
  readonly #sets = new Map<string, Boxed>()

  /** `place`: where the rule is, for messages. */
  add({ family, box, ranges }: Part, place: Place): void {
    const key = boxKey(box)
    const known = this.#sets.get(key) ?? { family, box, place, found: new RangeCollector(), part: undefined }
    known.found.addRanges(ranges)
    known.part = undefined
    this.#sets.set(key, known)
  }

  *#parts(): Generator<{ readonly part: Part; readonly place: Place }> {
    for (const set of this.#sets.values()) {
      const { family, box, place, found } = set
      set.part ??= { family, box, ranges: rangesOf(found.finish(), family) }
      yield { part: set.part, place }
    }
  }

  /** The parts without these; if boxes cannot express that, the place of the rule in the way. */
  outside(parts: readonly Part[]): readonly Part[] | Place {
    let rest = parts
    for (const { part, place } of this.#parts()) {
      if (!rest.some((one) => meets(one, part))) continue
      const next = minusAll(rest, [part])
      if (!next.exact || next.parts.length > PIECES) return place
      rest = next.parts
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

export const isPlace = (value: readonly Part[] | Place): value is Place => 'text' in value
