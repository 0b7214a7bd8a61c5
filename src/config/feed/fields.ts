// Fields of a row of CSV (RFC 4180, without line breaks inside fields), as offsets into its bytes.

import type { Field } from '../entries/pair.ts'
import { findByte, lineEnd, skipSpaces, trimEnd } from './lines.ts'

const QUOTE = 0x22
const TAB = 0x09
const CARRIAGE_RETURN = 0x0d
export const SEPARATORS = [0x2c, 0x3b, TAB] as const

/** Index of the first separator in `bytes[from, to)`, or `to`. */
function separatorAfter(bytes: Buffer, from: number, to: number, separator: number): number {
  const at = findByte(bytes, separator, from, to)
  return at < 0 ? to : at
}

/** Index of the quote that closes the field starting at `from`, or -1; a doubled quote is a literal one. */
function closingQuote(bytes: Buffer, from: number, to: number): number {
  let close = findByte(bytes, QUOTE, from, to)
  while (close >= 0 && close + 1 < to && bytes[close + 1] === QUOTE) close = findByte(bytes, QUOTE, close + 2, to)
  return close
}

/** Reads the field that starts at `from`. Returns the end of the field, or -1 if its quote is open. */
function readField(bytes: Buffer, from: number, to: number, separator: number, out: Field): number {
  const at = separator === TAB ? from : skipSpaces(bytes, from, to)
  if (at < to && bytes[at] === QUOTE) {
    out.from = at + 1
    out.to = closingQuote(bytes, out.from, to)
    return out.to < 0 ? -1 : separatorAfter(bytes, out.to + 1, to, separator)
  }
  const end = separatorAfter(bytes, at, to, separator)
  out.from = at
  out.to = trimEnd(bytes, at, end)
  return end
}

/**
 * Finds field `index` (from 0) of the row `bytes[from, to)`. Returns false if it is missing or its quote is open; then
 * `out` is empty.
 */
export function fieldAt(
  bytes: Buffer,
  from: number,
  to: number,
  separator: number,
  index: number,
  out: Field,
): boolean {
  let start = from
  for (let field = 0; field <= index; field++) {
    if (start > to) return false
    const end = readField(bytes, start, to, separator, out)
    if (end < 0) {
      out.to = out.from
      return false
    }
    start = end + 1
  }
  return true
}

/** The most frequent separator of a row; a comma if it has no separator. */
export function separatorOf(bytes: Buffer, from: number, to: number): number {
  const row = bytes.subarray(from, to)
  const count = (separator: number): number => row.reduce((sum, byte) => sum + (byte === separator ? 1 : 0), 0)
  return SEPARATORS.toSorted((left, right) => count(right) - count(left))[0] as number
}

/**
 * The bounds of a row, whose line starts at `lineFrom`. The spaces around a row are no part of it, but tabs between its
 * fields are, even if the first or last fields are empty.
 */
export function rowOf(
  bytes: Buffer,
  lineFrom: number,
  from: number,
  to: number,
  separator: number,
): readonly [from: number, to: number] {
  if (separator !== TAB) return [from, to]
  const end = lineEnd(bytes, to)
  return [lineFrom, bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end]
}

/** The text of a field, without the doubling of quotes. */
export const fieldText = (bytes: Buffer, { from, to }: Field): string =>
  bytes.toString('utf8', from, to).replaceAll('""', '"')

/** The first 1,000 fields of a row, as text. */
export function fieldsOf(bytes: Buffer, from: number, to: number, separator: number): string[] {
  const fields: string[] = []
  const field: Field = { from, to: from }
  while (fields.length < 1000 && fieldAt(bytes, from, to, separator, fields.length, field)) {
    fields.push(fieldText(bytes, field))
  }
  return fields
}
