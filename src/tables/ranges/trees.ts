// Trees of sorted lines inside an IPv6 prefix (struct run_line, struct deep_line): built bottom up, full lines first.

import { deepLineCodec, runLineCodec, TREE_DEPTH, VALUE_MASK, VALUE_TREE } from '../../abi/generated.ts'
import { compareBounds } from '../../model/ranges.ts'
import { corrupt, HIGH, LINE_WORDS, type LineWriter, LOW } from '../lines/lines.ts'
import type { ReadTree, Visit, WriteTree } from './cells.ts'

/** Layout of the entries in one kind of node. */
export interface Node {
  /** Number of entries per line. */
  readonly slots: number
  /** Number of words of a start. */
  readonly width: 1 | 2
  put(words: Uint32Array, line: number, slot: number, starts: Uint32Array, i: number, value: number): void
  /** Writes the start of a slot to the first words of `start`; returns its value. */
  get(words: Uint32Array, line: number, slot: number, start: Uint32Array): number
}

const RUN_ENTRY = runLineCodec.offsets.entry / 4

export const RUN_NODE: Node = {
  slots: (runLineCodec.size - runLineCodec.offsets.entry) / 8,
  width: 1,
  put(words, line, slot, starts, i, value) {
    words[line + RUN_ENTRY + slot * 2 + HIGH] = starts[i] as number
    words[line + RUN_ENTRY + slot * 2 + LOW] = value
  },
  get(words, line, slot, start) {
    start[0] = words[line + RUN_ENTRY + slot * 2 + HIGH] as number
    return words[line + RUN_ENTRY + slot * 2 + LOW] as number
  },
}

const DEEP_START = deepLineCodec.offsets.start / 4
const DEEP_VALUE = deepLineCodec.offsets.value / 4

export const DEEP_NODE: Node = {
  slots: (DEEP_VALUE - DEEP_START) / 2,
  width: 2,
  put(words, line, slot, starts, i, value) {
    words[line + DEEP_START + slot * 2 + HIGH] = starts[i] as number
    words[line + DEEP_START + slot * 2 + LOW] = starts[i + 1] as number
    words[line + DEEP_VALUE + slot] = value
  },
  get(words, line, slot, start) {
    start[0] = words[line + DEEP_START + slot * 2 + HIGH] as number
    start[1] = words[line + DEEP_START + slot * 2 + LOW] as number
    return words[line + DEEP_VALUE + slot] as number
  },
}

/** A writer of trees of one kind into `lines`. */
export function treeWriter(node: Node, lines: Pick<LineWriter, 'add' | 'words'>): WriteTree {
  const { slots, width } = node
  return (leafStarts, leafValues, leafCount) => {
    let starts = leafStarts
    let values = leafValues
    let count = leafCount
    while (true) {
      const nodes = Math.ceil(count / slots)
      const upperStarts = new Uint32Array(nodes * width)
      const upperValues = new Uint32Array(nodes)
      for (let upper = 0; upper < nodes; upper++) {
        const line = lines.add()
        for (let slot = 0; slot < slots; slot++) {
          const i = Math.min(upper * slots + slot, count - 1)
          node.put(lines.words, line, slot, starts, i * width, values[i] as number)
        }
        for (let word = 0; word < width; word++)
          upperStarts[upper * width + word] = starts[upper * slots * width + word] as number
        upperValues[upper] = VALUE_TREE + line / LINE_WORDS
      }
      if (nodes === 1) return upperValues[0] as number
      starts = upperStarts
      values = upperValues
      count = nodes
    }
  }
}

/** Sign of bound a minus bound b, both of two words. */
const order = (a: Uint32Array, b: Uint32Array): number => compareBounds(a, 0, b, 0, 2)

/**
 * A reader of trees of one kind in `lines`.
 *
 * @param visited one element per line, shared by all readers of a section: each line belongs to one tree. Without this,
 *  decoding a damaged section could take forever
 * @throws XdpError E113 if the lines are not a valid tree
 */
export function treeReader(node: Node, lines: Uint32Array, visited: Uint8Array): ReadTree {
  const start = new Uint32Array(2)
  const previous = new Uint32Array(2)
  const last = new Uint32Array(2)
  /** Reads a slot's start into `start`; returns whether it only repeats the previous slot. */
  const isRepeated = (index: number, slot: number): boolean => {
    if (slot > 0) {
      node.get(lines, index * LINE_WORDS, slot - 1, previous)
      node.get(lines, index * LINE_WORDS, slot, start)
      if (order(start, previous) === 0) return true
    }
    // A node begins at the start of the entry that leads to it; the root at 0.
    const isSorted = slot === 0 ? order(start, last) === 0 : order(start, last) > 0
    if (!isSorted) throw corrupt(`tree line ${index} is not sorted`)
    last.set(start)
    return false
  }
  const walk = (value: number, depth: number, visit: Visit): void => {
    const index = (value & VALUE_MASK) >>> 0
    if (index >= visited.length || visited[index] !== 0 || depth > TREE_DEPTH) throw corrupt(`tree line ${index}`)
    visited[index] = 1
    for (let slot = 0; slot < node.slots; slot++) {
      const child = node.get(lines, index * LINE_WORDS, slot, start)
      if (isRepeated(index, slot)) return
      if ((child & VALUE_TREE) === 0) visit(start, 0, child)
      else walk(child, depth + 1, visit)
    }
  }
  return (tree, visit) => {
    last.fill(0)
    walk(tree, 1, visit)
  }
}
