// What was read of one list file, and the same out of the cache: a file of a million lines takes a tenth of a second to
// parse and a hundredth to recognise by its hash.

import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import type { Cache } from '../../cache/cache.ts'
import { packRecord, unpackRecord } from '../../cache/record.ts'
import type { Family, Ranges } from '../../model/address.ts'
import type { Entries } from '../../model/desired.ts'
import type { FeedFile, FeedOptions } from './read.ts'
import type { Tally } from './sink.ts'

/** Lines of a kind: how many, and the first of them. */
export type Lines = Pick<Tally, 'count' | 'lines'>

/** Everything that is told of a file besides its addresses. */
export interface ParsedFacts {
  readonly format: FeedFile['format']
  /** What the file says; Unix time in seconds. */
  readonly updatedAt: number | undefined
  readonly notes: readonly string[]
  /** Lines with an entry on them, used or not, and entries that were taken. */
  readonly found: number
  readonly used: number
  readonly skipped: Lines
  readonly private: Lines
  readonly wide: Lines
}

export interface Parsed extends ParsedFacts {
  readonly v4: Ranges
  readonly v6: Ranges
  /** The entries with their lines; read when they are asked for where the rest came out of the cache. */
  readonly entries: () => { readonly v4: Entries; readonly v6: Entries }
}

const linesOf = ({ count, lines }: Tally): Lines => ({ count, lines })

/** What a reader found, put in order. */
export function parsedOf({ format, updatedAt, notes, sink }: FeedFile): Parsed {
  const entries = { v4: sink.v4.entries, v6: sink.v6.entries }
  return {
    format,
    updatedAt,
    notes,
    found: sink.found,
    used: sink.used,
    skipped: linesOf(sink.skipped),
    private: linesOf(sink.private),
    wide: linesOf(sink.wide),
    v4: sink.v4.ranges,
    v6: sink.v6.ranges,
    entries: () => entries,
  }
}

/** Files of fewer entries are read again in no time. */
const FEW_ENTRIES = 4096

/** Bundled, the name of this file has a hash of all code in it: what another build has stored is not for this one. */
const BUILD = basename(import.meta.url)

/** Name of what is read of a file. `digest`: SHA-256 of the file as it lies on the disk. */
export function cacheName(digest: Uint8Array, options: FeedOptions): string {
  const { format, column, onBadLine, excludePrivate, minPrefix } = options
  const facts = [BUILD, format, column ?? null, onBadLine, excludePrivate, minPrefix.v4, minPrefix.v6]
  return `feed-${createHash('sha256').update(digest).update(JSON.stringify(facts)).digest('hex')}`
}

/** Whether every range is one address: then the ends need not be stored. */
const isSingle = ({ start, end }: Ranges): boolean =>
  Buffer.from(start.buffer, start.byteOffset, start.byteLength).equals(
    Buffer.from(end.buffer, end.byteOffset, end.byteLength),
  )

const columnsOf = (ranges: Ranges): Uint32Array[] => (isSingle(ranges) ? [ranges.start] : [ranges.start, ranges.end])

/** Stores what was read of a file without an error in it. */
export function store(cache: Cache, name: string, parsed: Parsed): void {
  const { v4, v6, entries: _, ...facts } = parsed
  if (facts.used < FEW_ENTRIES) return
  const columns = [columnsOf(v4), columnsOf(v6)]
  cache.write(name, packRecord({ ...facts, columns: columns.map(({ length }) => length) }, columns.flat()))
}

function rangesFrom(family: Family, columns: readonly Uint32Array[]): Ranges {
  const [start, end = start] = columns as [Uint32Array, Uint32Array?]
  return { family, length: start.length / (family === 4 ? 1 : 4), start, end }
}

/** What was stored of a file; `read` reads it again, for its lines. */
export function recall(cache: Cache, name: string, read: () => Parsed): Parsed | undefined {
  const bytes = cache.read(name)
  const record = bytes && unpackRecord(bytes)
  if (!record) return undefined
  const { columns, ...facts } = record.facts as ParsedFacts & { readonly columns: readonly number[] }
  const [count = 0] = columns
  return {
    ...facts,
    updatedAt: facts.updatedAt,
    v4: rangesFrom(4, record.columns.slice(0, count)),
    v6: rangesFrom(6, record.columns.slice(count)),
    entries: () => read().entries(),
  }
}
