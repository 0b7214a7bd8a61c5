// Lines and words of a feed, as offsets into its bytes.

export const NEWLINE = 0x0a
export const HASH = 0x23
export const SEMICOLON = 0x3b

export const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0d

/** Index of the first newline in `bytes` from `from` on, or its length. */
export function lineEnd(bytes: Buffer, from: number): number {
  let at = from
  while (at < bytes.length && bytes[at] !== NEWLINE) at++
  return at
}

/** Index of the first byte of `bytes[from, to)` that is not a space, or `to`. */
export function skipSpaces(bytes: Buffer, from: number, to: number): number {
  let at = from
  while (at < to && isSpace(bytes[at])) at++
  return at
}

/** Index after the last byte of `bytes[from, to)` that is not a space. */
export function trimEnd(bytes: Buffer, from: number, to: number): number {
  let end = to
  while (end > from && isSpace(bytes[end - 1])) end--
  return end
}

/** Index of the first space in `bytes[from, to)`, or `to`. */
export function wordEnd(bytes: Buffer, from: number, to: number): number {
  let at = from
  while (at < to && !isSpace(bytes[at])) at++
  return at
}

/** Index of the first `byte` in `bytes[from, to)`, or -1. `indexOf` would search the whole rest of the file. */
export function findByte(bytes: Buffer, byte: number, from: number, to: number): number {
  for (let at = from; at < to; at++) if (bytes[at] === byte) return at
  return -1
}

/** Whether `bytes[from, to)` starts with the ASCII text `word`. */
export function startsWith(bytes: Buffer, from: number, to: number, word: string): boolean {
  if (to - from < word.length) return false
  for (let at = 0; at < word.length; at++) if (bytes[from + at] !== word.charCodeAt(at)) return false
  return true
}

/** A line without the spaces around it; `from === to` for a blank one. */
export type VisitLine = (line: number, lineFrom: number, from: number, to: number) => void

/**
 * Calls `visit` for every line that is neither blank nor a comment (`#` or `;` at its start). `firstLine` is the number
 * of the line that starts at `start`. Returns the number of the line after the last.
 */
export function eachLine(bytes: Buffer, start: number, visit: VisitLine, firstLine = 1): number {
  let line = firstLine
  for (let lineFrom = start; lineFrom < bytes.length; line++) {
    const end = lineEnd(bytes, lineFrom)
    const from = skipSpaces(bytes, lineFrom, end)
    const first = bytes[from]
    if (from < end && first !== HASH && first !== SEMICOLON) visit(line, lineFrom, from, trimEnd(bytes, from, end))
    lineFrom = end + 1
  }
  return line
}
