// The entries of both lists → named lists, with the file and line of every address.

import type { Ranges } from '../../model/address.ts'
import type { Entries, Feed, ListSource, Provenance } from '../../model/desired.ts'
import { EMPTY4, EMPTY6, union } from '../../model/ranges.ts'
import { sourcesList } from '../../model/rate-limit.ts'
import { ANY } from '../../model/scope.ts'
import { type List, type ListKind, type Scope, type ScopedSet, scopeKey } from '../../model/state.ts'
import { EntryCollector } from '../entries/entries.ts'
import { explainRange, rangeBuffer, readRangeText } from '../entries/range.ts'
import { type KnownInterfaces, readScope } from '../entries/scope.ts'
import { fileNumber } from '../text/file-number.ts'
import type { Part } from '../text/part.ts'
import type { Report } from '../text/report.ts'
import { quote } from '../text/show.ts'
import type { Reads, Source } from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenEntry } from '../text/written.ts'
import { addFeed, type Library } from './feeds.ts'
import { addGeo, GEO_KINDS, type Geo, readGeoNames } from './geo.ts'
import type { Shelf } from './shelf.ts'

/** Rules refer to sets by 16-bit numbers. */
const MAX_INDEX = 65_536

/** The addresses that one file adds to one set of a list. */
interface DraftSource {
  readonly file: number
  /** Index of the set, in order of appearance. */
  readonly set: number
  /** The origin of the file in words. */
  readonly about?: string | undefined
  /** Called after all of the config is read. */
  readonly ranges: () => { readonly v4: Ranges; readonly v6: Ranges }
  readonly entries: () => { readonly v4: Entries; readonly v6: Entries }
}

interface Draft {
  readonly kind: ListKind
  readonly name: string
  readonly sources: DraftSource[]
  /** Addresses written in configs, by file and set. */
  readonly written: Map<string, { readonly v4: EntryCollector; readonly v6: EntryCollector }>
  /** By scope key, with the index in order of appearance. */
  readonly scopes: Map<string, { readonly scope: Scope; readonly index: number }>
  /** Place of the name. */
  readonly at: Placed
  readonly source: Source
  readonly feeds: Omit<Feed, 'inline'>[]
}

interface Reading {
  /** The file that contains the entry. */
  readonly source: Source
  readonly report: Report
  readonly drafts: Map<string, Draft>
  readonly library: Library
  readonly interfaces: KnownInterfaces
  readonly geo: Geo
}

const isReserved = (name: string): boolean => name === 'allowlist' || name === 'blocklist'

/** The list of an entry; undefined after reporting an invalid name. */
function draftOf(kind: ListKind, name: string | undefined, placed: Placed, reading: Reading): Draft | undefined {
  const { drafts, source, report } = reading
  const known = drafts.get(name ?? kind)
  if (name !== undefined) {
    const at = placed.fields?.get('name') ?? placed
    if (isReserved(name)) {
      const hint = `remove \`name\`: entries of ${kind} without a name belong to the list ${quote(kind)}`
      report.error('E032', source.locate(at.from, at.to), `the name ${quote(name)} is reserved`, hint)
      return undefined
    }
    if (known !== undefined) {
      const line = known.source.lineOf(known.at.from)
      const first = known.source === source ? `on line ${line}` : `${known.source.path}:${line}`
      const message = `the name ${quote(name)} is used twice; the first is ${first}`
      const hint = 'give each entry its own name; several addresses of one entry go into `cidrs`'
      report.error('E031', source.locate(at.from, at.to), message, hint)
      return undefined
    }
    return addDraft({ kind, name, at }, reading)
  }
  return known ?? addDraft({ kind, name: kind, at: placed }, reading)
}

/** The list of a limit's sources. A limit with the name of another one is reported with the limits. */
const sourcesDraft = (limit: string, placed: Placed, reading: Reading): Draft =>
  addDraft({ kind: 'sources', name: sourcesList(limit), at: placed.fields?.get('name') ?? placed }, reading)

function addDraft(base: Pick<Draft, 'kind' | 'name' | 'at'>, { drafts, source }: Reading): Draft {
  const draft: Draft = { ...base, sources: [], written: new Map(), source, scopes: new Map(), feeds: [] }
  drafts.set(base.name, draft)
  return draft
}

