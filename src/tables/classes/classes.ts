// Classes: the sets of parts (a list under one scope) that cover an address. Each distinct set that covers any address
// is a class, so one number in a table identifies the lists that a packet matches.

import { CLASS_RULES } from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import { alternatives } from '../../model/scope.ts'
import type { List, ListKind, Scope, ScopedSet } from '../../model/state.ts'

/** A list under one of its scopes. Its number is its position in `partsOf`. */
export interface Part {
  readonly list: List
  readonly set: ScopedSet
}

/** A part, decoded from its rules. */
export interface LivePart {
  readonly number: number
  /** Slot of its list. */
  readonly slot: number
  readonly kind: ListKind
  readonly scope: Scope
  /** Of a part with sources: the slot of its rate limit. */
  readonly limit?: number
}

/** The parts of all lists, in the order of list names, so that equal states give equal tables. */
export function partsOf(lists: ReadonlyMap<string, List>): Part[] {
  return sortedLists(lists).flatMap((list) => list.sets.map((set) => ({ list, set })))
}

export const sortedLists = (lists: ReadonlyMap<string, List>): List[] =>
  [...lists.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))

/** Number of rules of a part: one for each combination of port ranges, types of ICMP and code points. Sources have none. */
export const ruleCount = ({ list: { kind }, set: { scope } }: Part): number =>
  kind === 'sources' ? 0 : alternatives(scope)

/** Classes are 16 bits wide in the tables. */
export const MAX_CLASS = 0xffff

/** A set of parts that the sweep has reached, with its successors: the sets after one part begins or ends. */
interface Node {
  /** Part numbers, ascending. */
  readonly parts: readonly number[]
  /** -1 = covers no address so far. */
  value: number
  /** The latest toggle and its target: sweeps of one list need no other. */
  part: number
  target: number
  readonly targets: Map<number, number>
}

const makeNode = (parts: readonly number[]): Node => ({
  parts,
  value: parts.length === 0 ? 0 : -1,
  part: -1,
  target: 0,
  targets: new Map(),
})

/** Source of a sweep's values: the sets of numbers that cover an address. Set 0 is the empty one. */
export interface Sets {
  /** The node with `part` added to or removed from `from`. Node 0 is the empty set. */
  toggle(from: number, part: number): number
  /** The value of a node; -1 = none yet. */
  find(node: number): number
  /** Gives a node a value. `where` formats an address that it covers, for the error. */
  create(node: number, where: () => string): number
}

/** Assigns values to sets of numbers. A set is a node without a value until it is known to cover an address. */
export class NumberSets implements Sets {
  readonly #nodes: Node[] = [makeNode([])]
  readonly #byKey = new Map<string, number>([['', 0]])
  readonly #members: (readonly number[])[] = [[]]

  /** The numbers of every set, ascending, by its value; set 0 is empty. */
  get members(): readonly (readonly number[])[] {
    return this.#members
  }

  toggle(from: number, part: number): number {
    const node = this.#nodes[from] as Node
    if (node.part !== part) {
      node.target = node.targets.get(part) ?? this.#resolve(node, part)
      node.part = part
    }
    return node.target
  }

  #resolve(node: Node, part: number): number {
    const without = node.parts.filter((other) => other !== part)
    const parts = without.length < node.parts.length ? without : [...without, part].sort((a, b) => a - b)
    const key = parts.join()
    let target = this.#byKey.get(key)
    if (target === undefined) {
      target = this.#nodes.push(makeNode(parts)) - 1
      this.#byKey.set(key, target)
    }
    node.targets.set(part, target)
    return target
  }

  find(node: number): number {
    return (this.#nodes[node] as Node).value
  }

  create(node: number, _where: () => string): number {
    const found = this.#nodes[node] as Node
    found.value = this.#members.push(found.parts) - 1
    return found.value
  }

  protected partsOf(node: number): readonly number[] {
    return (this.#nodes[node] as Node).parts
  }
}

/** Total number of rules of the parts. */
export const rulesIn = (parts: readonly Part[]): number => parts.reduce((sum, part) => sum + ruleCount(part), 0)

/** Assigns classes to the sets of parts that cover an address. */
export class Classes extends NumberSets {
  readonly #parts: readonly Part[]

  constructor(parts: readonly Part[]) {
    super()
    this.#parts = parts
  }

  /** @throws XdpError E202 if there are too many classes, E204 if the node has too many rules */
  override create(node: number, where: () => string): number {
    const parts = this.partsOf(node).map((part) => this.#parts[part] as Part)
    const rules = rulesIn(parts)
    if (rules > CLASS_RULES) {
      const names = [...new Set(parts.map(({ list }) => list.name))]
      const shown = names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ')
      throw fail(
        'E204',
        `${rules} rules apply to ${where()} (from ${shown}), but at most ${CLASS_RULES} can`,
        'an entry counts once for each combination of port ranges, ICMP types and code points; use fewer of them, or fewer lists there',
      )
    }
    if (this.members.length > MAX_CLASS) {
      throw fail(
        'E202',
        `the lists overlap in more than ${MAX_CLASS} different ways`,
        'each combination of lists and scopes that covers an address counts; merge lists that always act alike',
      )
    }
    return super.create(node, where)
  }
}
