// The entries of both lists → named lists, and which line of which file put every address there.

import type { Ranges } from '../model/address.ts'
import type { Entries, Feed, Provenance } from '../model/desired.ts'
import { normalize } from '../model/ranges.ts'
import { type List, type ListKind, type Scope, type ScopedSet, scopeKey } from '../model/state.ts'
import { wordsOf } from '../model/text.ts'
import { EntryCollector } from './entries.ts'
import { addFeed, type Library } from './feeds.ts'
import { explainRange, rangeBuffer, readRangeText } from './range.ts'
import type { Report } from './report.ts'
import { readScope } from './scope.ts'
import { quote } from './show.ts'
import type { Reads, Source } from './source.ts'
import type { Placed } from './tree.ts'
import type { WrittenEntry } from './written.ts'

/** Entries refer to sets by 16 bits. */
const MAX_INDEX = 65_536

interface Draft {
  readonly kind: ListKind
  readonly name: string
  readonly v4: EntryCollector
  readonly v6: EntryCollector
  /** By scope key: index in order of appearance. */
  readonly scopes: Map<string, { readonly scope: Scope; readonly index: number }>
  /** Where the name is written. */
  readonly at: Placed
  readonly source: Source
  readonly feeds: Omit<Feed, 'inline'>[]
}

interface Reading {
  /** The file that the entry stands in. */
  readonly source: Source
  readonly report: Report
  readonly drafts: Map<string, Draft>
  readonly library: Library
}

const isReserved = (name: string): boolean => name === 'allowlist' || name === 'blocklist'

/** The list an entry belongs to, or undefined if its name cannot be used. */
function draftOf(kind: ListKind, name: string | undefined, placed: Placed, reading: Reading): Draft | undefined {
  const { drafts, source, report } = reading
  const known = drafts.get(name ?? kind)
  if (name !== undefined) {
    const at = placed.fields?.get('name') ?? placed
    if (isReserved(name)) {
      const hint = `leave the name out: entries of ${kind} without one belong to the list ${quote(kind)}`
      report.error('E032', source.locate(at.from, at.to), `the name ${quote(name)} is reserved`, hint)
      return undefined
    }
    if (known !== undefined) {
      const line = known.source.lineOf(known.at.from)
      const first = known.source === source ? `in line ${line}` : `${known.source.path}:${line}`
      const message = `the name ${quote(name)} is used twice; the first is ${first}`
      const hint = 'give each entry its own name; several addresses of one entry go into `cidrs`'
      report.error('E031', source.locate(at.from, at.to), message, hint)
      return undefined
    }
    return addDraft({ kind, name, at }, reading)
  }
  return known ?? addDraft({ kind, name: kind, at: placed }, reading)
}

function addDraft(base: Pick<Draft, 'kind' | 'name' | 'at'>, { drafts, source }: Reading): Draft {
  const columns = { v4: new EntryCollector(4), v6: new EntryCollector(6) }
  const draft: Draft = { ...base, ...columns, source, scopes: new Map(), feeds: [] }
  drafts.set(base.name, draft)
  return draft
}

/** Index of a scope of a list, in order of appearance. */
function setOf(draft: Draft, scope: Scope, placed: Placed, { source, report }: Reading): number {
  const key = scopeKey(scope)
  const known = draft.scopes.get(key)
  if (known !== undefined) return known.index
  const index = draft.scopes.size
  if (index === MAX_INDEX) {
    const message = `more than ${MAX_INDEX} combinations of protocol and ports in one list`
    report.error('E204', source.locate(placed.from, placed.to), message)
  }
  draft.scopes.set(key, { scope, index })
  return index
}

const range = rangeBuffer()

function addText(text: string, placed: Placed, draft: Draft, set: number, reading: Reading): void {
  const { source, report, library } = reading
  if (readRangeText(text, range)) {
    const collector = range.family === 4 ? draft.v4 : draft.v6
    collector.add(range.start, range.end, library.files.indexOf(source.path), source.lineOf(placed.from), set)
    return
  }
  const { code, message, hint } = explainRange(text)
  report.error(code, source.locate(placed.from, placed.to), message, hint)
}

function addEntry(kind: ListKind, placed: Placed, reading: Reading): void {
  const { value } = placed
  const entry: WrittenEntry = typeof value === 'string' ? { cidr: value } : (value as WrittenEntry)
  const scope = readScope(entry, placed, reading)
  const draft = draftOf(kind, entry.name, placed, reading)
  // A list whose name cannot be used is still read for the errors in it.
  const into = draft ?? addDraft({ kind, name: '', at: placed }, { ...reading, drafts: new Map() })
  const set = setOf(into, scope, placed, reading)
  const field = (key: string): Placed => placed.fields?.get(key) ?? placed
  if (entry.cidr !== undefined) addText(entry.cidr, field('cidr'), into, set, reading)
  entry.cidrs?.forEach((text, index) => {
    addText(text, field('cidrs').items?.[index] ?? field('cidrs'), into, set, reading)
  })
  if (entry.file === undefined) return
  const mention = { ...reading, kind, list: into.name, entry, placed, file: field('file') }
  const feed = addFeed(mention, { v4: into.v4, v6: into.v6, set })
  if (feed !== undefined) into.feeds.push(feed)
}

