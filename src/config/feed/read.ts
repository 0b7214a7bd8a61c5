// One file of a feed: told apart by its content, unpacked, and read by the reader of its format.

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
  /** Column of CSV (name, or number from 1) or field of JSON lines. */
  readonly column: string | number | undefined
}

const BRACE = 0x7b

/** Headers of feeds are shorter. */
const HEADER_BYTES = 8192

/** The dates in the headers of Spamhaus (`; Last-Modified:`) and FireHOL (`# This File Date:`) lists, and of others. */
const STAMP =
  /^[#;].*\b(?:last[- ](?:modified|updated?)|this file date|generated(?: on| at)?|updated)\s*:\s*(.+?)\s*$/im

/** Where the first line begins that is neither blank nor a comment, or the length of `bytes`. */
function firstContent({ bytes, from: start }: Text): number {
  for (let lineFrom = start; lineFrom < bytes.length; ) {
    const end = lineEnd(bytes, lineFrom)
    const from = skipSpaces(bytes, lineFrom, end)
    if (from < end && bytes[from] !== HASH && bytes[from] !== SEMICOLON) return from
    lineFrom = end + 1
  }
  return bytes.length
}

/** The format of a file whose format is not named. */
export function detect(text: Text, column: string | number | undefined): Exclude<Format, 'auto'> {
  const { bytes } = text
  const from = firstContent(text)
  if (bytes[from] === BRACE) return 'jsonl'
  if (column !== undefined) return 'csv'
  const isIpset = ['create ', 'add '].some((word) => startsWith(bytes, from, bytes.length, word))
  return isIpset ? 'ipset' : 'plain'
}

/** When the comments at the start of a list say it was made; Unix time in seconds. */
export function stampOf({ bytes, from }: Text): number | undefined {
  const [, date = ''] = STAMP.exec(bytes.toString('utf8', from, from + HEADER_BYTES)) ?? []
  const time = Date.parse(date)
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000)
}

/** What was read of a file. */
export interface FeedFile extends Metadata {
  readonly format: Exclude<Format, 'auto'>
  readonly sink: Sink
  /** Of the line behind the last; 0 = not told. */
  readonly nextLine: number
}

/** The format of a file, as it is named or by its content. */
export const formatOf = (text: Text, { format, column }: FeedOptions): FeedFile['format'] =>
  format === 'auto' ? detect(text, column) : format

/**
 * Adds the entries of one file, or of some lines of it, to columns, as far as the rules permit. Reports what is wrong,
 * but neither skipped lines nor entries that are left out: `sink` has them counted.
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
