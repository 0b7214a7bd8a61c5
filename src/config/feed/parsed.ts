// One list file, parsed. A new edition that differs little from an earlier one is parsed only where its chunks differ.

import type { Ranges } from '../../model/address.ts'
import type { Entries } from '../../model/desired.ts'
import { patch } from '../../model/patch.ts'
import { normalize, subtract } from '../../model/ranges.ts'
import { wordsOf } from '../../model/text.ts'
import { EntryCollector, type EntryColumns } from '../entries/entries.ts'
import type { Report } from '../text/report.ts'
import {
  byteCount,
  CHUNK_BYTES,
  type Chunk,
  type Common,
  commonChunks,
  hashOf,
  stretches,
  sumOf,
  type Tallies,
  talliesOf,
} from './chunks.ts'
import { type FeedFile, type FeedOptions, formatOf, readFeed, stampOf } from './read.ts'
import type { Columns, Text } from './sink.ts'

export interface Parsed extends Tallies {
  /** SHA-256 of the file on the disk. */
  readonly digest: string
  readonly format: FeedFile['format']
  /** Time that the file itself states; Unix time in seconds. */
  readonly updatedAt: number | undefined
  readonly notes: readonly string[]
  readonly chunks: readonly Chunk[]
  /** Share of the text (0 to 1) that was parsed; the rest came from an earlier edition. */
  readonly fresh: number
  readonly v4: Ranges
  readonly v6: Ranges
  readonly entries: { readonly v4: EntryColumns; readonly v6: EntryColumns }
}

/** Average length of a line of IPv4 lists, in bytes; gives the first size of the columns. */
const BYTES_A_LINE = 14

/** Formats in which the meaning of a line does not depend on other lines. */
const BY_LINE: readonly FeedFile['format'][] = ['plain', 'ipset']

/** Above this many edited ranges, sorting all ranges again is faster than patching them. */
const FEW_RANGES = 1000

const NOTHING: Common = { head: [], tail: [] }

/** Parses one chunk of a text into columns. */
function readChunk(
  text: Text,
  [from, to]: readonly [from: number, to: number],
  firstLine: number,
  format: FeedFile['format'],
  columns: Columns,
  options: FeedOptions,
  report: Report,
): { chunk: Chunk; file: FeedFile } {
  const [v4, v6] = [columns.v4.length, columns.v6.length]
  const bytes = to === text.bytes.length ? text.bytes : text.bytes.subarray(0, to)
  const file = readFeed({ ...text, bytes, from, firstLine }, format, columns, options, report)
  const chunk = {
    ...talliesOf(file.sink, firstLine),
    bytes: to - from,
    hash: hashOf(text.bytes, from, to),
    lines: file.nextLine - firstLine,
    v4: columns.v4.length - v4,
    v6: columns.v6.length - v6,
  }
  return { chunk, file }
}

const entryCount = (chunks: readonly Chunk[], family: 'v4' | 'v6'): number =>
  chunks.reduce((sum, chunk) => sum + chunk[family], 0)
const lineCount = (chunks: readonly Chunk[]): number => chunks.reduce((sum, { lines }) => sum + lines, 0)

/** The addresses of entries `from` up to, but not including, `to`, in canonical form. */
function rangesOf({ family, start, end }: Entries, from: number, to: number): Ranges {
  const width = wordsOf(family)
  return normalize(family, start.subarray(from * width, to * width), end.subarray(from * width, to * width))
}

/** The addresses of all entries that overlap any of a few ranges, in canonical form. */
function touching({ family, length, start, end }: Entries, few: Ranges): Ranges {
  const found = new EntryCollector(family)
  const width = wordsOf(family)
  const first = few.start.subarray(0, width)
  const last = few.end.subarray(few.end.length - width)
  for (let at = 0; at < length * width; at += width) {
    // Comparing the first words rules out almost all of them.
    if ((start[at] as number) > (last[0] as number) || (end[at] as number) < (first[0] as number)) continue
    found.add(start.subarray(at, at + width), end.subarray(at, at + width), 0)
  }
  return found.ranges
}

/** The ranges of a file that shares its first and last entries with an earlier edition. */
function editRanges(
  before: { readonly entries: EntryColumns; readonly ranges: Ranges },
  collector: EntryCollector,
  head: number,
  tail: number,
): Ranges {
  const { entries } = collector
  const added = rangesOf(entries, head, entries.length - tail)
  const gone = subtract(rangesOf(before.entries, head, before.entries.length - tail), added)
  if (added.length + gone.length > FEW_RANGES) return collector.ranges
  // Another line may still cover an address of a removed line.
  const kept = gone.length === 0 ? gone : subtract(gone, touching(entries, gone))
  return patch(before.ranges, kept, added)
}

/**
 * Parses a text. Returns undefined after reporting an error.
 *
 * @param before an earlier edition, parsed under the same options
 * @param size least size of a chunk in bytes
 */
export function parseText(
  text: Text,
  digest: string,
  options: FeedOptions,
  report: Report,
  before?: Parsed,
  size = CHUNK_BYTES,
): Parsed | undefined {
  const { bytes, from } = text
  const format = formatOf(text, options)
  const isByLine = BY_LINE.includes(format)
  const { head, tail } =
    before && isByLine && before.format === format ? commonChunks(bytes, from, before.chunks) : NOTHING
  const columns: Columns = {
    v4: new EntryCollector(4, Math.ceil(bytes.length / BYTES_A_LINE)),
    v6: new EntryCollector(6),
    wrong: 0,
  }
  const families = ['v4', 'v6'] as const
  for (const family of families) {
    if (before && head.length > 0) columns[family].addFrom(before.entries[family], 0, entryCount(head, family), 0)
  }
  const end = bytes.length - byteCount(tail)
  const start = from + byteCount(head)
  let line = 1 + lineCount(head)
  const middle: Chunk[] = []
  let file: FeedFile | undefined
  for (const stretch of isByLine ? stretches(bytes, start, end, size) : [[from, bytes.length] as const]) {
    const read = readChunk(text, stretch, line, format, columns, options, report)
    file = read.file
    middle.push(read.chunk)
    line += read.chunk.lines
  }
  if (columns.wrong > 0) return undefined
  for (const family of families) {
    if (!before || tail.length === 0) continue
    const { length } = before.entries[family]
    const moved = line - 1 - (lineCount(before.chunks) - lineCount(tail))
    columns[family].addFrom(before.entries[family], length - entryCount(tail, family), length, moved)
  }
  const chunks = [...head, ...middle, ...tail]
  const ranges = (family: 'v4' | 'v6'): Ranges => {
    if (!before || head.length + tail.length === 0) return columns[family].ranges
    const known = { entries: before.entries[family], ranges: before[family] }
    return editRanges(known, columns[family], entryCount(head, family), entryCount(tail, family))
  }
  return {
    digest,
    format,
    updatedAt: isByLine || format === 'csv' ? stampOf(text) : file?.updatedAt,
    notes: file?.notes ?? [],
    chunks,
    fresh: byteCount(middle) / Math.max(1, byteCount(chunks)),
    ...sumOf(chunks),
    v4: ranges('v4'),
    v6: ranges('v6'),
    entries: { v4: columns.v4.entries, v6: columns.v6.entries },
  }
}
