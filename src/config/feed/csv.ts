// CSV: one column holds the entries, or two the first and last address of ranges. The separator is a comma, semicolon or
// tab, whichever occurs most in the first line. `where` takes only the rows with a value in another column.

import { explainPair, type Field, readBound, readPair } from '../entries/pair.ts'
import { type Explanation, explainRange, rangeBuffer, readRange } from '../entries/range.ts'
import { listed, quote } from '../text/show.ts'
import { addressColumns, areBounds, rangeColumns, sampleOf } from './address-columns.ts'
import { fieldAt, fieldsOf, fieldText, rowOf, separatorOf } from './fields.ts'
import { eachLine, HASH, lineEnd, skipSpaces, trimEnd } from './lines.ts'
import type { Choice, Column, Sink, Text } from './sink.ts'

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

/** A row: its line number, the start of its line, and its bounds. */
type Row = readonly [line: number, lineFrom: number, from: number, to: number]

interface Layout {
  readonly separator: number
  /** Index of the column of the entries, from 0; of both columns for ranges. */
  readonly entry: readonly [number] | readonly [first: number, last: number]
  /** Index of the column of `where`, and its value. */
  readonly where: readonly [index: number, equals: string] | undefined
  /** Whether the first row names the columns. */
  readonly header: boolean
}

/** The names of the columns, from the first row or the comment before it. */
interface Names {
  readonly row: readonly string[]
  readonly comment: readonly string[]
}

const numbered = (columns: readonly number[]): string =>
  listed(
    columns.map((index) => `${index + 1}`),
    'and',
  )

/** The column of ranges, or why the file does not say which it is. */
function guess(text: Text, { row }: Names): readonly [number, number] | Explanation {
  const sample = sampleOf(text)
  const found = rangeColumns(sample)
  if (typeof found === 'object') return found
  const name = 'name the column that holds the addresses: `column: NAME`, or its number'
  if (found === undefined) {
    const hint = `${name}; for two columns of numbers write \`columns: [FIRST, LAST]\`. The first row is ${shown(row)}`
    return { code: 'E036', message: 'no two columns hold the first and last address of ranges', hint }
  }
  const columns = addressColumns(sample)
  const [first = 0, last = 0] = columns
  const hint = `write \`columns: [${first + 1}, ${last + 1}]\` if they are the first and last address of ranges, or \`column: ${first + 1}\` for one of them`
  return { code: 'E036', message: `the columns ${numbered(columns)} hold addresses`, hint }
}

const shown = (names: readonly string[]): string => names.slice(0, 12).map(quote).join(', ')

/** Why one column alone would lose addresses: it is the first or last address of ranges. */
function lossOf(text: Text, index: number): Explanation | undefined {
  const sample = sampleOf(text)
  const pair = [[index, index + 1] as const, [index - 1, index] as const].find(
    ([first, last]) => first >= 0 && areBounds(sample, first, last),
  )
  if (pair === undefined) return undefined
  const [first, last] = pair.map((column) => column + 1)
  return {
    code: 'E036',
    message: `the columns ${first} and ${last} hold the first and last address of ranges, and column ${index + 1} alone would take one address of each`,
    hint: `write \`columns: [${first}, ${last}]\` for the ranges, or \`columns: [${index + 1}, ${index + 1}]\` for the single addresses`,
  }
}

/** Index of a column, and whether the first row names it; undefined if no column has the name. */
function indexOf(column: Column, { row, comment }: Names): { index: number; header: boolean } | undefined {
  if (typeof column === 'number') return { index: column - 1, header: false }
  const index = row.indexOf(column)
  if (index >= 0) return { index, header: true }
  const commented = comment.indexOf(column)
  return commented < 0 ? undefined : { index: commented, header: false }
}

/** Whether the first row holds no address where the others do, and so names the columns. */
function isHeader(text: Text, from: number, to: number, separator: number, index: number, isRange: boolean): boolean {
  const field: Field = { from, to: from }
  if (!fieldAt(text.bytes, from, to, separator, index, field)) return false
  const range = rangeBuffer()
  if (isRange) return readBound(text.bytes, field.from, field.to, range.start) === 0
  return !readRange(text.bytes, field.from, field.to, range)
}

