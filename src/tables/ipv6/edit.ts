// Edits the IPv6 table. A change is divided at the borders of prefixes of 64, 48 and 32 bits: a part smaller than a
// prefix of one length changes the content of the prefix around it, the rest goes to the next length. Longer prefixes
// hide shorter ones, so every existing prefix inside a change is changed as well.

import { BLOCK_32, BLOCK_48, BLOCK_64 } from '../../abi/generated.ts'
import { RangeTable } from '../ranges/edit.ts'
import { DEEP_NODE, type Node, RUN_NODE } from '../ranges/trees.ts'
import type { Tag } from './blocks.ts'
import { BlockTable } from './edit-blocks.ts'
import { type Content, overlay, type Piece, TreeStore, uniform } from './edit-content.ts'
import { FLAG_OF, type Tables6 } from './table6.ts'

/** Addresses (or prefixes, by number) from `first` to `last`, and the mapping from their old class to the new one. */
export type Change6 = Piece

/** One of the three prefix lengths. */
interface Level {
  readonly tag: Tag
  readonly node: Node
  /** Bits between this length and the next longer one: the resolution of the content. */
  readonly step: bigint
  /** Bits of a start in the trees of the content. */
  readonly bits: bigint
}

const LEVELS: readonly Level[] = [
  { tag: BLOCK_64, node: DEEP_NODE, step: 64n, bits: 64n },
  { tag: BLOCK_48, node: RUN_NODE, step: 16n, bits: 16n },
  { tag: BLOCK_32, node: RUN_NODE, step: 16n, bits: 32n },
]

interface Cut {
  /** By prefix: the pieces inside it, in units of the next longer length. */
  readonly inside: ReadonlyMap<bigint, readonly Piece[]>
  /** Runs of complete prefixes, more than one each, in units of prefixes. */
  readonly whole: readonly Piece[]
}

/** Divides changes, ascending and disjoint, at prefix borders. A change of exactly one prefix goes inside it. */
function cut(changes: readonly Piece[], step: bigint): Cut {
  const inside = new Map<bigint, Piece[]>()
  const whole: Piece[] = []
  const last = (1n << step) - 1n
  const put = (prefix: bigint, piece: Piece): void => {
    const pieces = inside.get(prefix)
    if (pieces) pieces.push(piece)
    else inside.set(prefix, [piece])
  }
  for (const { first, last: end, change } of changes) {
    let [from, to] = [first >> step, end >> step]
    if (from === to) {
      put(from, { first: first & last, last: end & last, change })
      continue
    }
    if ((first & last) !== 0n) put(from++, { first: first & last, last, change })
    const tail = (end & last) !== last ? { first: 0n, last: end & last, change } : undefined
    if (tail) to--
    if (from === to) put(from, { first: 0n, last, change })
    else if (from < to) whole.push({ first: from, last: to, change })
    if (tail) put(to + 1n, tail)
  }
  return { inside, whole }
}

class Editor {
  readonly #blocks: BlockTable
  readonly #trees: TreeStore
  readonly #root: RangeTable
  #lengths: number
  /** By level: prefixes whose value changed. */
  readonly #touched = LEVELS.map(() => new Set<bigint>())

  constructor({ blocks, lengths, root, trees }: Tables6) {
    this.#blocks = new BlockTable(blocks)
    this.#trees = new TreeStore(trees)
    this.#root = new RangeTable(root)
    this.#lengths = lengths
  }

