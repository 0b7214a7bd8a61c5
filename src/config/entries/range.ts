// One entry as written, an address, CIDR or first-last range → its bounds. Reading is the fast path, on bytes;
// explaining why a text is not an entry is the slow path, on strings.

import type { Code } from '../../diagnostics.ts'
import type { Address, Family } from '../../model/address.ts'
import { plural } from '../../model/numbers.ts'
import {
  compareAddresses,
  formatAddress,
  hostMask,
  parseAddress,
  parsePrefix,
  parseRange,
  prefixOf,
  readIpv4,
  readIpv6,
  readPrefixLength,
} from '../../model/text.ts'
import { quote } from '../text/show.ts'

/** Output of `readRange`: one word per bound for IPv4, four for IPv6. */
export interface RangeBuffer {
  family: Family
  readonly start: Uint32Array
  readonly end: Uint32Array
}

export const rangeBuffer = (): RangeBuffer => ({ family: 4, start: new Uint32Array(4), end: new Uint32Array(4) })

const SLASH = 0x2f
const DASH = 0x2d

/** Reads an address into `words`. Returns its family, or 0 if the text is not an address. */
export function readAddress(bytes: Uint8Array, from: number, to: number, words: Uint32Array): Family | 0 {
  const address = readIpv4(bytes, from, to)
  if (address >= 0) {
    words[0] = address
    return 4
  }
  return readIpv6(bytes, from, to, words) ? 6 : 0
}

/** Whether a range lies in `::ffff:0:0/96`. IPv6 sockets show IPv4 peers in this form; no packet has such a source. */
export const isMapped = ({ family, start, end }: RangeBuffer): boolean =>
  family === 6 &&
  start[0] === 0 &&
  start[1] === 0 &&
  start[2] === 0xffff &&
  end[2] === 0xffff &&
  end[1] === 0 &&
  end[0] === 0

function readPrefix(bytes: Uint8Array, from: number, slash: number, to: number, out: RangeBuffer): boolean {
  const family = readAddress(bytes, from, slash, out.start)
  if (family === 0) return false
  const length = readPrefixLength(bytes, slash + 1, to, family)
  if (length < 0) return false
  out.family = family
  for (let word = 0; word < (family === 4 ? 1 : 4); word++) {
    const mask = hostMask(length, word)
    const start = out.start[word] as number
    if ((start & mask) !== 0) return false
    out.end[word] = start | mask
  }
  return true
}

function readSpan(bytes: Uint8Array, from: number, dash: number, to: number, out: RangeBuffer): boolean {
  const family = readAddress(bytes, from, dash, out.start)
  if (family === 0 || readAddress(bytes, dash + 1, to, out.end) !== family) return false
  out.family = family
  return family === 4 ? (out.start[0] as number) <= (out.end[0] as number) : compareAddresses(out.start, out.end) <= 0
}

/** Reads `bytes[from, to)` into `out`. Returns false if the text is not an entry; `explainRange` then says why. */
export function readRange(bytes: Uint8Array, from: number, to: number, out: RangeBuffer): boolean {
  let mark = from
  while (mark < to && bytes[mark] !== SLASH && bytes[mark] !== DASH) mark++
  if (mark < to) {
    const read = bytes[mark] === SLASH ? readPrefix : readSpan
    return read(bytes, from, mark, to, out) && !isMapped(out)
  }
  const family = readAddress(bytes, from, to, out.start)
  if (family === 0) return false
  out.family = family
  out.end.set(out.start)
  return !isMapped(out)
}

const scratch = new Uint8Array(128)
const encoder = new TextEncoder()

/** Like `readRange`, for a string. */
export function readRangeText(text: string, out: RangeBuffer): boolean {
  if (text.length > scratch.length) return false
  const { read, written } = encoder.encodeInto(text, scratch)
  return read === text.length && readRange(scratch, 0, written, out)
}

/** Why a text is not an entry. */
export interface Explanation {
  readonly code: Code
  readonly message: string
  readonly hint?: string
}

const bits = (family: Family): number => (family === 4 ? 32 : 128)
const familyName = (family: Family): string => `IPv${family}`