/** Finds the columns with the help of the first row. */
function layoutOf(text: Text, row: Row, { column, columns, where }: Choice): Layout | Explanation {
  const { bytes } = text
  const separator = separatorOf(bytes, row[2], row[3])
  const [from, to] = rowOf(bytes, row[1], row[2], row[3], separator)
  const comment = commentBefore(bytes, text.from, from)
  const names: Names = {
    row: fieldsOf(bytes, from, to, separator),
    comment: comment === undefined ? [] : fieldsOf(bytes, ...comment, separatorOf(bytes, ...comment)),
  }
  const guessed = column === undefined && columns === undefined ? guess(text, names) : undefined
  if (guessed !== undefined && 'code' in guessed) return guessed
  const wanted: readonly Column[] = guessed?.map((index) => index + 1) ?? columns ?? [column as Column]
  const all = [...wanted, ...(where ? [where.column] : [])].map((name) => indexOf(name, names))
  const missing = all.indexOf(undefined)
  if (missing >= 0) {
    const name = String(wanted[missing] ?? where?.column)
    const hint = `the columns are ${shown(names.row)}; a number counts columns from 1`
    return { code: 'E036', message: `no column is named ${quote(name)}`, hint }
  }
  const [first, second] = all.map((found) => found?.index as number) as [number, number]
  const isRange = wanted.length === 2
  const loss = isRange ? undefined : lossOf(text, first)
  if (loss !== undefined) return loss
  return {
    separator,
    entry: isRange ? [first, second] : [first],
    where: where && [all.at(-1)?.index as number, String(where.equals)],
    header: all.some((found) => found?.header) || isHeader(text, from, to, separator, first, isRange),
  }
}

/** Adds the entries of rows to `sink`. */
function rowReader(bytes: Buffer, sink: Sink, { separator, entry: [first, last], where }: Layout): (row: Row) => void {
  const range = rangeBuffer()
  const [one, other]: readonly [Field, Field] = [
    { from: 0, to: 0 },
    { from: 0, to: 0 },
  ]
  /** Finds a field, or reports the row. */
  const find = ([line, lineFrom, from, to]: Row, index: number, field: Field): boolean => {
    const has = fieldAt(bytes, ...rowOf(bytes, lineFrom, from, to, separator), separator, index, field)
    const message = `the row has no column ${index + 1}`
    if (!has) sink.bad(line, lineFrom, from, to, () => ({ code: 'E020', message }))
    return has
  }
  const isChosen = (row: Row): boolean => {
    if (where === undefined) return true
    const [index, equals] = where
    return find(row, index, one) && fieldText(bytes, one) === equals
  }
  return (row) => {
    const [line, lineFrom] = row
    if (!isChosen(row) || !find(row, first, one)) return
    if (last === undefined) {
      if (readRange(bytes, one.from, one.to, range)) sink.add(range, line)
      else sink.bad(line, lineFrom, one.from, Math.max(one.to, one.from), explainRange)
    } else if (find(row, last, other)) {
      const explain = (): Explanation => explainPair(fieldText(bytes, one), fieldText(bytes, other))
      const [from, to] = [Math.min(one.from, other.from), Math.max(one.to, other.to)]
      if (readPair(bytes, one, other, range)) sink.add(range, line)
      else sink.bad(line, lineFrom, from, to, explain)
    }
  }
}

/** Adds the entry of every row to `sink`. */
export function readCsv(text: Text, sink: Sink, choice: Choice): void {
  let read: ((row: Row) => void) | undefined
  eachLine(text.bytes, text.from, (...row) => {
    const [line, lineFrom, from, to] = row
    if (read !== undefined) {
      read(row)
      return
    }
    const layout = layoutOf(text, row, choice)
    if ('code' in layout) {
      sink.refuse(line, lineFrom, from, to, layout)
      read = () => undefined
      return
    }
    read = rowReader(text.bytes, sink, layout)
    if (!layout.header) read(row)
  })
}