  /** Class that shorter prefixes and the root give to a prefix of a level's length. */
  #below(level: number, prefix: bigint): number {
    let rest = prefix
    for (let next = level + 1; next < LEVELS.length; next++) {
      const { tag, node, step, bits } = LEVELS[next] as Level
      const start = (rest & ((1n << step) - 1n)) << (bits - step)
      rest >>= step
      const value = this.#blocks.get(tag, rest)
      if (value === undefined) continue
      const { starts, values } = this.#trees.read(value, node)
      return values[starts.findLastIndex((one) => one <= start)] as number
    }
    return this.#root.get(Number(rest))
  }

  #contentOf(level: number, prefix: bigint): Content {
    const { tag, node } = LEVELS[level] as Level
    const value = this.#blocks.get(tag, prefix)
    return value === undefined ? uniform(this.#below(level, prefix)) : this.#trees.read(value, node)
  }

  #put(level: number, prefix: bigint, content: Content): void {
    const { tag, node } = LEVELS[level] as Level
    const before = this.#blocks.get(tag, prefix) ?? 0
    this.#blocks.set(tag, prefix, this.#trees.write(before, content, node))
    this.#lengths |= FLAG_OF[tag]
    this.#touched[level]?.add(prefix)
  }

  /** Changes the content of prefixes of one length. */
  editInside(level: number, inside: Cut['inside']): void {
    const { step, bits } = LEVELS[level] as Level
    const scale = bits - step
    for (const [prefix, pieces] of inside) {
      const scaled = pieces.map(({ first, last, change }) => {
        return { first: first << scale, last: ((last + 1n) << scale) - 1n, change }
      })
      this.#put(level, prefix, overlay(this.#contentOf(level, prefix), bits, scaled))
    }
  }

  /** Changes every existing prefix of one length inside `whole`. */
  editEach(level: number, whole: readonly Piece[]): void {
    const { tag, node, bits } = LEVELS[level] as Level
    for (const { prefix, change } of this.#inside(tag, whole)) {
      const content = this.#trees.read(this.#blocks.get(tag, prefix) as number, node)
      this.#put(level, prefix, overlay(content, bits, [{ first: 0n, last: (1n << bits) - 1n, change }]))
    }
  }

  /** The existing prefixes of one length inside `whole`, each with its change. */
  #inside(tag: Tag, whole: readonly Piece[]): { prefix: bigint; change: Piece['change'] }[] {
    if (whole.length === 0 || (this.#lengths & FLAG_OF[tag]) === 0) return []
    const total = whole.reduce((sum, { first, last }) => sum + last - first + 1n, 0n)
    if (this.#blocks.isCheaper(total)) {
      const all = whole.flatMap(({ first, last, change }) =>
        Array.from({ length: Number(last - first) + 1 }, (_, i) => ({ prefix: first + BigInt(i), change })),
      )
      return all.filter(({ prefix }) => this.#blocks.get(tag, prefix) !== undefined)
    }
    const bounds = whole.map(({ first, last }) => ({ first: halvesOf(first), last: halvesOf(last) }))
    return this.#blocks
      .select(tag, (high, low) => indexAt(bounds, [high, low]) >= 0)
      .map((prefix) => ({ prefix, change: (whole[indexAt(bounds, halvesOf(prefix))] as Piece).change }))
  }

  editRoot(whole: readonly Piece[]): void {
    for (const { first, last, change } of whole) this.#root.transform(Number(first), Number(last), change)
  }

  /** Removes prefixes with the class of the shorter prefixes below them, the shortest first. */
  tidy(): void {
    for (let level = LEVELS.length - 1; level >= 0; level--) {
      const { tag, node } = LEVELS[level] as Level
      for (const prefix of this.#touched[level] ?? []) {
        const { values } = this.#trees.read(this.#blocks.get(tag, prefix) as number, node)
        if (values.length === 1 && values[0] === this.#below(level, prefix)) this.#blocks.delete(tag, prefix)
      }
    }
  }

  /** undefined: most lines of the trees are free, so the table should be compiled. */
  finish(): Tables6 | undefined {
    if (this.#trees.isSparse()) return undefined
    const blocks = this.#blocks.finish()
    const lengths = blocks.buckets === 0 ? 0 : this.#lengths
    return { blocks, lengths, root: this.#root.finish(), trees: this.#trees.words }
  }
}

type Halves = readonly [high: number, low: number]
const halvesOf = (prefix: bigint): Halves => [Number(prefix >> 32n), Number(prefix & 0xffffffffn)]
const isBefore = ([high, low]: Halves, [otherHigh, otherLow]: Halves): boolean =>
  high < otherHigh || (high === otherHigh && low < otherLow)

/** Index of the stretch, of ascending ones, that contains a prefix; -1 = none. */
function indexAt(bounds: readonly { readonly first: Halves; readonly last: Halves }[], prefix: Halves): number {
  let low = 0
  let high = bounds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore((bounds[middle] as (typeof bounds)[number]).last, prefix)) low = middle + 1
    else high = middle
  }
  const found = bounds[low]
  return found && !isBefore(prefix, found.first) ? low : -1
}

/**
 * Applies changes, ascending and disjoint, to the tables. Unchanged sections stay the same arrays. undefined: compiling
 * gives a better table.
 */
export function editTable6(before: Tables6, changes: readonly Change6[]): Tables6 | undefined {
  if (changes.length === 0) return before
  const editor = new Editor(before)
  let rest = changes
  // From the longest length to the shortest: the content of a prefix starts from what is below it, before that changes.
  for (const [level, { step }] of LEVELS.entries()) {
    const made = cut(rest, step)
    editor.editEach(level, made.whole)
    editor.editInside(level, made.inside)
    rest = made.whole
  }
  editor.editRoot(rest)
  editor.tidy()
  return editor.finish()
}
