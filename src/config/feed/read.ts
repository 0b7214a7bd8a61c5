// One file of a feed: detects its format and calls the reader for that format.

import type { Report } from '../text/report.ts'
import type { Format } from '../text/written.ts'
import { rangeColumns, sampleOf } from './address-columns.ts'
import { readCsv } from './csv.ts'
import { SEPARATORS } from './fields.ts'
import { readIpset } from './ipset.ts'
import { readJson } from './json.ts'
import { isJsonLine, type Metadata, NO_METADATA, readJsonLines } from './jsonl.ts'
import { findByte, HASH, lineEnd, SEMICOLON, skipSpaces, startsWith } from './lines.ts'
import { readPlain } from './plain.ts'
import { type Choice, type Columns, type Rules, Sink, type Text } from './sink.ts'

export interface FeedOptions extends Rules, Choice {
  readonly format: Format
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
export function detect(text: Text, { column, columns, where }: Choice): Exclude<Format, 'auto'> {
  const { bytes } = text
  const from = firstContent(text)
  if (bytes[from] === BRACE) return isJsonLine(bytes, from, lineEnd(bytes, from), column) ? 'jsonl' : 'json'
  if (isJsonList(bytes, from)) return 'json'
  if (column !== undefined || columns !== undefined || where !== undefined) return 'csv'
  if (['create ', 'add '].some((word) => startsWith(bytes, from, bytes.length, word))) return 'ipset'
  return hasSeparator(bytes, from) && rangeColumns(sampleOf(text)) !== undefined ? 'csv' : 'plain'
}

/** Whether a text starts like a JSON list of texts, mappings or lists; `[2001:db8::1]` does not. */
function isJsonList(bytes: Buffer, from: number): boolean {
  return /^\[\s*["{[\]]/.test(bytes.toString('latin1', from, from + 256))
}

/** Whether a line may be a row with several fields. */
function hasSeparator(bytes: Buffer, from: number): boolean {
  const to = lineEnd(bytes, from)
  return SEPARATORS.some((separator) => findByte(bytes, separator, from, to) >= 0)
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
export const formatOf = (text: Text, { format, ...choice }: FeedOptions): FeedFile['format'] =>
  format === 'auto' ? detect(text, choice) : format

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
  switch (format) {
    case 'plain':
      return { format, sink, ...NO_METADATA, nextLine: readPlain(text, sink) }
    case 'csv':
      readCsv(text, sink, options)
      break
    case 'ipset':
      return { format, sink, ...NO_METADATA, nextLine: readIpset(text, sink) }
    case 'jsonl':
      return { format, sink, ...readJsonLines(text, sink, options), nextLine: 0 }
    case 'json':
      return { format, sink, ...readJson(text, sink, options), nextLine: 0 }
    default:
      format satisfies never
  }
  return { format, sink, ...NO_METADATA, nextLine: 0 }
}
