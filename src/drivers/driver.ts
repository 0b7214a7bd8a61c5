// Facts about drivers of network devices that decide whether and how well XDP runs on them. Owns data and pure
// judgements. Every fact comes from the sources of Linux or its history, and none is guessed.

import type { Version } from '../model/version.ts'

/** A change of the kernel, and the first release with it. */
export interface Since {
  readonly kernel: Version
  readonly commit: string
}

/**
 * The queues that a driver needs for XDP:
 *
 * - `half`: at most half of the queues in use, as many for receiving as for transmitting
 * - `combined`: channels that receive and transmit
 * - `sum`: queues for receiving and for transmitting together at most the maximum
 * - `double`: two transmit queues for each processor
 * - `processors`: a transmit queue for each of at most 64 processors; up to 128 share them, more are refused
 * - `spare`: a spare queue for each processor, else transmitting takes a lock
 * - `peer`: as many receive queues as the peer has transmit queues
 */
export type QueueRule = 'half' | 'combined' | 'sum' | 'double' | 'processors' | 'spare' | 'peer'

/** Reaction of a driver to a program while the card merges packets: it refuses it, stops merging, or goes on. */
export type Merging = 'refuses' | 'stops' | 'goes-on'

/** Whether a driver takes VLAN tags out of received frames: never, unless that is turned off, or always. */
export type Tags = 'never' | 'switchable' | 'always'

/** A fact with the name of its function, macro or flag in the driver's source. */
export interface Sourced<T> {
  readonly is: T
  readonly at: string
}

export interface Driver {
  /** Cards or hosts that it drives, for readers. */
  readonly drives: string
  /** Its main file, below drivers/net/ of Linux. */
  readonly source: string
  /** Native XDP; undefined: none up to KNOWN_UNTIL. */
  readonly native?: Since
  /** Packets in several buffers; from then on the MTU does not limit our programs. */
  readonly frags?: Since
  /** Approximate largest MTU before that, in bytes, with pages of 4 KiB; undefined: the driver sets no limit. */
  readonly mtu?: Sourced<number>
  /**
   * Largest MTU at which the first buffer of a packet holds its headers; above it the buffer is empty, and the filter
   * reads the headers from the fragments.
   */
  readonly linear?: Sourced<number>
  readonly queues?: Sourced<QueueRule>
  /** `ethtool -k`: large-receive-offload */
  readonly lro?: Sourced<Merging>
  /** `ethtool -k`: rx-gro-hw */
  readonly groHw?: Sourced<Merging>
  readonly tags?: Sourced<Tags>
  /** Whether virtual functions (SR-IOV) rule XDP out. */
  readonly sriov?: Sourced<'refuses'>
  /** A bond refuses it as a member, because it has no function that transmits frames of other devices (ndo_xdp_xmit). */
  readonly bond?: Sourced<'refuses'>
  readonly notes?: readonly Sourced<string>[]
}

/** Last kernel whose sources the table was compared with. */
export const KNOWN_UNTIL = '7.2'

/** Modes in which a bond passes XDP on to its members (drivers/net/bonding, bond_xdp_check). */
export const BOND_MODES: ReadonlySet<string> = new Set(['balance-rr', 'active-backup', '802.3ad', 'balance-xor'])
/** First kernel with native XDP on bonds (commit 9e2ee5c7e7c3). */
export const BOND_NATIVE: Version = [5, 15]
/** First kernel in which a program can move headers into the first buffer (bpf_xdp_pull_data). */
export const PULL_DATA: Version = [6, 18]

/** Kinds of `ip -d link` without receive rings. The kind tun is not here, because a tap device has native XDP. */
export const WITHOUT_NATIVE_KINDS: ReadonlySet<string> = new Set([
  'bareudp',
  'bridge',
  'dummy',
  'geneve',
  'gre',
  'gretap',
  'ifb',
  'ip6gre',
  'ip6gretap',
  'ip6tnl',
  'ipip',
  'ipvlan',
  'loopback',
  'macsec',
  'macvlan',
  'macvtap',
  'netkit',
  'ppp',
  'sit',
  'team',
  'vlan',
  'vrf',
  'vti',
  'vti6',
  'vxlan',
  'wireguard',
  'xfrm',
])
