// A list file in stretches of whole lines, each with a hash and with what is in it, so that of an edited file only the
// stretches that changed are read again.

import { createHash } from 'node:crypto'
import { NEWLINE } from './lines.ts'
import type { Sink, Tally } from './sink.ts'

/** Bytes of a stretch, and the rest of its last line: read in half a millisecond. */
export const CHUNK_BYTES = 65_536

/** Lines of a kind: how many, and the first of them. */
export type Lines = Pick<Tally, 'count' | 'lines'>

/** Lines that give no entry, or not all of it. */
export interface Tallies {
  /** Lines with an entry on them, used or not. */
  readonly found: number
  /** Entries that were taken. */
  readonly used: number
  readonly skipped: Lines
  readonly private: Lines
  readonly wide: Lines
}

export interface Chunk extends Tallies {
  readonly bytes: number
  readonly hash: string
  readonly lines: number
  /** Entries by family. */
  readonly v4: number
  readonly v6: number
}

/** Where chunks of at least `size` bytes of a text begin and end, from byte `from` to before `to`. */
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

/** Lines, relative to the first one of a chunk. */
const relative = ({ count, lines }: Tally, first: number): Lines => ({
  count,
  lines: lines.map((line) => line - first),
})

/** What the reader of a chunk found. */
export const talliesOf = (sink: Sink, firstLine: number): Tallies => ({
  found: sink.found,
  used: sink.used,
  skipped: relative(sink.skipped, firstLine),
  private: relative(sink.private, firstLine),
  wide: relative(sink.wide, firstLine),
})

/** As many lines are named as by one Tally. */
const NAMED = 3

/** The tallies of all chunks together. */
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

/** What a text begins and ends with of the chunks of another one, by their number. */
export interface Common {
  readonly head: readonly Chunk[]
  readonly tail: readonly Chunk[]
}

export const byteCount = (chunks: readonly Chunk[]): number => chunks.reduce((sum, { bytes }) => sum + bytes, 0)

/** Compares the text from byte `from` on with the chunks of the one before. */
export function commonChunks(bytes: Buffer, from: number, chunks: readonly Chunk[]): Common {
  let head = 0
  let at = from
  for (; head < chunks.length; head++) {
    const { bytes: size, hash } = chunks[head] as Chunk
    // A chunk that ends in the middle of a line goes on there.
    const isWhole = at + size === bytes.length || bytes[at + size - 1] === NEWLINE
    if (at + size > bytes.length || !isWhole || hashOf(bytes, at, at + size) !== hash) break
    at += size
  }
  let tail = chunks.length
  let end = bytes.length
  for (; tail > head; tail--) {
    const { bytes: size, hash } = chunks[tail - 1] as Chunk
    // A chunk that begins in the middle of a line is none.
    const isLine = end - size === from || bytes[end - size - 1] === NEWLINE
    if (end - size < at || !isLine || hashOf(bytes, end - size, end) !== hash) break
    end -= size
  }
  return { head: chunks.slice(0, head), tail: chunks.slice(tail) }
}
