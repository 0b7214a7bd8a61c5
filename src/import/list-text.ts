// The content of a list file, one range per line, as bytes: a million strings would cost more than all the rest.

import type { AddressSet, Ranges } from '../model/address.ts'
import { WIDTH } from '../model/ranges.ts'
import { formatRange } from '../model/text.ts'

const NEWLINE = 0x0a
const DOT = 0x2e

/** Longest line in bytes: `first-last` and a newline, by family. */
const LONGEST = { 4: 32, 6: 92 } as const

/** Writes an octet in decimal at `start`. Returns the index after it. */
function writeOctet(out: Uint8Array, start: number, octet: number): number {
  let at = start
  if (octet > 99) out[at++] = 0x30 + Math.floor(octet / 100)
  if (octet > 9) out[at++] = 0x30 + (Math.floor(octet / 10) % 10)
  out[at++] = 0x30 + (octet % 10)
  return at
}

function writeAddress4(out: Uint8Array, start: number, word: number): number {
  let at = start
  for (const shift of [24, 16, 8]) {
    at = writeOctet(out, at, (word >>> shift) & 255)
    out[at++] = DOT
  }
  return writeOctet(out, at, word & 255)
}

function writeRanges(out: Buffer, from: number, { family, length, start, end }: Ranges): number {
  const width = WIDTH[family]
  let at = from
  for (let index = 0; index < length; index++) {
    const single = family === 4 && start[index] === end[index]
    if (single) at = writeAddress4(out, at, start[index] as number)
    else at += out.write(formatRange(family, start, end, index * width), at, 'latin1')
    out[at++] = NEWLINE
  }
  return at
}

/** `head`, then every range on a separate line. */
export function listText(head: string, { v4, v6 }: AddressSet): Uint8Array {
  const out = Buffer.allocUnsafe(Buffer.byteLength(head) + v4.length * LONGEST[4] + v6.length * LONGEST[6])
  const begin = out.write(head, 'utf8')
  return out.subarray(0, writeRanges(out, writeRanges(out, begin, v4), v6))
}
