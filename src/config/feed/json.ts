// JSON documents, as cloud providers, crawlers and others publish their addresses: mappings with the entry in a field
// (`{"prefixes":[{"ip_prefix":"192.0.2.0/24","service":"EC2"}]}`), and lists of entries (`{"hooks":["192.0.2.0/24"]}`),
// at any depth. `where` compares a field of the mapping, or of one around it.

import { type Explanation, explainRange, rangeBuffer, readRangeText } from '../entries/range.ts'
import { listed, quote } from '../text/show.ts'
import { type Node, NotJson, parseJson } from './json-tree.ts'
import { equals, FIELDS, type Metadata } from './jsonl.ts'
import type { Choice, Sink, Text } from './sink.ts'

/** Fields of which a mapping may have several: those of AWS, Google, Microsoft, OpenAI and others. */
const CLOUD_FIELDS = ['ip_prefix', 'ipv6_prefix', 'ipv4Prefix', 'ipv6Prefix', 'ipPrefix'] as const

/** Larger documents are refused: the text is held in memory several times. */
const MOST_BYTES = 64 * 1024 * 1024

const range = rangeBuffer()
const isEntry = ({ scalar }: Node): boolean => typeof scalar === 'string' && readRangeText(scalar, range)

type Fields = NonNullable<Node['fields']>

/** Keys of a mapping whose values are entries. */
function entryKeys(fields: Fields, column: string | undefined): readonly string[] {
  const has = (name: string): boolean => fields.some(([key, { scalar }]) => key === name && typeof scalar === 'string')
  if (column !== undefined) return [column]
  const cloud = CLOUD_FIELDS.filter(has)
  if (cloud.length > 0) return cloud
  const first = FIELDS.find(has)
  return first === undefined ? [] : [first]
}

/** Offsets of a text as line, and as bounds in its bytes. */
class Places {
  readonly #text: string
  readonly #from: number
  #line = 1
  #at = 0
  #bytes: number
  #lineFrom: number

  constructor(text: string, from: number) {
    this.#text = text
    this.#from = from
    this.#bytes = from
    this.#lineFrom = from
  }

  /** Line number, start of the line and of the value, both in bytes. Offsets must ascend. */
  of(at: number): readonly [line: number, lineFrom: number, from: number] {
    if (at < this.#at) [this.#line, this.#at, this.#bytes, this.#lineFrom] = [1, 0, this.#from, this.#from]
    for (let end = this.#text.indexOf('\n', this.#at); end >= 0 && end < at; end = this.#text.indexOf('\n', this.#at)) {
      this.#bytes += Buffer.byteLength(this.#text.slice(this.#at, end + 1))
      this.#at = end + 1
      this.#lineFrom = this.#bytes
      this.#line++
    }
    return [this.#line, this.#lineFrom, this.#bytes + Buffer.byteLength(this.#text.slice(this.#at, at))]
  }
}

/** The names of keys in a document, up to twelve. */
function keysOf(node: Node, into = new Set<string>()): ReadonlySet<string> {
  for (const one of node.items ?? []) if (into.size < 12) keysOf(one, into)
  for (const [key, one] of node.fields ?? []) {
    if (into.size < 12) into.add(key)
    keysOf(one, into)
  }
  return into
}

/** Time of the document by its own field (AWS, Google, OpenAI); Unix time in seconds. */
function stampOf({ fields = [] }: Node): number | undefined {
  const text = (name: string): string => String(fields.find(([key]) => key === name)?.[1].scalar ?? '')
  const [, day, hour, minute, second] = /^(\d{4}-\d\d-\d\d)-(\d\d)-(\d\d)-(\d\d)$/.exec(text('createDate')) ?? []
  const created = day === undefined ? text('creationTime') : `${day}T${hour}:${minute}:${second}`
  const time = Date.parse(/[zZ]$|[+-]\d\d:\d\d$/.test(created) ? created : `${created}Z`)
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000)
}

/** Adds the entries of a document to `sink`. */
class Reader {
  /** Whether any mapping with an entry has the field of `where`. */
  sawWhere = false
  foundAny = false
  readonly #sink: Sink
  readonly #places: Places
  readonly #column: string | undefined
  readonly #where: Choice['where']

