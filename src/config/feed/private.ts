// Networks that a feed must not block: private, loopback, link-local and multicast ones. Public lists contain them now
// and then (bogon lists on purpose), and blocking them would cut the host off from its neighbours.

import type { Family, Ranges } from '../../model/address.ts'
import { normalize, subtract } from '../../model/ranges.ts'
import { parsePrefix, wordsOf } from '../../model/text.ts'
import type { RangeBuffer } from '../entries/range.ts'

/** This host (RFC 1122), RFC 1918, shared address space (RFC 6598), loopback, link-local (RFC 3927), multicast. */
const PRIVATE4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '224.0.0.0/4',
] as const

/** Unspecified and loopback (RFC 4291), unique local (RFC 4193), link-local, multicast. */
const PRIVATE6 = ['::/127', 'fc00::/7', 'fe80::/10', 'ff00::/8'] as const

function rangesOf(family: Family, texts: readonly string[]): Ranges {
  const width = wordsOf(family)
  const start = new Uint32Array(texts.length * width)
  const end = new Uint32Array(texts.length * width)
  texts.forEach((text, index) => {
    const prefix = parsePrefix(text)
    if (prefix === undefined) throw new Error(`${text} is not a prefix`)
    start.set(prefix.start, index * width)
    end.set(prefix.end, index * width)
  })
  return normalize(family, start, end)
}

const RANGES = { 4: rangesOf(4, PRIVATE4), 6: rangesOf(6, PRIVATE6) } as const

/** By first octet: 1 if any private IPv4 address starts with it. */
const SUSPECT = new Uint8Array(256)
for (let index = 0; index < RANGES[4].length; index++) {
  const [first, last] = [RANGES[4].start[index] as number, RANGES[4].end[index] as number]
  SUSPECT.fill(1, first >>> 24, (last >>> 24) + 1)
}

/** Whether an IPv4 address is private. */
export function isPrivate4(address: number): boolean {
  if (SUSPECT[address >>> 24] === 0) return false
  const { start, end, length } = RANGES[4]
  for (let index = 0; index < length; index++) {
    if (address >= (start[index] as number) && address <= (end[index] as number)) return true
  }
  return false
}

/** Fast check: true for almost all ranges of public lists, and only for ranges without a private address. */
function isPublic({ family, start, end }: RangeBuffer): boolean {
  const [first, last] = [start[0] as number, end[0] as number]
  if (family === 4) return first >>> 24 === last >>> 24 && SUSPECT[first >>> 24] === 0
  return first >>> 29 === 1 && last >>> 29 === 1
}

/** A range without its private addresses; undefined if it has none. */
export function withoutPrivate(range: RangeBuffer): Ranges | undefined {
  if (isPublic(range)) return undefined
  const { family } = range
  const width = wordsOf(family)
  const whole: Ranges = { family, length: 1, start: range.start.slice(0, width), end: range.end.slice(0, width) }
  const rest = subtract(whole, RANGES[family])
  const same = rest.length === 1 && rest.start.every((word, at) => word === whole.start[at])
  return same && rest.end.every((word, at) => word === whole.end[at]) ? undefined : rest
}
