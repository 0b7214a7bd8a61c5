// Transport protocols and their ports.

import type { Family } from './address.ts'

/** IP protocol numbers (IANA, Protocol Numbers) of the protocols with ports. */
export const TCP = 6
export const UDP = 17
export const PROTOCOL_NUMBERS = { tcp: TCP, udp: UDP } as const
/** The protocol number of ICMP in each family. */
export const ICMP_OF: Readonly<Record<Family, number>> = { 4: 1, 6: 58 }

/** Names of protocols that a config may use, by IANA's numbers; `icmp` stands for that of each family. */
export const WRITTEN_PROTOCOLS = { ...PROTOCOL_NUMBERS, icmp: 'icmp', gre: 47, esp: 50, ah: 51, sctp: 132 } as const

export type TransportProtocol = keyof typeof PROTOCOL_NUMBERS

/** `tcp`, `udp`, or the protocol number as text. */
export const protocolName = (protocol: number): string =>
  protocol === TCP ? 'tcp' : protocol === UDP ? 'udp' : `${protocol}`

/** Inclusive port range. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

/** `443` or `8000-8099`. */
export const formatPorts = ({ first, last }: PortRange): string => (first === last ? `${first}` : `${first}-${last}`)

/** Whether a range contains a number. */
export const inRange = ({ first, last }: PortRange, value: number): boolean => first <= value && value <= last

/** Whether one of the ranges contains a number. */
export const inRanges = (ranges: readonly PortRange[], value: number): boolean =>
  ranges.some((range) => inRange(range, value))

/** Number of ports. */
export const widthOf = ({ first, last }: PortRange): number => last - first + 1

/** The narrowest range that contains the port. */
export function rangeWith(ranges: readonly PortRange[], port: number): PortRange | undefined {
  let found: PortRange | undefined
  for (const range of ranges) {
    if (!inRange(range, port)) continue
    if (!found || widthOf(range) < widthOf(found)) found = range
  }
  return found
}

/** Numbers that IPv6 reads as extension headers: hop-by-hop, routing, fragment, AH, destination options (RFC 8200 §4). */
export const IPV6_FRAGMENT = 44
export const IPV6_EXTENSIONS: readonly number[] = [0, 43, IPV6_FRAGMENT, 51, 60]
/** And the one that stands for no further header (RFC 8200 §4.7). */
export const NO_NEXT_HEADER = 59
