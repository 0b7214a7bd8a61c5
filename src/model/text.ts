// Parses and formats addresses. Readers take bytes, so that parsing a list file of a million lines creates no string or
// object per line; the functions on strings copy into a buffer and call these readers. IPv4 is a strict dotted quad:
// inet_aton's `010` (octal 8), `0x7f` and `10.1` are refused, because a reader and a machine would disagree about them.
// IPv6 is RFC 4291 §2.2, without zone ids.

import type { Address, Family, Ranges } from './address.ts'

/** All addresses from `start` to `end`, both included; one word each for IPv4, four for IPv6. */
export interface AddressRange {
  readonly family: Family
  readonly start: Uint32Array
  readonly end: Uint32Array
}

/** An `AddressRange` that is one prefix; `length` is the prefix length in bits. */
export interface Prefix extends AddressRange {
  readonly length: number
}

const DOT = 0x2e
const COLON = 0x3a

/** The longest spelling of an address, `ffff:…:255.255.255.255`, is 45 bytes; the longest range has two and a dash. */
const LONGEST_TEXT = 91

/** Number of words an address of `family` has. */
export const wordsOf = (family: Family): 1 | 4 => (family === 4 ? 1 : 4)

/** Parses `bytes[from, to)` as an IPv4 address: an unsigned 32-bit number, or -1. */
export function readIpv4(bytes: Uint8Array, from: number, to: number): number {
  let address = 0
  let octet = 0
  let digits = 0
  let dots = 0
  for (let at = from; at < to; at++) {
    const byte = bytes[at] as number
    if (byte === DOT) {
      if (digits === 0 || ++dots === 4) return -1
      address = address * 256 + octet
      octet = 0
      digits = 0
      continue
    }
    const digit = byte - 0x30
    if (digit < 0 || digit > 9 || (digits > 0 && octet === 0)) return -1
    octet = octet * 10 + digit
    if (octet > 255) return -1
    digits++
  }
  return dots === 3 && digits > 0 ? address * 256 + octet : -1
}

/** Value of one hexadecimal digit, or -1. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

const groups = new Uint16Array(8)

/** Parses `bytes[from, to)` as one group of up to four hexadecimal digits; -1 if it is not one. */
function readGroup(bytes: Uint8Array, from: number, to: number): number {
  if (from === to || to - from > 4) return -1
  let value = 0
  for (let at = from; at < to; at++) {
    const digit = hexDigit(bytes[at] as number)
    if (digit < 0) return -1
    value = value * 16 + digit
  }
  return value
}

/** Index of the first colon or dot in `bytes[from, to)`, or `to`. */
function endOfGroup(bytes: Uint8Array, from: number, to: number): number {
  let at = from
  while (at < to && bytes[at] !== COLON && bytes[at] !== DOT) at++
  return at
}

/**
 * Reads groups separated by single colons into `groups` from index `first` on.
 *
 * @param dotted whether the last 32 bits may be written as a dotted quad
 * @returns the number of groups, 0 for no bytes, or -1 if there are too many or one is malformed
 */
function readGroups(bytes: Uint8Array, from: number, to: number, first: number, dotted: boolean): number {
  if (from === to) return 0
  let count = first
  for (let at = from; at <= to; ) {
    const end = endOfGroup(bytes, at, to)
    const quad = end < to && bytes[end] === DOT
    if (quad && !dotted) return -1
    const value = quad ? readIpv4(bytes, at, to) : readGroup(bytes, at, end)
    if (value < 0 || count + (quad ? 2 : 1) > 8) return -1
    if (quad) groups[count++] = value >>> 16
    groups[count++] = value & 0xffff
    at = quad ? to + 1 : end + 1
  }
  return count - first
}

/** Index of `::` in `bytes[from, to)`, or -1. */
function findGap(bytes: Uint8Array, from: number, to: number): number {
  for (let at = from; at + 1 < to; at++) if (bytes[at] === COLON && bytes[at + 1] === COLON) return at
  return -1
}

