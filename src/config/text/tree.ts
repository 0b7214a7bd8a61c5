// YAML nodes → plain values, each with its place. This file walks the nodes instead of the library, because every value
// needs a position, aliases must not multiply, and a key other than plain text must be an error.

import { type Document, isAlias, isMap, isScalar, isSeq, type Node, type Scalar, type YAMLMap } from 'yaml'
import type { Report } from './report.ts'
import type { Source } from './source.ts'

/** A value and its place: offsets into the text. */
export interface Placed {
  readonly value: unknown
  readonly from: number
  readonly to: number
  /** Place of its key, for a value of a mapping. */
  readonly key?: { readonly from: number; readonly to: number }
  /** Elements of a list. */
  readonly items?: readonly Placed[]
  /** Values of a mapping. */
  readonly fields?: ReadonlyMap<string, Placed>
  /** Number of values in it, including itself. */
  readonly size: number
}

/** Deeper than any config needs; deeper files are attempts to overflow the stack. */
export const MAX_DEPTH = 32

export const TOO_DEEP = `values nest deeper than ${MAX_DEPTH} levels`

/** Values that aliases may add to a file: more than any config needs, too few to exhaust memory. */
const MAX_ALIASED = 10_000

/** Tags that do not change the value they mark. */
const PLAIN_TAGS = new Set(
  ['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((tag) => `tag:yaml.org,2002:${tag}`),
)

interface Walk {
  readonly source: Source
  readonly report: Report
  readonly anchors: Map<string, Placed>
  aliased: number
}

const EMPTY = { value: null, size: 1 } as const

const rangeOf = (node: Node): { from: number; to: number } => ({ from: node.range?.[0] ?? 0, to: node.range?.[1] ?? 0 })

function placeAlias(node: Node & { readonly source: string }, walk: Walk): Placed {
  const { from, to } = rangeOf(node)
  const at = walk.source.locate(from, to)
  const target = walk.anchors.get(node.source)
  if (target === undefined) {
    const hint = `mark the value that it repeats with &${node.source}, or quote the text if it is not an alias`
    walk.report.error('E009', at, `the alias *${node.source} has no anchor &${node.source} before it`, hint)
    return { ...EMPTY, from, to }
  }
  const before = walk.aliased
  walk.aliased += target.size
  if (before <= MAX_ALIASED && walk.aliased > MAX_ALIASED) {
    const hint = 'move long lists into a list file, and name the file in each place'
    walk.report.error('E009', at, 'aliases repeat more than 10,000 values', hint)
  }
  return { ...target, from, to }
}

/** The text of a key; undefined after an error. */
function readKey(key: unknown, fallback: Node, walk: Walk): string | undefined {
  if (isScalar(key) && typeof key.value === 'string') return key.value
  const { from, to } = rangeOf((key as Node | null) ?? fallback)
  const at = walk.source.locate(from, to)
  const text = walk.source.text.slice(from, to)
  const hint = isScalar(key) && text !== '' ? `quote it: "${text}"` : 'write a text as the key'
  walk.report.error('E015', at, `a key must be text, not ${text === '' ? 'empty' : text}`, hint)
  return undefined
}

function placeMap(node: YAMLMap, depth: number, walk: Walk): Placed {
  const { from, to } = rangeOf(node)
  const fields = new Map<string, Placed>()
  let size = 1
  for (const pair of node.items) {
    const text = readKey(pair.key, node, walk)
    const placed = place(pair.value as Node | null, depth + 1, walk)
    if (text === undefined) continue
    const key = rangeOf(pair.key as Scalar)
    const first = fields.get(text)?.key
    if (first !== undefined) {
      const hint = 'remove one of them'
      const message = `${JSON.stringify(text)} appears twice in this mapping; the first is on line ${walk.source.lineOf(first.from)}`
      walk.report.error('E008', walk.source.locate(key.from, key.to), message, hint)
      continue
    }
    size += placed.size
    fields.set(text, { ...placed, key, ...(pair.value === null && key) })
  }
  return { value: Object.fromEntries([...fields].map(([name, { value }]) => [name, value])), from, to, fields, size }
}

function place(node: Node | null, depth: number, walk: Walk): Placed {
  if (node === null) return { ...EMPTY, from: 0, to: 0 }
  const { from, to } = rangeOf(node)
  if (depth > MAX_DEPTH) {
    if (depth === MAX_DEPTH + 1) {
      walk.report.error('E005', walk.source.locate(from, to), TOO_DEEP)
    }
    return { ...EMPTY, from, to }
  }
  if (isAlias(node)) return placeAlias(node, walk)
  if (node.tag !== undefined && !PLAIN_TAGS.has(node.tag)) {
    walk.report.error(
      'E005',
      walk.source.locate(from, to),
      `the tag ${node.tag.replace(/^tag:yaml\.org,2002:/, '!!')} has no meaning here`,
      'remove it',
    )
  }
  const placed = placeContent(node, depth, walk)
  const anchor = (node as Scalar).anchor
  if (anchor !== undefined) walk.anchors.set(anchor, placed)
  return placed
}

function placeContent(node: Node, depth: number, walk: Walk): Placed {
  if (isMap(node)) return placeMap(node, depth, walk)
  const { from, to } = rangeOf(node)
  if (!isSeq(node)) return { value: isScalar(node) ? node.value : undefined, from, to, size: 1 }
  const items = node.items.map((item) => place(item as Node | null, depth + 1, walk))
  const size = items.reduce((sum, item) => sum + item.size, 1)
  return { value: items.map(({ value }) => value), from, to, items, size }
}

/** The content of the document with places. Reports duplicate or non-text keys, bad aliases, tags, and deep nesting. */
export function placeDocument(document: Document, source: Source, report: Report): Placed {
  return place(document.contents as Node | null, 0, { source, report, anchors: new Map(), aliased: 0 })
}

/** The value at `path`, or its nearest existing ancestor. */
export function at(root: Placed, path: readonly string[]): Placed {
  let found = root
  for (const step of path) {
    const next = found.items?.[Number(step)] ?? found.fields?.get(step)
    if (next === undefined) return found
    found = next
  }
  return found
}