/** `255.255.255.0` → 24; undefined for text that is not a netmask. */
export function maskLength(text: string): number | undefined {
  const mask = parseAddress(text)
  if (mask?.family !== 4) return undefined
  const inverse = ~(mask.words[0] as number) >>> 0
  return (inverse & (inverse + 1)) === 0 ? Math.clz32(inverse) : undefined
}

function explainPrefix(text: string, slash: number): Explanation {
  const [host, suffix] = [text.slice(0, slash), text.slice(slash + 1)]
  const address = parseAddress(host)
  if (address === undefined) return explainAddress(host, text)
  const mask = address.family === 4 ? maskLength(suffix) : undefined
  if (mask !== undefined) {
    const hint = `write ${choices(address, mask)}`
    return { code: 'E022', message: `${quote(text)} has a netmask instead of a prefix length`, hint }
  }
  const length = /^(?:0|[1-9]\d*)$/.test(suffix) ? Number(suffix) : -1
  if (length < 0 || length > bits(address.family)) {
    const message = `${quote(suffix)} is not a prefix length for ${familyName(address.family)}`
    return { code: 'E022', message, hint: `write a number from 0 to ${bits(address.family)}, without leading zeros` }
  }
  return {
    code: 'E021',
    message: `${quote(text)} has bits set after the first ${length}`,
    hint: `write ${choices(address, length)}`,
  }
}

/** `all IPv4 addresses`, `256 addresses` */
function amount(family: Family, length: number): string {
  const free = bits(family) - length
  if (length === 0) return `all ${familyName(family)} addresses`
  return free > 32 ? `2^${free} addresses` : plural(2 ** free, 'address', 'addresses')
}

/** The entries that an address with a prefix length may mean, the narrower one first. */
function choices(address: Address, length: number): string {
  const { family, words } = address
  const { start } = prefixOf(address, length)
  const [single, network] = [formatAddress(family, words), `${formatAddress(family, start)}/${length}`]
  if (compareAddresses(start, words) === 0) return network
  return `${single} for the single address, or ${network} for the network of ${amount(family, length)}`
}

function explainSpan(text: string, dash: number): Explanation {
  const [left, right] = [text.slice(0, dash), text.slice(dash + 1)]
  const first = parseAddress(left)
  const last = parseAddress(right)
  if (first === undefined) return explainAddress(left, text)
  if (last === undefined) {
    const full = left.replace(/[0-9a-fA-F]+$/, right)
    const hint = parseRange(`${left}-${full}`)
      ? `write ${left}-${full}`
      : 'write first-last, for example 192.0.2.10-192.0.2.19'
    return { code: 'E020', message: `${quote(right)} is not an address that can end a range`, hint }
  }
  if (first.family !== last.family) {
    const message = `${quote(text)} starts in ${familyName(first.family)} and ends in ${familyName(last.family)}`
    return { code: 'E024', message, hint: 'write one range per family' }
  }
  return {
    code: 'E023',
    message: `${quote(text)} ends before it starts`,
    hint: `if the two are swapped, write ${right}-${left}`,
  }
}

