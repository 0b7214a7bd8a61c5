// List files: one address, CIDR or range per line. Read in one pass over the bytes; a string is made only for a line
// that is wrong.

import type { Location } from '../diagnostics.ts'
import { readIpv4 } from '../model/text.ts'
import type { EntryCollector } from './entries.ts'
import { explainRange, rangeBuffer, readRange } from './range.ts'
import type { Report } from './report.ts'
import { lineAt, markLength } from './source.ts'

const NEWLINE = 0x0a
const HASH = 0x23

/** Errors kept of one file; more are counted. */
const KEPT = 20

/** Where the entries of a file go. */
export interface Target {
  readonly v4: EntryCollector
  readonly v6: EntryCollector
  /** Index of the file and of the set, as in Entries. */
  readonly file: number
  readonly set: number
}

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0d

/** The place of `bytes[from, to)` in the line that begins at `lineFrom`. */
function locate(path: string, bytes: Buffer, line: number, lineFrom: number, from: number, to: number): Location {
  const column = bytes.toString('utf8', lineFrom, from).length + 1
  const length = bytes.toString('utf8', from, to).length
  return { file: path, line, column, length, text: lineAt(bytes, lineFrom).subarray(0, 4096).toString() }
}

function explain(text: string): ReturnType<typeof explainRange> {
  if (/^[;!/]/.test(text)) {
    return {
      code: 'E020',
      message: 'a comment does not begin like this in a list file',
      hint: 'comments begin with "#"',
    }
  }
  return explainRange(text)
}

/** Index of the first newline in `bytes` from `from` on, or its length. */
function lineEnd(bytes: Buffer, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at] !== NEWLINE) at++
  return at
}

/** Index behind the last byte of `bytes[from, to)` that is neither comment nor space. */
function contentEnd(bytes: Buffer, from: number, to: number): number {
  let end = from
  while (end < to && bytes[end] !== HASH) end++
  while (end > from && isSpace(bytes[end - 1])) end--
  return end
}

/** Where the digits and dots end that `scanIpv4` read. */
let scanned = 0

/** The address at the start of `bytes[from…]` and nothing else up to the end of its line, or -1: most lines, in one pass. */
function scanIpv4(bytes: Buffer, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at] !== NEWLINE && at - from < 16) at++
  scanned = at
  return at === bytes.length || bytes[at] === NEWLINE ? readIpv4(bytes, from, at) : -1
}

/** Adds every entry of a list file to `target`, reports lines that are none. Returns how many lines hold something. */
export function readList(path: string, bytes: Buffer, target: Target, report: Report): number {
  const { v4, v6, file, set } = target
  const range = rangeBuffer()
  let found = 0
  let wrong = 0
  for (let lineFrom = markLength(bytes), line = 1; lineFrom < bytes.length; line++) {
    const address = scanIpv4(bytes, lineFrom)
    if (address >= 0) {
      found++
      v4.addAddress(address, file, line, set)
      lineFrom = scanned + 1
      continue
    }
    const end = lineEnd(bytes, lineFrom)
    let from = lineFrom
    while (isSpace(bytes[from])) from++
    const to = contentEnd(bytes, from, end)
    if (to > from) {
      found++
      if (readRange(bytes, from, to, range)) {
        const collector = range.family === 4 ? v4 : v6
        collector.add(range.start, range.end, file, line, set)
      } else if (++wrong <= KEPT) {
        const { code, message, hint } = explain(bytes.toString('utf8', from, Math.min(to, from + 4096)))
        report.error(code, locate(path, bytes, line, lineFrom, from, to), message, hint)
      }
    }
    lineFrom = end + 1
  }
  report.omit(Math.max(0, wrong - KEPT))
  return found
}
