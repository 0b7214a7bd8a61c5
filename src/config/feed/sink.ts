// Output of the readers of all formats: entries go into columns unless the rules of the feed exclude them, and invalid
// lines become errors or are counted as skipped.

import type { Location } from '../../diagnostics.ts'
import { hostMask } from '../../model/text.ts'
import type { EntryCollector } from '../entries/entries.ts'
import type { Explanation, RangeBuffer } from '../entries/range.ts'
import type { Report } from '../text/report.ts'
import { lineAt } from '../text/source.ts'
import { isPrivate4, withoutPrivate } from './private.ts'

/** Errors kept per file; the rest is counted. */
const KEPT = 20

/** Line numbers kept per tally. */
const NAMED = 3

/** The text of a list file, as its reader gets it. */
export interface Text {
  readonly path: string
  readonly bytes: Buffer
  /** Start of the text, after a byte order mark, and the number of its first line. */
  readonly from: number
  readonly firstLine: number
}

/** Columns that take the entries of a file. */
export interface Columns {
  readonly v4: EntryCollector
  readonly v6: EntryCollector
  /** Number of lines with a reported error. */
  wrong: number
}

/** Entries that a feed may not contain, and the treatment of invalid lines. */
export interface Rules {
  readonly onBadLine: 'error' | 'skip'
  readonly excludePrivate: boolean
  /** Shortest prefix length; an entry with more addresses than such a prefix is left out. */
  readonly minPrefix: { readonly v4: number; readonly v6: number }
}

/** Lines of one kind: their count, and the first few line numbers. */
export class Tally {
  count = 0
  readonly lines: number[] = []

  add(line: number): void {
    if (++this.count <= NAMED) this.lines.push(line)
  }
}

/** Whether a range has more addresses than a prefix of `length` bits. */
function isWider({ family, start, end }: RangeBuffer, length: number): boolean {
  let borrow = 0
  for (let word = family === 4 ? 0 : 3; word >= 0; word--) {
    let difference = (end[word] as number) - (start[word] as number) - borrow
    borrow = difference < 0 ? 1 : 0
    difference >>>= 0
    if ((difference & ~hostMask(length, word)) !== 0) return true
  }
  return false
}

/** The place of `bytes[from, to)` in the line that starts at `lineFrom`. */
function locate({ path, bytes }: Text, line: number, lineFrom: number, from: number, to: number): Location {
  const column = bytes.toString('utf8', lineFrom, from).length + 1
  const length = Math.max(1, bytes.toString('utf8', from, to).length)
  return { file: path, line, column, length, text: lineAt(bytes, lineFrom).subarray(0, 4096).toString() }
}

/** A column of CSV or field of JSON: its name, or its number from 1. */
export type Column = string | number

/** Which columns or fields of a file hold the entries, and which of its rows count. */
export interface Choice {
  readonly column: Column | undefined
  /** The columns with the first and last address of ranges. */
  readonly columns: readonly [first: Column, last: Column] | undefined
  /** Only rows with this value in a column. */
  readonly where: { readonly column: Column; readonly equals: string | number | boolean } | undefined
}

export class Sink {
  /** Lines with an entry, used or not. */
  found = 0
  readonly skipped = new Tally()
  readonly private = new Tally()
  readonly wide = new Tally()
  readonly #columns: Columns
  readonly #before: number
  readonly #text: Text
  readonly #rules: Rules
  readonly #excludePrivate: boolean
  readonly #report: Report

  constructor(text: Text, columns: Columns, rules: Rules, report: Report) {
    this.#columns = columns
    this.#before = columns.v4.length + columns.v6.length
    this.#text = text
    this.#rules = rules
    this.#excludePrivate = rules.excludePrivate
    this.#report = report
  }

  /** Entries that went into the columns. */
  get used(): number {
    return this.#columns.v4.length + this.#columns.v6.length - this.#before
  }

  /** Adds one IPv4 address. */
  addAddress(address: number, line: number): void {
    this.found++
    if (this.#excludePrivate && isPrivate4(address)) {
      this.private.add(line)
      return
    }
    this.#columns.v4.addAddress(address, line)
  }

  add(range: RangeBuffer, line: number): void {
    this.found++
    const { excludePrivate, minPrefix } = this.#rules
    if (isWider(range, range.family === 4 ? minPrefix.v4 : minPrefix.v6)) {
      this.wide.add(line)
      return
    }
    const collector = range.family === 4 ? this.#columns.v4 : this.#columns.v6
    const rest = excludePrivate ? withoutPrivate(range) : undefined
    if (rest === undefined) {
      collector.add(range.start, range.end, line)
      return
    }
    this.private.add(line)
    const width = range.family === 4 ? 1 : 4
    for (let at = 0; at < rest.length * width; at += width) {
      collector.add(rest.start.subarray(at, at + width), rest.end.subarray(at, at + width), line)
    }
  }

  /** Reports or counts an invalid line, which starts at `lineFrom`; `explain` gets its part `bytes[from, to)`. */
  bad(line: number, lineFrom: number, from: number, to: number, explain: (text: string) => Explanation): void {
    if (this.#rules.onBadLine === 'skip') {
      this.skipped.add(line)
      return
    }
    if (this.#columns.wrong >= KEPT) {
      this.#columns.wrong++
      this.#report.omit(1)
      return
    }
    this.refuse(line, lineFrom, from, to, explain(this.#text.bytes.toString('utf8', from, Math.min(to, from + 4096))))
  }

  /** Reports an error that makes the whole file unreadable, whatever `on_bad_line` says. */
  refuse(line: number, lineFrom: number, from: number, to: number, { code, message, hint }: Explanation): void {
    this.#columns.wrong++
    this.#report.error(code, locate(this.#text, line, lineFrom, from, to), message, hint)
  }
}
