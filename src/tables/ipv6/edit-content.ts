// The content of a prefix in the IPv6 hash: one value, or several in a tree. In bigints, because an edit reads few.

import { VALUE_MASK, VALUE_TREE } from '../../abi/generated.ts'
import { LineDraft } from '../lines/line-draft.ts'
import { LINE_WORDS } from '../lines/lines.ts'
import { type Node, treeWriter } from '../ranges/trees.ts'

/** Values by their starts, ascending from 0; neighbours differ. */
export interface Content {
  readonly starts: readonly bigint[]
  readonly values: readonly number[]
}

/** Changes each value from `first` to `last` to the result of `change`. */
export interface Piece {
  readonly first: bigint
  readonly last: bigint
  readonly change: (value: number) => number
}

export const uniform = (value: number): Content => ({ starts: [0n], values: [value] })

/** The content of a prefix of 2^bits addresses after the changes of pieces, which are ascending and disjoint. */
export function overlay({ starts, values }: Content, bits: bigint, pieces: readonly Piece[]): Content {
  const made = { starts: [] as bigint[], values: [] as number[] }
  const push = (start: bigint, value: number): void => {
    if (made.values.at(-1) === value) return
    made.starts.push(start)
    made.values.push(value)
  }
  let next = 0
  for (const [i, start] of starts.entries()) {
    const value = values[i] as number
    const end = (starts[i + 1] ?? 1n << bits) - 1n
    let at = start
    for (; next < pieces.length; next++) {
      const { first, last, change } = pieces[next] as Piece
      if (first > end) break
      if (first > at) {
        push(at, value)
        at = first
      }
      push(at, change(value))
      at = last + 1n
      if (last >= end) {
        // The piece may continue in the next value.
        if (last === end) next++
        break
      }
    }
    if (at <= end) push(at, value)
  }
  return made
}

const WORD = 32n
const LOW_WORD = 0xffffffffn

/** Edits trees: reads and writes each as a whole. */
export class TreeStore {
  readonly #lines: LineDraft

  constructor(trees: Uint32Array) {
    this.#lines = new LineDraft(trees)
  }

  /** The content that a value without its tag stands for. */
  read(value: number, node: Node): Content {
    if ((value & VALUE_TREE) === 0) return uniform(value)
    const starts: bigint[] = []
    const values: number[] = []
    this.#walk(value, node, (start, its) => {
      // Entries are repeated to fill their line.
      if (starts.length > 0 && start === starts.at(-1)) return
      if (its === values.at(-1)) return
      starts.push(start)
      values.push(its)
    })
    return { starts, values }
  }

  #walk(
    value: number,
    node: Node,
    visit: (start: bigint, value: number) => void,
    leave?: (line: number) => void,
  ): void {
    const start = new Uint32Array(2)
    const line = value & VALUE_MASK
    let last = -1n
    for (let slot = 0; slot < node.slots; slot++) {
      const its = node.get(this.#lines.words, line * LINE_WORDS, slot, start)
      const at =
        node.width === 1
          ? BigInt(start[0] as number)
          : (BigInt(start[0] as number) << WORD) | BigInt(start[1] as number)
      if (at === last) break
      last = at
      if ((its & VALUE_TREE) === 0) visit(at, its)
      else this.#walk(its, node, visit, leave)
    }
    leave?.(line)
  }

  /** Frees the lines of a tree; any other value has no lines. */
  free(value: number, node: Node): void {
    if ((value & VALUE_TREE) === 0) return
    const lines: number[] = []
    this.#walk(
      value,
      node,
      () => undefined,
      (line) => lines.push(line),
    )
    for (const line of lines) this.#lines.free(line, 1)
  }

  /** Writes content in place of that of the value `before`, and returns its new value. */
  write(before: number, content: Content, node: Node): number {
    this.free(before, node)
    const { starts, values } = content
    if (starts.length === 1) return values[0] as number
    const words = new Uint32Array(starts.length * node.width)
    for (const [i, start] of starts.entries()) {
      if (node.width === 2) words[i * 2] = Number(start >> WORD)
      words[i * node.width + node.width - 1] = Number(start & LOW_WORD)
    }
    const lines = this.#lines
    const writer = treeWriter(node, {
      add: () => lines.take(1) * LINE_WORDS,
      get words() {
        return lines.edit()
      },
    })
    return writer(words, Uint32Array.from(values), starts.length)
  }

  get words(): Uint32Array {
    return this.#lines.words
  }

  /** Whether most lines are free. */
  isSparse(): boolean {
    return this.#lines.isSparse()
  }
}