/**
 * Parses `bytes[from, to)` as an IPv6 address into `out[offset, offset + 4)`; returns false and leaves `out` alone
 * otherwise.
 */
export function readIpv6(bytes: Uint8Array, from: number, to: number, out: Uint32Array, offset = 0): boolean {
  const gap = findGap(bytes, from, to)
  const head = readGroups(bytes, from, gap < 0 ? to : gap, 0, gap < 0)
  if (head < 0) return false
  const tail = gap < 0 ? 0 : readGroups(bytes, gap + 2, to, head, true)
  if (tail < 0 || (gap < 0 ? head !== 8 : head + tail > 7)) return false
  groups.copyWithin(8 - tail, head, head + tail)
  groups.fill(0, head, 8 - tail)
  for (let word = 0; word < 4; word++) {
    out[offset + word] = (groups[word * 2] as number) * 65536 + (groups[word * 2 + 1] as number)
  }
  return true
}

const scratch = new Uint8Array(LONGEST_TEXT)

/** Copies `text` into `scratch`; returns its length, or -1 if it cannot be an address. */
function toScratch(text: string): number {
  if (text.length > LONGEST_TEXT) return -1
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code > 0x7f) return -1
    scratch[at] = code
  }
  return text.length
}

/** Parses `bytes[from, to)` as an address of either family. */
function readAddress(bytes: Uint8Array, from: number, to: number): Address | undefined {
  const address = readIpv4(bytes, from, to)
  if (address >= 0) return { family: 4, words: Uint32Array.of(address) }
  const words = new Uint32Array(4)
  return readIpv6(bytes, from, to, words) ? { family: 6, words } : undefined
}

/** Parses `bytes[from, to)` as a prefix length of `family`: decimal, no leading zeros; -1 otherwise. */
export function readPrefixLength(bytes: Uint8Array, from: number, to: number, family: Family): number {
  if (from === to || to - from > 3 || (bytes[from] === 0x30 && to - from > 1)) return -1
  let length = 0
  for (let at = from; at < to; at++) {
    const digit = (bytes[at] as number) - 0x30
    if (digit < 0 || digit > 9) return -1
    length = length * 10 + digit
  }
  return length <= (family === 4 ? 32 : 128) ? length : -1
}

/**
 * Mask of the host bits in word `word` of a prefix of `length` bits: 0xffffffff for a word behind the prefix, 0 before
 * it.
 */
export function hostMask(length: number, word: number): number {
  const kept = length - word * 32
  if (kept <= 0) return 0xffffffff
  return kept >= 32 ? 0 : 0xffffffff >>> kept
}

/** The prefix of `length` bits that contains `words`. */
export function prefixOf({ family, words }: Address, length: number): Prefix {
  const start = words.map((word, index) => word & ~hostMask(length, index))
  const end = words.map((word, index) => word | hostMask(length, index))
  return { family, start, end, length }
}

/** Compares two addresses of one family: 0 = equal, negative = the left one is lower, positive = it is higher. */
export function compareAddresses(left: Uint32Array, right: Uint32Array): number {
  for (let word = 0; word < left.length; word++) {
    const difference = (left[word] as number) - (right[word] as number)
    if (difference !== 0) return difference
  }
  return 0
}

export const sameAddress = (left: Address, right: Address): boolean =>
  left.family === right.family && compareAddresses(left.words, right.words) === 0

/** Whether two ranges have addresses in common. */
export const overlaps = (left: AddressRange, right: AddressRange): boolean =>
  left.family === right.family &&
  compareAddresses(left.start, right.end) <= 0 &&
  compareAddresses(right.start, left.end) <= 0

/** Parses an address such as `192.0.2.1` or `2001:db8::1`; undefined otherwise. */
export function parseAddress(text: string): Address | undefined {
  const length = toScratch(text)
  return length < 0 ? undefined : readAddress(scratch, 0, length)
}

