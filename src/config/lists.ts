// The entries of both lists → named lists, and which line of which file put every address there.

import { createHash } from 'node:crypto'
import { dirname, isAbsolute, join } from 'node:path'
import type { Ranges } from '../model/address.ts'
import type { Entries, Provenance } from '../model/desired.ts'
import { normalize } from '../model/ranges.ts'
import { type List, type ListKind, type Scope, type ScopedSet, scopeKey } from '../model/state.ts'
import { wordsOf } from '../model/text.ts'
import { EntryCollector } from './entries.ts'
import { readList } from './list-file.ts'
import { explainRange, rangeBuffer, readRangeText } from './range.ts'
import type { Report } from './report.ts'
import { readScope } from './scope.ts'
import { quote } from './show.ts'
import { checkText, isUnusable, LIST_LIMIT, readBytes, type Source } from './source.ts'
import type { Placed } from './tree.ts'
import type { WrittenEntry } from './written.ts'

/** Entries refer to files and sets by 16 bits. */
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
}

interface Reading {
  readonly source: Source
  readonly report: Report
  /** Paths as shown; grows. The config is the first. */
  readonly files: string[]
  readonly drafts: Map<string, Draft>
  /** Content of the list files read so far, by path; undefined = cannot be used, and reported. */
  readonly contents: Map<string, Buffer | undefined>
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
      const message = `the name ${quote(name)} is used twice; the first is in line ${source.lineOf(known.at.from)}`
      const hint = 'give each entry its own name; several addresses of one entry go into `cidrs`'
      report.error('E031', source.locate(at.from, at.to), message, hint)
      return undefined
    }
    return addDraft({ kind, name, at }, reading)
  }
  return known ?? addDraft({ kind, name: kind, at: placed }, reading)
}

function addDraft(base: Pick<Draft, 'kind' | 'name' | 'at'>, { drafts }: Reading): Draft {
  const draft: Draft = { ...base, v4: new EntryCollector(4), v6: new EntryCollector(6), scopes: new Map() }
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

function addText(text: string, placed: Placed, draft: Draft, set: number, { source, report }: Reading): void {
  if (readRangeText(text, range)) {
    const collector = range.family === 4 ? draft.v4 : draft.v6
    collector.add(range.start, range.end, 0, source.lineOf(placed.from), set)
    return
  }
  const { code, message, hint } = explainRange(text)
  report.error(code, source.locate(placed.from, placed.to), message, hint)
}

/** The content of a list file, read once however often it is named. */
function contentOf(path: string, placed: Placed, { source, report, files, contents }: Reading): Buffer | undefined {
  if (contents.has(path)) return contents.get(path)
  const at = source.locate(placed.from, placed.to)
  if (files.length === MAX_INDEX) {
    report.error('E204', at, `more than ${MAX_INDEX - 1} list files`)
    return undefined
  }
  files.push(path)
  const bytes = readBytes(path, LIST_LIMIT)
  const problem = isUnusable(bytes) ? bytes : checkText(path, bytes)
  if (problem !== undefined) {
    const relative = problem.code === 'E001' && !isAbsolute(placed.value as string)
    const hint = relative ? 'the path starts at the directory of the config file' : problem.hint
    report.error(problem.code, problem.at ?? at, problem.message, hint)
  }
  const content = problem === undefined && !isUnusable(bytes) ? bytes : undefined
  contents.set(path, content)
  return content
}

function addFile(written: string, placed: Placed, draft: Draft, set: number, reading: Reading): void {
  const path = isAbsolute(written) ? written : join(dirname(reading.source.path), written)
  const bytes = contentOf(path, placed, reading)
  if (bytes === undefined) return
  const target = { v4: draft.v4, v6: draft.v6, file: reading.files.indexOf(path), set }
  if (readList(path, bytes, target, reading.report) > 0) return
  const at = reading.source.locate(placed.from, placed.to)
  reading.report.error('E006', at, `${path} holds no address`, 'remove the entry if the list is meant to be empty')
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
  if (entry.file !== undefined) addFile(entry.file, field('file'), into, set, reading)
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
}

function finish(draft: Draft): Finished {
  const scopes = [...draft.scopes].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, scope]) => scope)
  const final: number[] = []
  scopes.forEach(({ index }, position) => {
    final[index] = position
  })
  const [v4, v6] = [draft.v4.finish(final), draft.v6.finish(final)]
  const [ranges4, ranges6] = [rangesBySet(v4, scopes.length), rangesBySet(v6, scopes.length)]
  const sets = scopes.map(({ scope }, index): ScopedSet => {
    return { scope, addresses: { v4: ranges4[index] as Ranges, v6: ranges6[index] as Ranges } }
  })
  return { list: { kind: draft.kind, name: draft.name, sets }, v4, v6 }
}

export interface Lists {
  readonly lists: ReadonlyMap<string, List>
  readonly provenance: Provenance
  /** SHA-256 of each list file, in order of first mention. */
  readonly digests: readonly Buffer[]
}

/**
 * Reads both lists with their files. The result means nothing once `report.failed`.
 *
 * @param files the path of the config; list files are added to it
 */
export function readLists(
  entries: readonly { readonly kind: ListKind; readonly placed: Placed }[],
  source: Source,
  files: string[],
  report: Report,
): Lists {
  const reading: Reading = { source, report, files, drafts: new Map(), contents: new Map() }
  for (const { kind, placed } of entries) addEntry(kind, placed, reading)
  const digests = report.failed ? [] : [...reading.contents.values()].map((bytes) => sha256(bytes ?? Buffer.alloc(0)))
  const drafts = report.failed ? [] : [...reading.drafts.values()]
  const finished = drafts.sort((left, right) => (left.name < right.name ? -1 : 1)).map(finish)
  return {
    lists: new Map(finished.map(({ list }) => [list.name, list])),
    provenance: { files, lists: new Map(finished.map(({ list, v4, v6 }) => [list.name, { v4, v6 }])) },
    digests,
  }
}

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()
