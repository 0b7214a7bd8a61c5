// What was read of list files before: in the cache, for one command after the other, or in a process that stays. A file of
// a million lines takes a tenth of a second to parse, and a hundredth to recognise by its hash.

import { createHash } from 'node:crypto'
import { basename, resolve } from 'node:path'
import type { Cache } from '../../cache/cache.ts'
import { packRecord, unpackRecord } from '../../cache/record.ts'
import type { Family, Ranges } from '../../model/address.ts'
import type { Entries } from '../../model/desired.ts'
import { sameWords } from '../../model/ranges.ts'
import { sumOf } from './chunks.ts'
import type { Parsed } from './parsed.ts'
import type { FeedOptions } from './read.ts'

/** Where to look for what was read before. */
export interface Shelf {
  readonly cache?: Cache | undefined
  /** Of this very process, by name. Grows by one for each file under the same options. */
  readonly kept?: Map<string, Parsed> | undefined
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

const NONE = new Uint32Array(0)

/** Lines as the steps between them, four in a word, where none is wider than a byte. */
function packSteps(line: Uint32Array): Uint32Array | undefined {
  const words = new Uint32Array(Math.ceil(line.length / 4))
  const steps = new Uint8Array(words.buffer)
  for (let at = 0, last = 0; at < line.length; at++) {
    const step = (line[at] as number) - last
    if (step > 255) return undefined
    steps[at] = step
    last = line[at] as number
  }
  return words
}

function unpackSteps(words: Uint32Array, length: number): Uint32Array {
  const steps = new Uint8Array(words.buffer, words.byteOffset, length)
  const line = new Uint32Array(length)
  for (let at = 0, last = 0; at < length; at++) {
    last += steps[at] as number
    line[at] = last
  }
  return line
}

/** Columns of a family: of what is the same twice, one is stored. */
function columnsOf(entries: Entries, ranges: Ranges): Uint32Array[] {
  const steps = packSteps(entries.line)
  return [
    entries.start,
    sameWords(entries.start, entries.end) ? NONE : entries.end,
    steps ?? NONE,
    steps ? NONE : entries.line,
    ranges.start,
    sameWords(ranges.start, ranges.end) ? NONE : ranges.end,
  ]
}
const COLUMNS = 6

function fromColumns(family: Family, columns: readonly Uint32Array[]): { entries: Entries; ranges: Ranges } {
  const [start, end, steps, line, first, last] = columns as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ]
  const width = family === 4 ? 1 : 4
  const length = start.length / width
  return {
    entries: {
      family,
      length,
      start,
      end: end.length > 0 ? end : start,
      line: steps.length > 0 ? unpackSteps(steps, length) : line,
    },
    ranges: { family, length: first.length / width, start: first, end: last.length > 0 ? last : first },
  }
}

/** Puts away what was read of a file. */
export function keep({ cache, kept }: Shelf, name: string, parsed: Parsed): void {
  kept?.set(name, parsed)
  if (!cache || parsed.used < FEW_ENTRIES) return
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
  return { ...facts, updatedAt: facts.updatedAt, ...sumOf(facts.chunks), v4: v4.ranges, v6: v6.ranges, entries }
}
