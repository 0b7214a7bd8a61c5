// Fields of a packet that a question may name and a test packet may have.

export interface PacketFields {
  /** TCP and UDP only. */
  readonly sourcePort?: number | undefined
  readonly destinationPort?: number | undefined
  /** TCP only: the byte of its flags. */
  readonly tcpFlags?: number | undefined
  /** ICMP only. */
  readonly icmp?: { readonly type: number; readonly code: number } | undefined
  /** Bytes of the IP datagram. */
  readonly length?: number | undefined
  /** TTL or hop limit. */
  readonly ttl?: number | undefined
  readonly dscp?: number | undefined
  readonly fragment?: 'first' | 'later' | undefined
  /** Number in an 802.1Q tag. */
  readonly vlan?: number | undefined
}
