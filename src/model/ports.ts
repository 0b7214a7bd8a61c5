// Transport protocols and their ports.

/** IP protocol numbers (IANA, Protocol Numbers) of the protocols with ports. */
export const TCP = 6
export const UDP = 17
export const PROTOCOL_NUMBERS = { tcp: TCP, udp: UDP } as const

export type TransportProtocol = keyof typeof PROTOCOL_NUMBERS

/** `tcp`, `udp`, or the protocol number as text. */
export const protocolName = (protocol: number): string =>
  protocol === TCP ? 'tcp' : protocol === UDP ? 'udp' : `${protocol}`

/** Inclusive port range. */
export interface PortRange {
  readonly first: number
  readonly last: number
}
