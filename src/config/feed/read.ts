// One file of a feed: detects its format and calls the reader for that format.

import type { Report } from '../text/report.ts'
import type { Format } from '../text/written.ts'
import { readCsv } from './csv.ts'
import { readIpset } from './ipset.ts'
import { type Metadata, NO_METADATA, readJsonLines } from './jsonl.ts'
import { HASH, lineEnd, SEMICOLON, skipSpaces, startsWith } from './lines.ts'
import { readPlain } from './plain.ts'
import { type Columns, type Rules, Sink, type Text } from './sink.ts'

export interface FeedOptions extends Rules {
  readonly format: Format
  /** Column of CSV (name, or number from 1), or field of JSON lines. */
  readonly column: string | number | undefined
}

const BRACE = 0x7b

/** Longest header of a feed that is searched for a date, in bytes. */
const HEADER_BYTES = 8192

/** Dates in the headers of Spamhaus (`; Last-Modified:`), FireHOL (`# This File Date:`) and other lists. */
const STAMP =
  /^[#;].*\b(?:last[- ](?:modified|updated?)|this file date|generated(?: on| at)?|updated)\s*:\s*(.+?)\s*$/im

/** Start of the first line that is neither blank nor a comment, or the length of `bytes`. */
function firstContent({ bytes, from: start }: Text): number {
  for (let lineFrom = start; lineFrom < bytes.length; ) {
    const end = lineEnd(bytes, lineFrom)
    const from = skipSpaces(bytes, lineFrom, end)
    if (from < end && bytes[from] !== HASH && bytes[from] !== SEMICOLON) return from
    lineFrom = end + 1
  }
  return bytes.length
}

/** Detects the format of a file by its content. */
export function detect(text: Text, column: string | number | undefined): Exclude<Format, 'auto'> {
  const { bytes } = text
  const from = firstContent(text)
  if (bytes[from] === BRACE) return 'jsonl'
  if (column !== undefined) return 'csv'
  const isIpset = ['create ', 'add '].some((word) => startsWith(bytes, from, bytes.length, word))
  return isIpset ? 'ipset' : 'plain'
}

/** Time of a list from the comments at its start; Unix time in seconds. */
export function stampOf({ bytes, from }: Text): number | undefined {
  const [, date = ''] = STAMP.exec(bytes.toString('utf8', from, from + HEADER_BYTES)) ?? []
  const time = Date.parse(date)
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000)
}

/** One parsed file. */
export interface FeedFile extends Metadata {
  readonly format: Exclude<Format, 'auto'>
  readonly sink: Sink
  /** Number of the line after the last; 0 if the format does not count lines. */
  readonly nextLine: number
}

/** The configured format of a file, or the detected one. */
export const formatOf = (text: Text, { format, column }: FeedOptions): FeedFile['format'] =>
  format === 'auto' ? detect(text, column) : format

/**
 * Adds the entries of a file, or of some of its lines, to columns, as far as the rules permit. Reports errors, but not
 * skipped lines and left-out entries: those are counted in `sink`.
 */
export function readFeed(
  text: Text,
  format: FeedFile['format'],
  columns: Columns,
  options: FeedOptions,
  report: Report,
): FeedFile {
  const sink = new Sink(text, columns, options, report)
  const { column } = options
  switch (format) {
    case 'plain':
      return { format, sink, ...NO_METADATA, nextLine: readPlain(text, sink) }
    case 'csv':
      readCsv(text, sink, column ?? 1)
      break
    case 'ipset':
      return { format, sink, ...NO_METADATA, nextLine: readIpset(text, sink) }
    case 'jsonl':
      return {
        format,
        sink,
        ...readJsonLines(text, sink, column === undefined ? undefined : String(column)),
        nextLine: 0,
      }
    default:
      format satisfies never
  }
  return { format, sink, ...NO_METADATA, nextLine: 0 }
}
