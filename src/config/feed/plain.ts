// Plain lists: one address, CIDR or range per line, comments behind `#` or `;`. Covers FireHOL's .netset and .ipset
// files and the text form of Spamhaus DROP. Read in one pass over the bytes; a string is made only for a line that is
// wrong.

import { type Explanation, explainRange, rangeBuffer, readRange } from '../range.ts'
import { findByte, HASH, isSpace, lineEnd, NEWLINE, SEMICOLON, skipSpaces } from './lines.ts'
import type { Sink, Text } from './sink.ts'

const DASH = 0x2d
const DOT = 0x2e
const CARRIAGE_RETURN = 0x0d

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

/** Where the line ends that `scanIpv4` read. */
let scanned = 0

/** The address at the start of `bytes[from…]` and nothing else up to the end of its line, or -1: most lines, in one pass. */
function scanIpv4(bytes: Buffer, from: number): number {
  let address = 0
  let octet = 0
  let digits = 0
  let dots = 0
  let at = from
  for (; at < bytes.length; at++) {
    const byte = bytes[at] as number
    if (byte >= 0x30 && byte <= 0x39) {
      if (digits > 0 && octet === 0) return -1
      octet = octet * 10 + byte - 0x30
      if (octet > 255) return -1
      digits++
    } else if (byte === DOT) {
      if (digits === 0 || ++dots === 4) return -1
      address = address * 256 + octet
      octet = 0
      digits = 0
    } else break
  }
  if (bytes[at] === CARRIAGE_RETURN && bytes[at + 1] === NEWLINE) at++
  scanned = at
  const ends = at === bytes.length || bytes[at] === NEWLINE
  return ends && dots === 3 && digits > 0 ? address * 256 + octet : -1
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