  constructor(sink: Sink, places: Places, { column, where }: Choice) {
    this.#sink = sink
    this.#places = places
    this.#column = column === undefined ? undefined : String(column)
    this.#where = where
  }

  #add({ at, scalar }: Node, around: readonly Fields[]): void {
    this.foundAny = true
    if (!this.#isChosen(around)) return
    const [line, lineFrom, from] = this.#places.of(at)
    const text = String(scalar)
    if (typeof scalar === 'string' && readRangeText(text, range)) this.#sink.add(range, line)
    else {
      const to = from + Buffer.byteLength(text) + (typeof scalar === 'string' ? 2 : 0)
      this.#sink.bad(line, lineFrom, from, to, () => explainRange(text))
    }
  }

  #isChosen(around: readonly Fields[]): boolean {
    const where = this.#where
    if (where === undefined) return true
    for (const fields of around.toReversed()) {
      const found = fields.find(([key, { scalar }]) => key === where.column && scalar !== undefined)
      if (found === undefined) continue
      this.sawWhere = true
      return equals(found[1].scalar, where.equals)
    }
    return false
  }

  /** Whether the items of a list are entries: the config names its key, or its first item is one. */
  #isList({ items = [] }: Node, key: string | undefined): boolean {
    const [first] = items
    if (first?.scalar === undefined) return false
    return this.#column === undefined ? isEntry(first) : key === this.#column
  }

  read(node: Node, around: readonly Fields[] = [], key?: string): void {
    if (node.items !== undefined) {
      const isList = this.#isList(node, key)
      for (const item of node.items) {
        if (isList) this.#add(item, around)
        else this.read(item, around, key)
      }
    }
    if (node.fields === undefined) return
    const own = [...around, node.fields]
    const keys = entryKeys(node.fields, this.#column)
    for (const [name, value] of node.fields) {
      if (keys.includes(name) && value.scalar !== undefined && value.scalar !== null) this.#add(value, own)
      else this.read(value, own, name)
    }
  }
}

/** Why a document has no entries. */
function objection(root: Node, { foundAny, sawWhere }: Reader, { column, where }: Choice): Explanation | undefined {
  const keys = [...keysOf(root)].map(quote)
  const named = keys.length === 0 ? 'it has no keys' : `its keys are ${keys.join(', ')}`
  if (!foundAny) {
    const fields = listed([...CLOUD_FIELDS, ...FIELDS], 'or')
    const message =
      column === undefined
        ? `the document has no list of addresses, and no field ${fields}`
        : `the document has no addresses under the key ${quote(String(column))}`
    return { code: 'E036', message, hint: `name the key that holds the addresses: \`column: NAME\`; ${named}` }
  }
  if (where === undefined || sawWhere) return undefined
  const message = `nothing with an address has the field ${quote(String(where.column))}`
  return {
    code: 'E036',
    message,
    hint: `name the field to compare: \`where: { column: NAME, equals: VALUE }\`; ${named}`,
  }
}

/** Adds every entry of a document to `sink`. */
export function readJson({ bytes, from }: Text, sink: Sink, choice: Choice): Metadata {
  const refuse = (explanation: Explanation, at = 0, text = ''): void => {
    const [line, lineFrom, start] = new Places(text, from).of(at)
    sink.refuse(line, lineFrom, start, start + 1, explanation)
  }
  if (bytes.length > MOST_BYTES) {
    const hint = 'write one object per line: jq -c ".[]" FILE'
    refuse({ code: 'E003', message: `a JSON document may have at most ${MOST_BYTES / 1024 / 1024} MiB`, hint })
    return { updatedAt: undefined, notes: [] }
  }
  const text = bytes.toString('utf8', from)
  let root: Node
  try {
    root = parseJson(text)
  } catch (error) {
    if (!(error instanceof NotJson)) throw error
    refuse({ code: 'E020', message: `the file ${error.message}`, hint: 'check it: jq . FILE' }, error.at, text)
    return { updatedAt: undefined, notes: [] }
  }
  const reader = new Reader(sink, new Places(text, from), choice)
  reader.read(root)
  const why = objection(root, reader, choice)
  if (why !== undefined) refuse(why, root.at, text)
  return { updatedAt: stampOf(root), notes: [] }
}
