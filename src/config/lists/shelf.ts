// Keeps parsed list files: in the cache between commands, and in memory within a daemon. Parsing a file of a million
// lines takes a tenth of a second, recognising it by its hash a hundredth.

import { createHash } from 'node:crypto'
import { basename, resolve } from 'node:path'
import type { Cache } from '../../cache/cache.ts'
import { type CachedRecord, packRecord, recallRecord } from '../../cache/record.ts'
import type { Family, Ranges } from '../../model/address.ts'
import { packRanges, RANGE_COLUMNS, unpackRanges } from '../../model/columns.ts'
import { EntryColumns } from '../entries/entries.ts'
import { sumOf } from '../feed/chunks.ts'
import type { Parsed } from '../feed/parsed.ts'
import type { FeedOptions } from '../feed/read.ts'
import type { KnownServices } from '../services/service-texts.ts'

/** Where to look for parsed files. */
export interface Shelf {
  readonly cache?: Cache | undefined
  /** Parsed files of this process, by name; grows by one per file and set of options. */
  readonly kept?: Map<string, Parsed> | undefined
  /** Services of the config that this process has parsed. */
  readonly services?: KnownServices | undefined
}

/** Files with fewer entries are parsed faster than the cache is read. */
const FEW_ENTRIES = 4096

/** In a bundle, the file name has a hash of all code in it, so that one build never reads the cache of another. */
const BUILD = basename(import.meta.url)

/** Name of a file under the given options. */
export function shelfName(path: string, options: FeedOptions): string {
  const { minPrefix, ...rest } = options
  const facts = [BUILD, resolve(path), Object.entries(rest).sort(), minPrefix.v4, minPrefix.v6]
  return `feed-${createHash('sha256').update(JSON.stringify(facts)).digest('hex')}`
}

/** Packs pairs of 16-bit numbers into words. */
function packSteps(steps: Uint16Array): Uint32Array {
  const words = new Uint32Array(Math.ceil(steps.length / 2))
  new Uint16Array(words.buffer).set(steps)
  return words
}

/** The columns of one family, as they are stored. */
export function columnsOf(entries: EntryColumns, ranges: Ranges): Uint32Array[] {
  const { steps, wide } = entries.steps
  return [...packRanges(entries), packSteps(steps), Uint32Array.from([...wide].flat()), ...packRanges(ranges)]
}
/** Columns of one family. */
export const LIST_COLUMNS = 2 * RANGE_COLUMNS + 2

/** Throws RangeError for columns that do not belong together. */
export function fromColumns(
  family: Family,
  columns: readonly Uint32Array[],
): { entries: EntryColumns; ranges: Ranges } {
  const { length, start, end } = unpackRanges(family, columns)
  const [steps = NO_WORDS, pairs = NO_WORDS] = columns.slice(RANGE_COLUMNS)
  if (steps.length !== Math.ceil(length / 2)) throw new RangeError('an entry has no line number')
  const wide = new Map(Array.from({ length: pairs.length / 2 }, (_, i) => [pairs[i * 2] ?? 0, pairs[i * 2 + 1] ?? 0]))
  const narrow = new Uint16Array(steps.buffer, steps.byteOffset, length)
  return {
    entries: new EntryColumns(family, start, end, { steps: narrow, wide }),
    ranges: unpackRanges(family, columns.slice(RANGE_COLUMNS + 2)),
  }
}
const NO_WORDS = new Uint32Array(0)

/** If a smaller share of a text was parsed, the stored edition is good enough for the next command. */
const LITTLE = 1 / 32

/** Stores a parsed file. */
export function keep({ cache, kept }: Shelf, name: string, parsed: Parsed): void {
  kept?.set(name, parsed)
  if (!cache || parsed.used < FEW_ENTRIES || parsed.fresh < LITTLE) return
  const { digest, format, updatedAt, notes, chunks, entries } = parsed
  const columns = [...columnsOf(entries.v4, parsed.v4), ...columnsOf(entries.v6, parsed.v6)]
  cache.write(name, packRecord({ digest, format, updatedAt, notes, chunks }, columns))
}

/** Facts of a parsed file besides its columns. */
type Facts = Pick<Parsed, 'digest' | 'format' | 'updatedAt' | 'notes' | 'chunks'>

/** The parsed file of a record. Throws for a record of other content. */
function fromRecord({ facts, columns }: CachedRecord): Parsed {
  const { digest, format, updatedAt, notes, chunks } = facts as Facts
  const [v4, v6] = [fromColumns(4, columns.slice(0, LIST_COLUMNS)), fromColumns(6, columns.slice(LIST_COLUMNS))]
  const entries = { v4: v4.entries, v6: v6.entries }
  const counted = (family: 'v4' | 'v6'): number => chunks.reduce((sum, chunk) => sum + chunk[family], 0)
  const isSound =
    columns.length === 2 * LIST_COLUMNS &&
    [digest, format, ...notes].every((text) => typeof text === 'string') &&
    counted('v4') === entries.v4.length &&
    counted('v6') === entries.v6.length
  if (!isSound) throw new RangeError('the record is not of a list file')
  const ranges = { v4: v4.ranges, v6: v6.ranges }
  return { digest, format, updatedAt, notes, chunks, fresh: 0, ...sumOf(chunks), ...ranges, entries }
}

/** The latest stored edition of a file; its digest may differ from that of the file now. */
export const recall = ({ cache, kept }: Shelf, name: string): Parsed | undefined =>
  kept?.get(name) ?? recallRecord(cache, name, fromRecord)