/** The ranges of each set of a list, in canonical form. */
function rangesBySet(entries: Entries, sets: number): Ranges[] {
  const { family, length, start, end, set } = entries
  if (sets === 1) return [normalize(family, start, end)]
  const width = wordsOf(family)
  const sizes = new Uint32Array(sets)
  for (let index = 0; index < length; index++) sizes[set[index] as number] = (sizes[set[index] as number] as number) + 1
  const columns = Array.from(sizes, (size) => [new Uint32Array(size * width), new Uint32Array(size * width)] as const)
  const filled = new Uint32Array(sets)
  for (let index = 0; index < length; index++) {
    const into = set[index] as number
    const [starts, ends] = columns[into] as (typeof columns)[number]
    const to = filled[into] as number
    starts.set(start.subarray(index * width, (index + 1) * width), to)
    ends.set(end.subarray(index * width, (index + 1) * width), to)
    filled[into] = to + width
  }
  return columns.map(([starts, ends]) => normalize(family, starts, ends))
}

interface Finished {
  readonly list: List
  readonly v4: Entries
  readonly v6: Entries
  readonly feeds: readonly Feed[]
}

/** The entries of the first `configs` files, which are those of the config itself. */
function written({ family, length, start, end, file, line, set }: Entries, configs: number): Entries {
  const width = wordsOf(family)
  const kept = Array.from({ length }, (_, index) => index).filter((index) => (file[index] as number) < configs)
  const bounds = (column: Uint32Array): Uint32Array =>
    Uint32Array.from(kept.flatMap((index) => [...column.subarray(index * width, (index + 1) * width)]))
  const pick = <T extends Uint16Array | Uint32Array>(column: T): T =>
    column.filter((_, at) => (file[at] as number) < configs) as T
  return {
    family,
    length: kept.length,
    start: bounds(start),
    end: bounds(end),
    file: pick(file),
    line: pick(line),
    set: pick(set),
  }
}

function setsOf(v4: Entries, v6: Entries, scopes: readonly { readonly scope: Scope }[]): ScopedSet[] {
  const [ranges4, ranges6] = [rangesBySet(v4, scopes.length), rangesBySet(v6, scopes.length)]
  return scopes.map(({ scope }, index) => {
    return { scope, addresses: { v4: ranges4[index] as Ranges, v6: ranges6[index] as Ranges } }
  })
}

/** @param configs how many of the files are configs */
function finish({ kind, name, feeds, ...draft }: Draft, configs: number): Finished {
  const scopes = [...draft.scopes].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, scope]) => scope)
  const final: number[] = []
  scopes.forEach(({ index }, position) => {
    final[index] = position
  })
  const [v4, v6] = [draft.v4.finish(final), draft.v6.finish(final)]
  // A named entry has either files or addresses of its own; only the lists without a name can have both.
  const mixed = feeds.length > 0 && isReserved(name)
  const inline = mixed ? setsOf(written(v4, configs), written(v6, configs), scopes) : []
  const own = inline.filter(({ addresses }) => addresses.v4.length + addresses.v6.length > 0)
  return {
    list: { kind, name, sets: setsOf(v4, v6, scopes) },
    v4,
    v6,
    feeds: feeds.map((feed) => ({ ...feed, inline: own })),
  }
}

export interface Lists {
  readonly lists: ReadonlyMap<string, List>
  readonly provenance: Provenance
  readonly feeds: readonly Feed[]
}

/** An entry of the config and the file that it stands in. */
export interface PlacedEntry {
  readonly kind: ListKind
  readonly placed: Placed
  readonly source: Source
}

/**
 * Reads both lists with their files. The result means nothing once `report.failed`.
 *
 * @param reads the paths of the config; list files are added
 */
export function readLists(entries: readonly PlacedEntry[], reads: Reads, report: Report): Lists {
  const { files } = reads
  const configs = files.length
  const library: Library = { ...reads, contents: new Map() }
  const drafts = new Map<string, Draft>()
  for (const { kind, placed, source } of entries) addEntry(kind, placed, { source, report, drafts, library })
  // The files are not needed any more, and what follows takes as much again.
  library.contents.clear()
  const sound = report.failed ? [] : [...drafts.values()]
  const finished = sound.sort((left, right) => (left.name < right.name ? -1 : 1)).map((draft) => finish(draft, configs))
  return {
    lists: new Map(finished.map(({ list }) => [list.name, list])),
    provenance: { files, lists: new Map(finished.map(({ list, v4, v6 }) => [list.name, { v4, v6 }])) },
    feeds: finished.flatMap(({ feeds }) => feeds),
  }
}
