// CSV (RFC 4180, without line breaks inside fields): one column holds the entries. The separator is a comma, semicolon
// or tab, whichever occurs most in the first line.

import { explainRange, rangeBuffer, readRange } from '../entries/range.ts'
import { quote } from '../text/show.ts'
import { eachLine, findByte, HASH, lineEnd, skipSpaces, trimEnd } from './lines.ts'
import type { Sink, Text } from './sink.ts'

const QUOTE = 0x22
const TAB = 0x09
const SEPARATORS = [0x2c, 0x3b, TAB] as const

/** Bounds of the field that `fieldAt` found last. */
let fieldFrom = 0
let fieldTo = 0

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

/** Sets the bounds of the field that starts at `from`. Returns the end of the field, or -1 if its quote is open. */
function readField(bytes: Buffer, from: number, to: number, separator: number): number {
  const at = separator === TAB ? from : skipSpaces(bytes, from, to)
  if (at < to && bytes[at] === QUOTE) {
    fieldFrom = at + 1
    fieldTo = closingQuote(bytes, fieldFrom, to)
    return fieldTo < 0 ? -1 : separatorAfter(bytes, fieldTo + 1, to, separator)
  }
  const end = separatorAfter(bytes, at, to, separator)
  fieldFrom = at
  fieldTo = trimEnd(bytes, at, end)
  return end
}

/** Finds field `index` (from 0) of the row `bytes[from, to)`. Returns false if it is missing or its quote is open. */
function fieldAt(bytes: Buffer, from: number, to: number, separator: number, index: number): boolean {
  let start = from
  for (let field = 0; field <= index; field++) {
    if (start > to) return false
    const end = readField(bytes, start, to, separator)
    if (end < 0) {
      fieldTo = fieldFrom
      return false
    }
    start = end + 1
  }
  return true
}

/** The most frequent separator of a row; a comma if it has no separator. */
function separatorOf(bytes: Buffer, from: number, to: number): number {
  const row = bytes.subarray(from, to)
  const count = (separator: number): number => row.reduce((sum, byte) => sum + (byte === separator ? 1 : 0), 0)
  return SEPARATORS.toSorted((left, right) => count(right) - count(left))[0] as number
}

function fieldsOf(bytes: Buffer, from: number, to: number, separator: number): string[] {
  const fields: string[] = []
  while (fields.length < 1000 && fieldAt(bytes, from, to, separator, fields.length)) {
    fields.push(bytes.toString('utf8', fieldFrom, fieldTo).replaceAll('""', '"'))
  }
  return fields
}

/** The last comment before `end`; some feeds put their header there. */
function commentBefore(bytes: Buffer, start: number, end: number): readonly [from: number, to: number] | undefined {
  let found: readonly [number, number] | undefined
  for (let lineFrom = start; lineFrom < end; ) {
    const to = lineEnd(bytes, lineFrom)
    const from = skipSpaces(bytes, lineFrom, to)
    if (bytes[from] === HASH && from < end) found = [skipSpaces(bytes, from + 1, to), trimEnd(bytes, from, to)]
    lineFrom = to + 1
  }
  return found
}

interface Layout {
  readonly separator: number
  /** Index of the column, from 0. */
  readonly index: number
  /** Whether the first row names the columns. */
  readonly header: boolean
}

/** Finds the column with the help of the first row; returns the names of all columns if none matches. */
function layoutOf(text: Text, from: number, to: number, column: string | number): Layout | readonly string[] {
  const { bytes } = text
  const separator = separatorOf(bytes, from, to)
  if (typeof column === 'number') {
    const range = rangeBuffer()
    const known = fieldAt(bytes, from, to, separator, column - 1)
    return { separator, index: column - 1, header: known && !readRange(bytes, fieldFrom, fieldTo, range) }
  }
  const names = fieldsOf(bytes, from, to, separator)
  const index = names.indexOf(column)
  if (index >= 0) return { separator, index, header: true }
  const comment = commentBefore(bytes, text.from, from)
  if (comment === undefined) return names
  const commentSeparator = separatorOf(bytes, comment[0], comment[1])
  const commented = fieldsOf(bytes, comment[0], comment[1], commentSeparator).indexOf(column)
  return commented < 0 ? names : { separator, index: commented, header: false }
}

/**
 * Adds the entry of every row to `sink`.
 *
 * @param column the name of a column, or its number from 1
 */
export function readCsv(text: Text, sink: Sink, column: string | number): void {
  const { bytes } = text
  const range = rangeBuffer()
  let layout: Layout | readonly string[] | undefined
  eachLine(bytes, text.from, (line, lineFrom, from, to) => {
    if (layout === undefined) {
      layout = layoutOf(text, from, to, column)
      if ('index' in layout) {
        if (layout.header) return
      } else {
        const hint = `the columns are ${layout.slice(0, 12).map(quote).join(', ')}; a number counts columns from 1`
        const message = `no column is named ${quote(String(column))}`
        sink.refuse(line, lineFrom, from, to, { code: 'E036', message, hint })
      }
    }
    if (!('index' in layout)) return
    const { separator, index } = layout
    if (!fieldAt(bytes, from, to, separator, index)) {
      const message = `the row has no column ${index + 1}`
      sink.bad(line, lineFrom, from, to, () => ({ code: 'E020', message }))
      return
    }
    if (readRange(bytes, fieldFrom, fieldTo, range)) sink.add(range, line)
    else sink.bad(line, lineFrom, fieldFrom, Math.max(fieldTo, fieldFrom), explainRange)
  })
}
