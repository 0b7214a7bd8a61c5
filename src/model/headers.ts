// Numbers in the headers of packets that more than one part of the program knows: flags of TCP, ports of DHCP, types of ICMP.

/** Bits of the flags of a TCP header (RFC 9293 §3.1). */
export const [FIN, SYN, RST, PSH, ACK, URG, ECE, CWR] = [1, 2, 4, 8, 16, 32, 64, 128] as const

/** Whether a segment opens a connection. */
export const opensConnection = (flags: number): boolean => (flags & (FIN | SYN | RST | ACK)) === SYN

/** UDP ports of DHCP in each family (RFC 2131, RFC 8415). */
export const DHCP_PORTS = { 4: { server: 67, client: 68 }, 6: { server: 547, client: 546 } } as const

/**
 * Types of the ICMP messages without which a host loses its errors, groups and neighbours, in each family (RFC 792; RFC 4443,
 * RFC 2710 and RFC 3810, RFC 4861).
 */
export const ESSENTIAL_TYPES = {
  icmp_errors: { 4: [3, 11, 12], 6: [1, 2, 3, 4] },
  mld: { 4: [], 6: [130, 131, 132, 143] },
  neighbor_discovery: { 4: [], 6: [133, 134, 135, 136, 137] },
} as const

/** Types of ICMPv6 messages that the unspecified address sends: solicitations, and reports of groups (RFC 4861, RFC 3810). */
export const FROM_UNSPECIFIED: readonly number[] = [131, 132, 133, 135, 143]
