// Edits the classes of an image: parts and classes keep their numbers, because unchanged tables refer to them; new ones
// are appended.

import { CLASS_RULES } from '../../abi/generated.ts'
import { type List, scopeKey } from '../../model/state.ts'
import { MAX_CLASS, type Part, partsOf, rulesIn } from './classes.ts'
import type { InterfaceSets } from './interfaces.ts'
import type { ListRecord } from './lists.ts'
import { encodeClasses, type LiveClasses } from './rules.ts'
import { type ClassSlots, sourceRecord } from './sources.ts'

/** Part numbers are 16 bits wide. */
const MAX_PART = 0xffff

const keyOf = (list: string, scope: string): string => `${list}\0${scope}`

/** Numbers of the new state's parts: those from the image, or new ones. */
export interface PartNumbers {
  readonly parts: ReadonlyMap<number, Part>
  /** Number by list and scopeKey, including parts that are going away. */
  readonly numberOf: (list: string, scope: string) => number | undefined
  /** Numbers of the image's parts that the new state no longer has. */
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
  let free = 0
  const create = (): number => {
    // No table refers to numbers of parts that an earlier edit removed.
    while (live.parts[free] !== undefined) free++
    return free++
  }
  for (const part of partsOf(lists)) {
    const key = keyOf(part.list.name, scopeKey(part.set.scope))
    const number = numbers.get(key) ?? create()
    numbers.set(key, number)
    parts.set(number, part)
  }
  if (free > MAX_PART + 1) return undefined
  return {
    parts,
    numberOf: (list, scope) => numbers.get(keyOf(list, scope)),
    gone: new Set(known.map(([, number]) => number).filter((number) => !parts.has(number))),
  }
}

/** The set of parts of each class, and the classes that result from adding or removing parts. */
export class ClassSets {
  readonly #members: (readonly number[])[]
  readonly #byKey: Map<string, number>
  readonly #numbers: PartNumbers
  /** Unused classes: all of their parts are gone. */
  readonly #free: number[] = []
  #isSame = true
  #failed = false

  constructor(live: LiveClasses, numbers: PartNumbers) {
    this.#members = live.members.map((parts) => parts.toSorted((a, b) => a - b))
    this.#numbers = numbers
    this.#byKey = new Map()
    for (const [value, parts] of this.#members.entries()) {
      if (value > 0 && parts.length === 0) this.#free.push(value)
      else this.#byKey.set(parts.join(), value)
    }
  }

  /** A class could not be created: there are too many, or one has too many rules. */
  get failed(): boolean {
    return this.#failed
  }

  /** Returns the function that toggles the parts of `toggled` in a class: removes those it has, adds the others. */
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
    const created = this.#free.pop() ?? this.#members.length
    const own = sorted.flatMap((part) => this.#numbers.parts.get(part) ?? [])
    if (created > MAX_CLASS || rulesIn(own) > CLASS_RULES) this.#failed = true
    this.#isSame = false
    this.#members[created] = sorted
    this.#byKey.set(key, created)
    return created
  }

  /** Whether the parts have unchanged rules and counters. */
  #sameParts(live: LiveClasses, slots: ClassSlots): boolean {
    if (this.#numbers.gone.size > 0) return false
    return live.parts.every((part) => {
      const own = part && this.#numbers.parts.get(part.number)
      if (!part) return true
      if (own?.list.kind !== part.kind || slots.lists.get(own.list.name) !== part.slot) return false
      return sourceRecord(part.number, own, slots)?.source_first === part.limit
    })
  }

  /** The sections of classes and rules; undefined: unchanged. Unused classes have no rules. */
  encode(live: LiveClasses, slots: ClassSlots, sets: InterfaceSets): ReturnType<typeof encodeClasses> | undefined {
    if (live.isMarked && this.#isSame && this.#sameParts(live, slots)) return undefined
    const { gone, parts } = this.#numbers
    const members = this.#members.map((numbers) => (numbers.some((part) => gone.has(part)) ? [] : numbers))
    return encodeClasses(members, parts, slots, sets)
  }

  get count(): number {
    return this.#members.length
  }
}
