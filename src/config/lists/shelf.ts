// What was read of list files before: in the cache, for one command after the other, or in a process that stays. A file of
// a million lines takes a tenth of a second to parse, and a hundredth to recognise by its hash.

import { createHash } from 'node:crypto'
import { basename, resolve } from 'node:path'
import type { Cache } from '../../cache/cache.ts'
import { packRecord, unpackRecord } from '../../cache/record.ts'
import type { Family, Ranges } from '../../model/address.ts'
import { packRanges, RANGE_COLUMNS, unpackRanges } from '../../model/columns.ts'
import { EntryColumns } from '../entries/entries.ts'
import { sumOf } from '../feed/chunks.ts'
import type { Parsed } from '../feed/parsed.ts'
import type { FeedOptions } from '../feed/read.ts'
import type { KnownServices } from '../services/service-texts.ts'

/** Where to look for what was read before. */
export interface Shelf {
  readonly cache?: Cache | undefined
  /** Of this very process, by name. Grows by one for each file under the same options. */
  readonly kept?: Map<string, Parsed> | undefined
  /** The same for services of the config. */
  readonly services?: KnownServices | undefined
}

/** Files of fewer entries are read again in no time. */
const FEW_ENTRIES = 4096

/** Bundled, the name of this file has a hash of all code in it: what another build has stored is not for this one. */
const BUILD = basename(import.meta.url)

/** Name of what is read of a file under the options. */
export function shelfName(path: string, options: FeedOptions): string {
  const { format, column, onBadLine, excludePrivate, minPrefix } = options
  const facts = [BUILD, resolve(path), format, column ?? null, onBadLine, excludePrivate, minPrefix.v4, minPrefix.v6]
  return `feed-${createHash('sha256').update(JSON.stringify(facts)).digest('hex')}`
}

/** 16-bit numbers as words, which are half as many. */
function packSteps(steps: Uint16Array): Uint32Array {
  const words = new Uint32Array(Math.ceil(steps.length / 2))
  new Uint16Array(words.buffer).set(steps)
  return words
}

/** Columns of a family. */
function columnsOf(entries: EntryColumns, ranges: Ranges): Uint32Array[] {
  const { steps, wide } = entries.steps
  return [...packRanges(entries), packSteps(steps), Uint32Array.from([...wide].flat()), ...packRanges(ranges)]
}
const COLUMNS = 2 * RANGE_COLUMNS + 2

function fromColumns(family: Family, columns: readonly Uint32Array[]): { entries: EntryColumns; ranges: Ranges } {
  const { length, start, end } = unpackRanges(family, columns)
  const [steps, pairs] = columns.slice(RANGE_COLUMNS) as [Uint32Array, Uint32Array]
  const wide = new Map(Array.from({ length: pairs.length / 2 }, (_, i) => [pairs[i * 2] ?? 0, pairs[i * 2 + 1] ?? 0]))
  const narrow = new Uint16Array(steps.buffer, steps.byteOffset, length)
  return {
    entries: new EntryColumns(family, start, end, { steps: narrow, wide }),
    ranges: unpackRanges(family, columns.slice(RANGE_COLUMNS + 2)),
  }
}

/** Where less of a text than this was read, what is stored does for the next edition, too. */
const LITTLE = 1 / 32

/** Puts away what was read of a file. */
export function keep({ cache, kept }: Shelf, name: string, parsed: Parsed): void {
  kept?.set(name, parsed)
  if (!cache || parsed.used < FEW_ENTRIES || parsed.fresh < LITTLE) return
  const { digest, format, updatedAt, notes, chunks, entries } = parsed
  const columns = [...columnsOf(entries.v4, parsed.v4), ...columnsOf(entries.v6, parsed.v6)]
  cache.write(name, packRecord({ digest, format, updatedAt, notes, chunks }, columns))
}

/** What was read of the file last, whatever was in it then. */
export function recall({ cache, kept }: Shelf, name: string): Parsed | undefined {
  const known = kept?.get(name)
  if (known) return known
  const bytes = cache?.read(name)
  const record = bytes && unpackRecord(bytes)
  if (!record) return undefined
  const facts = record.facts as Pick<Parsed, 'digest' | 'format' | 'updatedAt' | 'notes' | 'chunks'>
  const v4 = fromColumns(4, record.columns.slice(0, COLUMNS))
  const v6 = fromColumns(6, record.columns.slice(COLUMNS))
  const entries = { v4: v4.entries, v6: v6.entries }
  return {
    ...facts,
    updatedAt: facts.updatedAt,
    fresh: 0,
    ...sumOf(facts.chunks),
    v4: v4.ranges,
    v6: v6.ranges,
    entries,
  }
}
