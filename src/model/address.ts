// Address sets. Each family's set is a list of sorted, disjoint, non-adjacent inclusive ranges in two typed arrays: a
// feed of a million prefixes must not become a million objects.

export type Family = 4 | 6

/**
 * Sorted, disjoint, non-adjacent inclusive ranges of one family: the canonical form of any set of addresses.
 * Family 4: one word a bound. Family 6: four words a bound, most significant first. Words are in host order.
 */
export interface Ranges {
  readonly family: Family
  /** Number of ranges. */
  readonly length: number
  /** First addresses: `length * (family === 4 ? 1 : 4)` words. */
  readonly start: Uint32Array
  /** Last addresses, inclusive; same shape. */
  readonly end: Uint32Array
}

/** A set of IPv4 and IPv6 addresses. */
export interface AddressSet {
  readonly v4: Ranges
  readonly v6: Ranges
}

/** One address, in the words of its family: one for IPv4, four for IPv6, most significant first. */
export interface Address {
  readonly family: Family
  readonly words: Uint32Array
}

/** Whether an address is in 127.0.0.0/8, or `::1`. */
export const isLoopback = ({ family, words }: Address): boolean =>
  family === 4 ? (words[0] as number) >>> 24 === 127 : words.every((word, i) => word === (i === 3 ? 1 : 0))

/** fe80::/10, which says nothing without a link (RFC 4291 §2.5.6). */
export const isLinkLocal = ({ family, words }: Address): boolean =>
  family === 6 && (words[0] as number) >>> 22 === 0x3fa