/** Index of a scope within a list, in order of appearance. */
function setOf(draft: Draft, scope: Scope, placed: Placed, { source, report }: Reading): number {
  const key = scopeKey(scope)
  const known = draft.scopes.get(key)
  if (known !== undefined) return known.index
  const index = draft.scopes.size
  if (index === MAX_INDEX) {
    const message = `more than ${MAX_INDEX} combinations of protocol, ports and interfaces in one list`
    report.error('E204', source.locate(placed.from, placed.to), message)
  }
  draft.scopes.set(key, { scope, index })
  return index
}

const range = rangeBuffer()

/** Collectors of the addresses written in a config. */
function collectorsOf(draft: Draft, file: number, set: number): { v4: EntryCollector; v6: EntryCollector } {
  const key = `${file} ${set}`
  const known = draft.written.get(key)
  if (known) return known
  const [v4, v6] = [new EntryCollector(4), new EntryCollector(6)]
  draft.written.set(key, { v4, v6 })
  draft.sources.push({
    file,
    set,
    ranges: () => ({ v4: v4.ranges, v6: v6.ranges }),
    entries: () => ({ v4: v4.entries, v6: v6.entries }),
  })
  return { v4, v6 }
}

/** A word for every source, in place of a range, and its prefixes. */
const EVERY = 'any'
const EVERYTHING = ['0.0.0.0/0', '::/0']
const LIKE_EVERY = /^(?:all|every|world|\*|0\/0)$/i

function addText(text: string, placed: Placed, draft: Draft, set: number, reading: Reading): void {
  const { source, report, library } = reading
  if (text === EVERY) {
    for (const prefix of EVERYTHING) addText(prefix, placed, draft, set, reading)
    return
  }
  if (readRangeText(text, range)) {
    const { v4, v6 } = collectorsOf(draft, fileNumber(library.files, source.path), set)
    const collector = range.family === 4 ? v4 : v6
    collector.add(range.start, range.end, source.lineOf(placed.from))
    return
  }
  const { code, message, hint } = explainRange(text)
  // YAML joins the lines of a plain text, most often because the dash of the next entry is indented differently.
  const isJoined = !text.includes('\n') && source.text.slice(placed.from, placed.to).includes('\n')
  const own = isJoined
    ? 'the text goes on in the next line: indent all entries of the list alike'
    : LIKE_EVERY.test(text) && 'for every source write any'
  report.error(code, source.locate(placed.from, placed.to), message, own || hint)
}

/** Keys of an entry that name a source outside of the config. */
const SOURCE_KEYS = ['file', 'url', 'host'] as const

function addEntry(kind: ListKind, placed: Placed, reading: Reading): void {
  const { library } = reading
  const { value } = placed
  const entry: WrittenEntry = typeof value === 'string' ? { cidr: value } : (value as WrittenEntry)
  // The limit reads the scope of its packets itself.
  const scope = kind === 'sources' ? ANY : readScope(kind, entry, placed, reading)
  const draft =
    kind === 'sources' ? sourcesDraft(entry.name ?? '', placed, reading) : draftOf(kind, entry.name, placed, reading)
  // A list with an invalid name is still read, to report the errors in it.
  const into = draft ?? addDraft({ kind, name: '', at: placed }, { ...reading, drafts: new Map() })
  const set = setOf(into, scope, placed, reading)
  const field = (key: string): Placed => placed.fields?.get(key) ?? placed
  if (entry.cidr !== undefined) addText(entry.cidr, field('cidr'), into, set, reading)
  entry.cidrs?.forEach((text, index) => {
    addText(text, field('cidrs').items?.[index] ?? field('cidrs'), into, set, reading)
  })
  const geoKind = GEO_KINDS.find((name) => entry[name] !== undefined)
  if (geoKind !== undefined) {
    if (library.copies.missing === 'none') return
    const networks = addGeo(geoKind, { ...reading, list: into.name, entry, placed }, (part) => {
      const { v4, v6, entries } = part.networks
      into.sources.push({ file: part.file, set, about: part.about, ranges: () => ({ v4, v6 }), entries: () => entries })
    })
    if (networks !== undefined) into.feeds.push(networks)
    return
  }
  const key = SOURCE_KEYS.find((name) => entry[name] !== undefined)
  if (key === undefined) return
  const mention = { ...reading, kind, list: into.name, entry, placed, file: field(key) }
  const feed = addFeed(mention, ({ file, parsed, about }) => {
    into.sources.push({ file, set, about, ranges: () => parsed, entries: () => parsed.entries })
  })
  if (feed !== undefined) into.feeds.push(feed)
}

