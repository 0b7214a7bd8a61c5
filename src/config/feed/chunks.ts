// A list file in chunks of whole lines. Each chunk keeps a hash and the counts of its entries, so that after an edit
// only the changed chunks are parsed again.

import { createHash } from 'node:crypto'
import { NEWLINE } from './lines.ts'
import type { Sink, Tally } from './sink.ts'

/** Least size of a chunk in bytes, extended to the end of its last line; takes half a millisecond to parse. */
export const CHUNK_BYTES = 65_536

/** Lines of one kind: their count, and the first few line numbers. */
export type Lines = Pick<Tally, 'count' | 'lines'>

/** Counts of entries, and of lines that were skipped or lost addresses. */
export interface Tallies {
  /** Lines with an entry, used or not. */
  readonly found: number
  /** Entries that went into the list. */
  readonly used: number
  readonly skipped: Lines
  readonly private: Lines
  readonly wide: Lines
}

export interface Chunk extends Tallies {
  readonly bytes: number
  readonly hash: string
  readonly lines: number
  /** Number of entries per family. */
  readonly v4: number
  readonly v6: number
}

/** Splits `bytes[from, to)` into chunks of at least `size` bytes. */
export function* stretches(
  bytes: Buffer,
  from: number,
  to: number,
  size: number,
): Generator<readonly [from: number, to: number]> {
  for (let start = from; start < to; ) {
    const newline = start + size < to ? bytes.indexOf(NEWLINE, start + size) : -1
    const end = newline < 0 || newline >= to ? to : newline + 1
    yield [start, end]
    start = end
  }
}

export const hashOf = (bytes: Buffer, from: number, to: number): string =>
  createHash('sha256').update(bytes.subarray(from, to)).digest('base64').slice(0, 16)

/** Line numbers relative to the first line of a chunk. */
const relative = ({ count, lines }: Tally, first: number): Lines => ({
  count,
  lines: lines.map((line) => line - first),
})

/** The tallies of one chunk. */
export const talliesOf = (sink: Sink, firstLine: number): Tallies => ({
  found: sink.found,
  used: sink.used,
  skipped: relative(sink.skipped, firstLine),
  private: relative(sink.private, firstLine),
  wide: relative(sink.wide, firstLine),
})

/** Line numbers kept in all; as many as one Tally keeps. */
const NAMED = 3

/** Adds up the tallies of all chunks. */
export function sumOf(chunks: readonly Chunk[]): Tallies {
  const firsts: number[] = []
  let line = 1
  for (const chunk of chunks) {
    firsts.push(line)
    line += chunk.lines
  }
  const sum = (pick: (chunk: Chunk) => number): number => chunks.reduce((total, chunk) => total + pick(chunk), 0)
  const lines = (kind: 'skipped' | 'private' | 'wide'): Lines => ({
    count: sum((chunk) => chunk[kind].count),
    lines: chunks.flatMap((chunk, i) => chunk[kind].lines.map((at) => at + (firsts[i] as number))).slice(0, NAMED),
  })
  return {
    found: sum(({ found }) => found),
    used: sum(({ used }) => used),
    skipped: lines('skipped'),
    private: lines('private'),
    wide: lines('wide'),
  }
}

/** The chunks of an earlier text that a text still starts and ends with. */
export interface Common {
  readonly head: readonly Chunk[]
  readonly tail: readonly Chunk[]
}

export const byteCount = (chunks: readonly Chunk[]): number => chunks.reduce((sum, { bytes }) => sum + bytes, 0)

/** Compares the text from byte `from` on with the chunks of the earlier text. */
export function commonChunks(bytes: Buffer, from: number, chunks: readonly Chunk[]): Common {
  let head = 0
  let at = from
  for (; head < chunks.length; head++) {
    const { bytes: size, hash } = chunks[head] as Chunk
    // A chunk that ended at the end of the file may now continue on its last line.
    const isWhole = at + size === bytes.length || bytes[at + size - 1] === NEWLINE
    if (at + size > bytes.length || !isWhole || hashOf(bytes, at, at + size) !== hash) break
    at += size
  }
  let tail = chunks.length
  let end = bytes.length
  for (; tail > head; tail--) {
    const { bytes: size, hash } = chunks[tail - 1] as Chunk
    // A chunk must start at the start of a line.
    const isLine = end - size === from || bytes[end - size - 1] === NEWLINE
    if (end - size < at || !isLine || hashOf(bytes, end - size, end) !== hash) break
    end -= size
  }
  return { head: chunks.slice(0, head), tail: chunks.slice(tail) }
}
