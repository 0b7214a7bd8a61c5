// Plain lists: one address, CIDR or range per line, comments after `#` or `;`. Covers the .netset and .ipset files of
// FireHOL and the text form of Spamhaus DROP. Reads the bytes in one pass and makes a string only of an invalid line.

import { parseAddress, parseRange } from '../../model/text.ts'
import { type Explanation, explainRange, maskLength, rangeBuffer, readRange } from '../entries/range.ts'
import { findByte, HASH, isSpace, lineEnd, NEWLINE, SEMICOLON, skipSpaces } from './lines.ts'
import type { Sink, Text } from './sink.ts'

const DASH = 0x2d
const DOT = 0x2e

/** Why a line of a plain list is not an entry. */
export function explainLine(text: string): Explanation {
  if (/^[!/]/.test(text)) {
    const message = 'a list file has no comments of this kind'
    return { code: 'E020', message, hint: 'start comments with "#" or ";"' }
  }
  const spaced = text.replace(/\s+-\s+|\s+-|-\s+/, '-')
  const explanation = explainRange(spaced)
  if (/^["\w.:/]+\s*[,\t]/.test(text)) {
    const ranges = '`columns: [FIRST, LAST]` for the first and last address of ranges'
    return {
      ...explanation,
      hint: `if this is CSV, name the column that holds the addresses, \`column: NAME\`, or ${ranges}`,
    }
  }
  return explainWords(text) ?? explanation
}

/** Second addresses on a line are netmasks from this length on: 0.0.0.0 and 128.0.0.0 may be anything. */
const SHORTEST_MASK = 8

/** Why an entry with more text behind it is invalid; undefined for other lines. */
function explainWords(text: string): Explanation | undefined {
  const [, entry = '', rest = ''] = /^(\S+)\s+(\S.*)$/.exec(text) ?? []
  if (parseRange(entry) === undefined) return undefined
  const code = 'E020'
  const [second = ''] = rest.split(/\s/)
  if (parseAddress(second) !== undefined) {
    const length = maskLength(second)
    if (length !== undefined && length >= SHORTEST_MASK) return explainRange(`${entry}/${second}`)
    const range = parseRange(`${entry}-${second}`) ? `${entry}-${second} for the range, or ` : ''
    return { code, message: 'two addresses stand on one line', hint: `write ${range}each address on its own line` }
  }
  const hint = `start the text with "#": ${entry} # ${rest}; for a whole file: sed -E 's/^([^[:space:]#;]+)[[:space:]]+([^#;])/\\1 # \\2/' FILE`
  return { code, message: `text follows the entry ${entry}`, hint }
}

/** Index after the last byte of `bytes[from, to)` that belongs to neither a comment nor a space. */
function contentEnd(bytes: Buffer, from: number, to: number): number {
  let end = from
  while (end < to && bytes[end] !== HASH && bytes[end] !== SEMICOLON) end++
  while (end > from && isSpace(bytes[end - 1])) end--
  return end
}

/** Index at which `scanOctet` or `scanIpv4` stopped. */
let scanned = 0

/** The number from 0 to 255 at the start of `bytes[from…]`, or -1. */
function scanOctet(bytes: Buffer, from: number): number {
  const most = Math.min(from + 3, bytes.length)
  let value = 0
  let at = from
  for (; at < most; at++) {
    const digit = (bytes[at] as number) - 0x30
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
  }
  scanned = at
  return at === from || value > 255 || (bytes[from] === 0x30 && at > from + 1) ? -1 : value
}

/** Reads a line that holds one IPv4 address and nothing else, as most lines do, in one pass; -1 for any other line. */
function scanIpv4(bytes: Buffer, from: number): number {
  let address = 0
  let at = from
  for (let part = 0; part < 4; part++) {
    const octet = scanOctet(bytes, at)
    if (octet < 0 || (part < 3 && bytes[scanned] !== DOT)) return -1
    address = address * 256 + octet
    at = scanned + 1
  }
  return scanned === bytes.length || bytes[scanned] === NEWLINE ? address : -1
}

/** Removes the spaces from `first - last`, as some lists write a range; undefined if the text is not such a range. */
function withoutSpaces(bytes: Buffer, from: number, to: number): Buffer | undefined {
  const dash = findByte(bytes, DASH, from, to)
  if (dash <= from || dash >= to - 1 || !(isSpace(bytes[dash - 1]) || isSpace(bytes[dash + 1]))) return undefined
  return Buffer.from(bytes.toString('latin1', from, to).replace(/[ \t]*-[ \t]*/, '-'), 'latin1')
}

/** Adds every entry of a plain list to `sink`. Returns the number of the line after the last. */
export function readPlain({ bytes, from: start, firstLine }: Text, sink: Sink): number {
  const range = rangeBuffer()
  let line = firstLine
  for (let lineFrom = start; lineFrom < bytes.length; line++) {
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
  return line
}
