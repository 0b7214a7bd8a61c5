// Classes of an image, edited: parts and classes keep their numbers, which stand in tables that stay, and new ones are
// added behind them.

import { CLASS_RULES } from '../../abi/generated.ts'
import { type List, scopeKey } from '../../model/state.ts'
import { MAX_CLASS, type Part, partsOf, rulesIn } from '../classes.ts'
import type { ListRecord } from '../recognize.ts'
import { encodeClasses, type LiveClasses } from '../rules.ts'

/** Part numbers are 16 bits wide. */
const MAX_PART = 0xffff

const keyOf = (list: string, scope: string): string => `${list}\0${scope}`

/** The parts of the new state under the numbers that they have in the image, or under new ones. */
export interface PartNumbers {
  readonly parts: ReadonlyMap<number, Part>
  /** Number by list and scopeKey, also of parts that are going. */
  readonly numberOf: (list: string, scope: string) => number | undefined
  /** Numbers of parts of the image that the new state has no more. */
  readonly gone: ReadonlySet<number>
}

/** undefined: there are more parts than numbers. */
export function numberParts(
  live: LiveClasses,
  records: readonly ListRecord[],
  lists: ReadonlyMap<string, List>,
): PartNumbers | undefined {
  const names = new Map(records.map(({ slot, name }) => [slot, name]))
  const known = live.parts.flatMap((part) => {
    const list = part && names.get(part.slot)
    return part === undefined || list === undefined ? [] : [[keyOf(list, scopeKey(part.scope)), part.number] as const]
  })
  const numbers = new Map(known)
  const parts = new Map<number, Part>()
  let next = live.parts.length
  for (const part of partsOf(lists)) {
    const key = keyOf(part.list.name, scopeKey(part.set.scope))
    const number = numbers.get(key) ?? next++
    numbers.set(key, number)
    parts.set(number, part)
  }
  if (next > MAX_PART) return undefined
  return {
    parts,
    numberOf: (list, scope) => numbers.get(keyOf(list, scope)),
    gone: new Set(known.map(([, number]) => number).filter((number) => !parts.has(number))),
  }
}

/** The sets of parts that classes stand for, and what they become when parts are added to or taken from them. */
export class ClassSets {
  readonly #members: (readonly number[])[]
  readonly #byKey: Map<string, number>
  readonly #numbers: PartNumbers
  readonly #known: number
  #failed = false

  constructor(live: LiveClasses, numbers: PartNumbers) {
    this.#members = live.members.map((parts) => parts.toSorted((a, b) => a - b))
    this.#known = this.#members.length
    this.#numbers = numbers
    this.#byKey = new Map()
    // The first of those that have no parts, or the same by damage that means nothing, is the one to use.
    for (const [value, parts] of this.#members.entries()) {
      const key = parts.join()
      if (!this.#byKey.has(key)) this.#byKey.set(key, value)
    }
  }

  /** A class could not be made: there are too many, or one has too many rules. */
  get failed(): boolean {
    return this.#failed
  }

  /** What gives a class the parts of `toggled` that it has not, and takes those that it has. */
  change(toggled: readonly number[]): (value: number) => number {
    const known = new Map<number, number>()
    return (value) => {
      const found = known.get(value) ?? this.#toggle(value, toggled)
      known.set(value, found)
      return found
    }
  }

  #toggle(value: number, toggled: readonly number[]): number {
    const parts = new Set(this.#members[value])
    for (const part of toggled) if (!parts.delete(part)) parts.add(part)
    const sorted = [...parts].sort((a, b) => a - b)
    const key = sorted.join()
    const found = this.#byKey.get(key)
    if (found !== undefined) return found
    const own = sorted.flatMap((part) => this.#numbers.parts.get(part) ?? [])
    if (this.#members.length > MAX_CLASS || rulesIn(own) > CLASS_RULES) this.#failed = true
    const created = this.#members.push(sorted) - 1
    this.#byKey.set(key, created)
    return created
  }

  /** Whether the sections of classes and rules are as they were. */
  #isSame(live: LiveClasses, slots: ReadonlyMap<string, number>): boolean {
    if (this.#members.length > this.#known || this.#numbers.gone.size > 0) return false
    return live.parts.every((part) => {
      const list = part && this.#numbers.parts.get(part.number)?.list
      return !part || (list?.kind === part.kind && slots.get(list.name) === part.slot)
    })
  }

  /** The sections of classes and rules; undefined: as they were. Classes of parts that are gone have no rules. */
  encode(live: LiveClasses, slots: ReadonlyMap<string, number>): ReturnType<typeof encodeClasses> | undefined {
    if (this.#isSame(live, slots)) return undefined
    const { gone, parts } = this.#numbers
    const members = this.#members.map((numbers) => (numbers.some((part) => gone.has(part)) ? [] : numbers))
    return encodeClasses(members, parts, slots)
  }

  get count(): number {
    return this.#members.length
  }
}
