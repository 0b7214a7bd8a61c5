// What was read of list files before: in the cache, for one command after the other, or in a process that stays. A file of
// a million lines takes a tenth of a second to parse, and a hundredth to recognise by its hash.

import { createHash } from 'node:crypto'
import { basename, resolve } from 'node:path'
import type { Cache } from '../../cache/cache.ts'
import { packRecord, unpackRecord } from '../../cache/record.ts'
import type { Family, Ranges } from '../../model/address.ts'
import { compareBounds, sameWords } from '../../model/ranges.ts'
import { wordsOf } from '../../model/text.ts'
import { EntryColumns } from '../entries.ts'
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

/** Ends of ranges: the positions of those that are not their start, and what they are. */
function packEnds({ family, length, start, end }: Ranges): readonly [positions: Uint32Array, ends: Uint32Array] {
  if (start === end || sameWords(start, end)) return [NONE, NONE]
  const width = wordsOf(family)
  const differs = (at: number): boolean => compareBounds(start, at * width, end, at * width, width) !== 0
  let count = 0
  for (let at = 0; at < length; at++) if (differs(at)) count++
  const positions = new Uint32Array(count)
  const ends = new Uint32Array(count * width)
  for (let at = 0, next = 0; at < length; at++) {
    if (!differs(at)) continue
    positions[next] = at
    ends.set(end.subarray(at * width, (at + 1) * width), next++ * width)
  }
  return [positions, ends]
}

function unpackEnds(family: Family, start: Uint32Array, positions: Uint32Array, ends: Uint32Array): Uint32Array {
  if (positions.length === 0) return start
  const width = wordsOf(family)
  const end = start.slice()
  for (const [at, position] of positions.entries())
    end.set(ends.subarray(at * width, (at + 1) * width), position * width)
  return end
}

/** 16-bit numbers as words, which are half as many. */
function packSteps(steps: Uint16Array): Uint32Array {
  const words = new Uint32Array(Math.ceil(steps.length / 2))
  new Uint16Array(words.buffer).set(steps)
  return words
}

/** Columns of a family, in pairs of starts and what goes with them. */
function columnsOf(entries: EntryColumns, ranges: Ranges): Uint32Array[] {
  const { steps, wide } = entries.steps
  const pairs = Uint32Array.from([...wide].flat())
  return [entries.start, ...packEnds(entries), packSteps(steps), pairs, ranges.start, ...packEnds(ranges)]
}
const COLUMNS = 8

function fromColumns(family: Family, columns: readonly Uint32Array[]): { entries: EntryColumns; ranges: Ranges } {
  const [start, positions, ends, steps, pairs, first, lastPositions, lasts] = columns as FamilyColumns
  const width = wordsOf(family)
  const wide = new Map(Array.from({ length: pairs.length / 2 }, (_, i) => [pairs[i * 2] ?? 0, pairs[i * 2 + 1] ?? 0]))
  const narrow = new Uint16Array(steps.buffer, steps.byteOffset, start.length / width)
  return {
    entries: new EntryColumns(family, start, unpackEnds(family, start, positions, ends), { steps: narrow, wide }),
    ranges: {
      family,
      length: first.length / width,
      start: first,
      end: unpackEnds(family, first, lastPositions, lasts),
    },
  }
}
type Column = Uint32Array
type FamilyColumns = readonly [Column, Column, Column, Column, Column, Column, Column, Column]

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
