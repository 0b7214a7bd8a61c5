// How much of an address space a set of addresses covers.

import type { AddressSet, Family, Ranges } from './address.ts'

/** Global unicast addresses of IPv6: 2000::/3 (IANA). */
const FIRST_GLOBAL = 0x2000_0000
const AFTER_GLOBAL = 0x4000_0000

/** Number of IPv4 addresses. */
const size4 = ({ length, start, end }: Ranges): number => {
  let size = 0
  for (let at = 0; at < length; at++) size += (end[at] as number) - (start[at] as number) + 1
  return size
}

/** The first 64 bits of a bound, rounded. */
const high = (words: Uint32Array, at: number): number => (words[at] as number) * 2 ** 32 + (words[at + 1] as number)

/** Number of /64 networks in 2000::/3, in which a part of one counts as all of it. */
function size6({ length, start, end }: Ranges): number {
  let size = 0
  for (let at = 0; at < length * 4; at += 4) {
    const first = Math.max(high(start, at), FIRST_GLOBAL * 2 ** 32)
    const after = Math.min(high(end, at) + 1, AFTER_GLOBAL * 2 ** 32)
    size += Math.max(0, after - first)
  }
  return size
}

/** Addresses that count in a share: of IPv4 all, of IPv6 the networks of 64 bits in 2000::/3. */
export const SPACE = { 4: 2 ** 32, 6: 2 ** 61 } as const

/** How many of these a set covers. */
export const covered = ({ v4, v6 }: AddressSet, family: Family): number => (family === 4 ? size4(v4) : size6(v6))

/** The family of which a set covers the larger share (0 to 1): of all of IPv4, or of 2000::/3. */
export function largestShare(set: AddressSet): readonly [family: Family, share: number] {
  const [share4, share6] = [covered(set, 4) / SPACE[4], covered(set, 6) / SPACE[6]]
  return share4 >= share6 ? [4, share4] : [6, share6]
}