/** The union of many address sets. Merges halves recursively, so that each address is compared log2(n) times. */
function unionOf(all: readonly Ranges[], empty: Ranges): Ranges {
  if (all.length <= 1) return all[0] ?? empty
  const middle = all.length >>> 1
  return union(unionOf(all.slice(0, middle), empty), unionOf(all.slice(middle), empty))
}

interface ScopeDraft {
  readonly scope: Scope
  readonly index: number
}

/** The sets of a list, one per scope. */
function setsOf(sources: readonly DraftSource[], scopes: readonly ScopeDraft[]): ScopedSet[] {
  const ranges = sources.map(({ set, ranges: of }) => ({ set, ...of() }))
  return scopes.map(({ scope, index }) => {
    const own = ranges.filter(({ set }) => set === index)
    const v4 = own.map((source) => source.v4).filter(({ length }) => length > 0)
    const v6 = own.map((source) => source.v6).filter(({ length }) => length > 0)
    return { scope, addresses: { v4: unionOf(v4, EMPTY4), v6: unionOf(v6, EMPTY6) } }
  })
}

interface Finished {
  readonly list: List
  readonly sources: readonly ListSource[]
  readonly feeds: readonly Feed[]
}

/** @param configs how many of the files are configs */
function finish({ kind, name, feeds, sources, ...draft }: Draft, configs: number): Finished {
  const scopes = [...draft.scopes].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, scope]) => scope)
  const final = new Map(scopes.map(({ index }, position) => [index, position]))
  // A named entry has either files or inline addresses; only the unnamed lists can have both.
  const mixed = feeds.length > 0 && isReserved(name)
  const written = mixed ? sources.filter(({ file }) => file < configs) : []
  const own = setsOf(written, scopes).filter(({ addresses: { v4, v6 } }) => v4.length + v6.length > 0)
  return {
    list: { kind, name, sets: setsOf(sources, scopes) },
    sources: sources.map(({ file, set, about, entries }) => ({
      file,
      set: final.get(set) as number,
      ...(about === undefined ? {} : { about }),
      ...entries(),
    })),
    feeds: feeds.map((feed) => ({ ...feed, inline: own })),
  }
}

export interface Lists {
  readonly lists: ReadonlyMap<string, List>
  readonly provenance: Pick<Provenance, 'files' | 'lists'>
  readonly feeds: readonly Feed[]
}

/** An entry of the config and the file that contains it. */
export interface PlacedEntry {
  readonly kind: ListKind
  readonly placed: Placed
  readonly source: Source
}

/**
 * Reads both lists with their files. Ignore the result if `report.failed`.
 *
 * @param reads has the paths of the config; gets those of list files
 * @param interfaces gets the sets of interfaces that entries name
 * @param top names databases of networks
 */
export function readLists(
  entries: readonly PlacedEntry[],
  reads: Reads,
  report: Report,
  shelf: Shelf,
  interfaces: KnownInterfaces,
  top: Part,
): Lists {
  const { files } = reads
  const configs = files.length
  const library: Library = { ...reads, contents: new Map(), shelf }
  const drafts = new Map<string, Draft>()
  const geo = readGeoNames(top, entries)
  for (const { kind, placed, source } of entries)
    addEntry(kind, placed, { source, report, drafts, library, interfaces, geo })
  const sound = report.failed ? [] : [...drafts.values()]
  const finished = sound.sort((left, right) => (left.name < right.name ? -1 : 1)).map((draft) => finish(draft, configs))
  return {
    lists: new Map(finished.map(({ list }) => [list.name, list])),
    provenance: { files, lists: new Map(finished.map(({ list, sources }) => [list.name, sources])) },
    feeds: finished.flatMap(({ feeds }) => feeds),
  }
}