/** Parses a prefix such as `192.0.2.0/24`, or one address; undefined otherwise, or if host bits are set. */
export function parsePrefix(text: string): Prefix | undefined {
  const end = toScratch(text)
  if (end < 0) return undefined
  const slash = text.indexOf('/')
  const address = readAddress(scratch, 0, slash < 0 ? end : slash)
  if (address === undefined) return undefined
  const full = address.family === 4 ? 32 : 128
  const length = slash < 0 ? full : readPrefixLength(scratch, slash + 1, end, address.family)
  if (length < 0) return undefined
  const prefix = prefixOf(address, length)
  return compareAddresses(prefix.start, address.words) === 0 ? prefix : undefined
}

/** Parses an address, a prefix, or a range such as `192.0.2.1-192.0.2.9`; undefined otherwise. */
export function parseRange(text: string): AddressRange | undefined {
  const dash = text.indexOf('-')
  if (dash < 0) return parsePrefix(text)
  const first = parseAddress(text.slice(0, dash))
  const last = parseAddress(text.slice(dash + 1))
  if (first === undefined || last === undefined || first.family !== last.family) return undefined
  if (compareAddresses(first.words, last.words) > 0) return undefined
  return { family: first.family, start: first.words, end: last.words }
}

/** The address at `words[offset]`, in canonical form: a dotted quad, or RFC 5952 for IPv6. */
export function formatAddress(family: Family, words: Uint32Array, offset = 0): string {
  return family === 4 ? formatIpv4(words[offset] as number) : formatIpv6(words, offset)
}

const formatIpv4 = (word: number): string => `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`

/**
 * RFC 5952 §4: lower case, the first longest run of two or more zero groups shortened; §5: IPv4-mapped addresses
 * dotted.
 */
function formatIpv6(words: Uint32Array, offset: number): string {
  const last = words[offset + 3] as number
  if (words[offset] === 0 && words[offset + 1] === 0 && words[offset + 2] === 0xffff)
    return `::ffff:${formatIpv4(last)}`
  const parts: number[] = []
  for (let word = 0; word < 4; word++) {
    const value = words[offset + word] as number
    parts.push(value >>> 16, value & 0xffff)
  }
  let start = -1
  let longest = 1
  for (let at = 0; at < 8; at++) {
    let run = 0
    while (at + run < 8 && parts[at + run] === 0) run++
    if (run > longest) [start, longest] = [at, run]
    at += run
  }
  const hex = (from: number, to: number): string =>
    parts
      .slice(from, to)
      .map((part) => part.toString(16))
      .join(':')
  return start < 0 ? hex(0, 8) : `${hex(0, start)}::${hex(start + longest, 8)}`
}

/** Length of the prefix that spans exactly `start[offset]` to `end[offset]`; -1 if no prefix does. */
export function prefixLength(family: Family, start: Uint32Array, end: Uint32Array, offset = 0): number {
  let length = 0
  let open = false
  for (let word = 0; word < wordsOf(family); word++) {
    const low = start[offset + word] as number
    const high = end[offset + word] as number
    const host = (low ^ high) >>> 0
    // Host bits must be a run of ones down to bit 0, zero in the first address and one in the last.
    if ((host & (host + 1)) !== 0 || (low & host) !== 0 || (open && host !== 0xffffffff)) return -1
    length += Math.clz32(host)
    open ||= host !== 0
  }
  return length
}

/**
 * Formats the range `start[offset]` to `end[offset]`: one address as `a`, a prefix as `a/length`, else `first-last`.
 */
export function formatRange(family: Family, start: Uint32Array, end: Uint32Array, offset = 0): string {
  const first = formatAddress(family, start, offset)
  const length = prefixLength(family, start, end, offset)
  if (length < 0) return `${first}-${formatAddress(family, end, offset)}`
  return length === (family === 4 ? 32 : 128) ? first : `${first}/${length}`
}

/** Ranges as texts, one each. */
export const rangeTexts = ({ family, length, start, end }: Ranges): string[] =>
  Array.from({ length }, (_, i) => formatRange(family, start, end, i * wordsOf(family)))
