// Plain lists: one address, CIDR or range per line, comments behind `#` or `;`. Covers FireHOL's .netset and .ipset
// files and the text form of Spamhaus DROP. Read in one pass over the bytes; a string is made only for a line that is
// wrong.

import { readIpv4 } from '../../model/text.ts'
import { type Explanation, explainRange, rangeBuffer, readRange } from '../range.ts'
import { findByte, HASH, isSpace, lineEnd, NEWLINE, SEMICOLON, skipSpaces } from './lines.ts'
import type { Sink, Text } from './sink.ts'

const DASH = 0x2d

/** Why a line of a plain list is no entry. */
export function explainLine(text: string): Explanation {
  if (/^[!/]/.test(text)) {
    const message = 'a comment does not begin like this in a list file'
    return { code: 'E020', message, hint: 'comments begin with "#" or ";"' }
  }
  const spaced = text.replace(/\s+-\s+|\s+-|-\s+/, '-')
  const explanation = explainRange(spaced)
  if (/^["\w.:/]+\s*[,\t]/.test(text))
    return { ...explanation, hint: 'for CSV name the column that holds the addresses: `column: NAME`' }
  return explanation
}

/** Index behind the last byte of `bytes[from, to)` that is neither comment nor space. */
function contentEnd(bytes: Buffer, from: number, to: number): number {
  let end = from
  while (end < to && bytes[end] !== HASH && bytes[end] !== SEMICOLON) end++
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

/** `first - last`, as some lists write a range, without its spaces; undefined if there are none. */
function withoutSpaces(bytes: Buffer, from: number, to: number): Buffer | undefined {
  const dash = findByte(bytes, DASH, from, to)
  if (dash <= from || dash >= to - 1 || !(isSpace(bytes[dash - 1]) || isSpace(bytes[dash + 1]))) return undefined
  return Buffer.from(bytes.toString('latin1', from, to).replace(/[ \t]*-[ \t]*/, '-'), 'latin1')
}

/** Adds every entry of a plain list to `sink`. */
export function readPlain({ bytes, from: start }: Text, sink: Sink): void {
  const range = rangeBuffer()
  for (let lineFrom = start, line = 1; lineFrom < bytes.length; line++) {
    const address = scanIpv4(bytes, lineFrom)
    if (address >= 0) {
      sink.addAddress(address, line)
      lineFrom = scanned + 1
      continue
    }
    const end = lineEnd(bytes, lineFrom)
    const from = skipSpaces(bytes, lineFrom, end)
    const to = contentEnd(bytes, from, end)
    if (to > from) {
      if (readRange(bytes, from, to, range)) sink.add(range, line)
      else {
        const joined = to - from <= 128 ? withoutSpaces(bytes, from, to) : undefined
        if (joined !== undefined && readRange(joined, 0, joined.length, range)) sink.add(range, line)
        else sink.bad(line, lineFrom, from, to, explainLine)
      }
    }
    lineFrom = end + 1
  }
}