/** Common mistakes and their hints. The first match wins. */
const MISTAKES: readonly { readonly looks: RegExp; readonly hint: (text: string) => string }[] = [
  { looks: /^\s*$/, hint: () => 'write [] for an empty list' },
  { looks: /\S\s*[\n\r]\s*\S/, hint: () => 'write one address, CIDR or range per entry: it has a line break' },
  { looks: /^\s*[\n\r]|[\n\r]\s*$/, hint: (text) => `remove the line break: ${text.trim()}` },
  { looks: /^\s*\t|\t\s*$/, hint: (text) => `remove the tab: ${text.trim()}` },
  { looks: /^\s|\s$/, hint: (text) => `remove the spaces: ${text.trim()}` },
  { looks: /\s*-\s/, hint: () => 'write a range without spaces: 192.0.2.10-192.0.2.19' },
  { looks: /[\s,;]/, hint: () => 'write one address, CIDR or range per entry' },
  { looks: /^\[.*\]/, hint: () => 'write the address without brackets; ports go into source_port or destination_port' },
  {
    looks: /^https:\/\/\S{1,200}$/,
    hint: (text) => `write the addresses; \`{ url: ${text} }\` as an entry of the config downloads a list`,
  },
  { looks: /^\w+:\/\//, hint: () => 'write the addresses' },
  { looks: /^[\d.]+:\d+$/, hint: () => 'write the address alone; ports go into source_port or destination_port' },
  { looks: /%/, hint: () => 'write the address without its zone; `interfaces` names the interface' },
  { looks: /\*/, hint: () => 'write a CIDR instead of "*": 192.0.2.* is 192.0.2.0/24' },
  { looks: /^(?:\d+\.)*0\d+(?:\.\d+)*$/, hint: () => 'write the numbers without leading zeros' },
  {
    looks: /^\d+(?:\.\d+){0,2}$/,
    hint: () => 'an IPv4 address has four numbers; a CIDR too, for example 192.0.2.0/24',
  },
  { looks: /^[\d.]+$/, hint: () => 'an IPv4 address has four numbers from 0 to 255' },
  {
    looks: /^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/,
    hint: () => 'an IPv6 address has eight groups, and "::" once for a run of zeros',
  },
  {
    looks: /^[A-Z]{2}$/,
    hint: (text) => `write addresses; for a country, \`country: ${text}\` as an entry of the config`,
  },
  {
    looks: /^AS\d+$/i,
    hint: (text) => `write addresses; for a network's own, \`asn: ${text.slice(2)}\` as an entry of the config`,
  },
  {
    looks: /^(?=.{1,253}$)[\w-]+(?:\.[\w-]+)+$/,
    hint: (text) => `write addresses; \`host: ${text}\` as an entry of the config looks the name up`,
  },
  { looks: /[a-z]/i, hint: () => 'write an address or CIDR, for example 192.0.2.0/24 or 2001:db8::/32' },
]

function explainAddress(address: string, text: string): Explanation {
  const mistake = MISTAKES.find(({ looks }) => looks.test(address) || looks.test(text))
  const hint = mistake?.hint(text) ?? 'write it like 192.0.2.1, 192.0.2.0/24, 2001:db8::/32 or 192.0.2.10-192.0.2.19'
  const message = text === '' ? 'the entry is empty' : `${quote(text)} is not an address, CIDR or first-last range`
  return { code: 'E020', message, hint }
}

/** Shortest IPv4 prefix that a hint proposes for IPv6 text: a wider one is a reserved block of IPv6, not a list of hosts. */
const SHORTEST_UNMAPPED = 8

/** Advice about a range inside `::ffff:0:0/96`; undefined for other texts. */
function unmapped(text: string): string | undefined {
  const range = parseRange(text)
  if (range === undefined) return undefined
  const prefix = parsePrefix(text)
  const first = formatAddress(4, range.start, 3)
  const size = (range.end[3] as number) - (range.start[3] as number) + 1
  if (size > 2 ** (32 - SHORTEST_UNMAPPED)) return 'remove it: it matches no packet'
  if (prefix === undefined) return `write ${first}-${formatAddress(4, range.end, 3)}`
  return `write ${prefix.length === 128 ? first : `${first}/${prefix.length - 96}`}`
}

/** Why `text` is not an entry, with a correction. Only for text that `readRange` rejects. */
export function explainRange(text: string): Explanation {
  const ipv4 = unmapped(text)
  if (ipv4 !== undefined) {
    const message = `${quote(text)} is an IPv4 address in IPv6 form, and no packet has such a source`
    return { code: 'E025', message, hint: ipv4 }
  }
  const slash = text.indexOf('/')
  const dash = text.indexOf('-')
  if (dash > 0 && slash < 0 && parseAddress(text.slice(0, dash)) !== undefined) return explainSpan(text, dash)
  if (slash > 0 && dash < 0) return explainPrefix(text, slash)
  if (slash > 0)
    return {
      code: 'E020',
      message: `${quote(text)} is a range between CIDRs`,
      hint: 'write first-last with two addresses',
    }
  return explainAddress(text, text)
}
