// The packets that a list entry or a rate limit applies to.

import type { PacketMatch } from './packet-match.ts'
import type { Established } from './policy.ts'
import type { PortRange } from './ports.ts'

/**
 * Scope of a list entry or rate limit: the packets from its addresses that it applies to. Canonical: port ranges sorted, disjoint,
 * non-adjacent; empty = any port; ports only with protocol 6 or 17.
 */
export interface Scope {
  /** IP protocol number; `icmp` = ICMP in IPv4 and ICMPv6 in IPv6; `any` = every packet. */
  readonly protocol: 'any' | 'icmp' | number
  readonly sourcePorts: readonly PortRange[]
  readonly destinationPorts: readonly PortRange[]
  /** Names of the interfaces that receive the packets; sorted, not empty. undefined = every interface. */
  readonly interfaces?: readonly string[]
  /** Blocklists only: whether connections that this host opened pass. undefined = as `policy.established`. */
  readonly established?: Established
  /** Blocklists and TCP only: packets for which this host has no socket. undefined = any packet. Excludes `established`. */
  readonly socket?: 'none'
  /** Further fields that a packet must have. undefined = none. */
  readonly match?: PacketMatch
  /** Blocklists only: packets are counted as if they were dropped, and go on. undefined = they are dropped. */
  readonly action?: 'observe'
}
