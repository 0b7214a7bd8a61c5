// A range whose first and last address stand in separate fields, each as an address or as a decimal number (GeoIP
// legacy, IP2Location). A number below 2^32 is an IPv4 address, a larger one an IPv6 address.

import { compareAddresses, formatAddress } from '../../model/text.ts'
import { quote } from '../text/show.ts'
import { type Explanation, explainRange, isMapped, type RangeBuffer, readAddress } from './range.ts'

/** Digits of 2^128 − 1. */
const MOST_DIGITS = 39

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39

/** Reads a decimal number as an address into `words`. Returns its family, or 0 if the text is not such a number. */
function readInteger(bytes: Buffer, from: number, to: number, words: Uint32Array): 4 | 6 | 0 {
  if (from === to || to - from > MOST_DIGITS || (bytes[from] === 0x30 && to - from > 1)) return 0
  for (let at = from; at < to; at++) if (!isDigit(bytes[at])) return 0
  if (to - from <= 15) {
    const value = Number(bytes.toString('latin1', from, to))
    if (value < 2 ** 32) {
      words[0] = value
      return 4
    }
  }
  let rest = BigInt(bytes.toString('latin1', from, to))
  if (rest >= 1n << 128n) return 0
  for (let word = 3; word >= 0; word--) {
    words[word] = Number(rest & 0xffff_ffffn)
    rest >>= 32n
  }
  return 6
}

/** Reads an address, or a number, into `words`. Returns its family, or 0. */
export function readBound(bytes: Buffer, from: number, to: number, words: Uint32Array): 4 | 6 | 0 {
  return readAddress(bytes, from, to, words) || readInteger(bytes, from, to, words)
}

/** Bounds of a field. */
export interface Field {
  from: number
  to: number
}

/** Reads the range between two fields into `out`. Returns false if they are not its bounds; `explainPair` says why. */
export function readPair(bytes: Buffer, first: Field, last: Field, out: RangeBuffer): boolean {
  const family = readBound(bytes, first.from, first.to, out.start)
  if (family === 0 || readBound(bytes, last.from, last.to, out.end) !== family) return false
  out.family = family
  if (family === 4) return (out.start[0] as number) <= (out.end[0] as number)
  return compareAddresses(out.start, out.end) <= 0 && !isMapped(out)
}

/** An address or number as an address in canonical form; undefined if it is neither. */
function asAddress(text: string): string | undefined {
  const words = new Uint32Array(4)
  const bytes = Buffer.from(text)
  const family = readBound(bytes, 0, bytes.length, words)
  return family === 0 ? undefined : formatAddress(family, words)
}

/** Why two fields are not the bounds of a range. */
export function explainPair(first: string, last: string): Explanation {
  const [from, to] = [asAddress(first), asAddress(last)]
  if (from !== undefined && to !== undefined) return explainRange(`${from}-${to}`)
  const [wrong, which] = from === undefined ? [first, 'first'] : [last, 'last']
  return { code: 'E020', message: `${quote(wrong)} is not an address that can be the ${which} of a range` }
}
