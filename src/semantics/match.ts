// Reference model of conditions on packets (bpf/include/match.h): whether a packet has what an entry asks for.

import type { Family } from '../model/address.ts'
import type { IcmpKind, PacketMatch } from '../model/packet-match.ts'
import { inRange } from '../model/ports.ts'
import { contains } from '../model/ranges.ts'
import type { ListKind } from '../model/state.ts'

/** Fields that entries may ask of a packet whose IP header is sound. */
export interface Traits {
  /** One word for IPv4, four for IPv6, in host order. */
  readonly destination: Uint32Array
  /** Bytes of the IP datagram, at most 65,535. */
  readonly length: number
  /** TTL or hop limit. */
  readonly ttl: number
  readonly dscp: number
  /** undefined = a whole datagram, or its fragment header is out of reach. */
  readonly fragment: 'first' | 'later' | undefined
  /** Number in the outer tag; undefined = no tag. */
  readonly vlan: number | undefined
  /** `cut`: TCP, in a first fragment that ends in front of them. undefined = not known to be TCP. */
  readonly tcpFlags: number | 'cut' | undefined
  /** undefined = not known to be ICMP of its family. */
  readonly icmp: { readonly type: number; readonly code: number } | undefined
}

/** A first fragment without the flags is made to hide them: a blocklist takes it for what it drops. */
function fitsFlags(
  { mask, value }: NonNullable<PacketMatch['tcpFlags']>,
  { tcpFlags }: Traits,
  kind: ListKind,
): boolean {
  if (tcpFlags === 'cut') return kind === 'blocklist'
  return tcpFlags !== undefined && (tcpFlags & mask) === value
}

function fitsKind(kind: IcmpKind, { icmp }: Traits, family: Family): boolean {
  const [type, code] = family === 4 ? [kind.v4, kind.code4] : [kind.v6, kind.code6]
  return icmp !== undefined && icmp.type === type && (code === undefined || icmp.code === code)
}

function fitsFragments(fragments: NonNullable<PacketMatch['fragments']>, { fragment }: Traits): boolean {
  if (fragments === 'none') return fragment === undefined
  return fragments === 'any' ? fragment !== undefined : fragment === fragments
}

/** Whether a packet of the family has what a list of this kind asks for. */
export function fits(match: PacketMatch, traits: Traits, family: Family, kind: ListKind): boolean {
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan, destinations } = match
  return (
    (!tcpFlags || fitsFlags(tcpFlags, traits, kind)) &&
    (!icmp || icmp.some((one) => fitsKind(one, traits, family))) &&
    (!length || inRange(length, traits.length)) &&
    (!ttl || inRange(ttl, traits.ttl)) &&
    (!dscp || dscp.includes(traits.dscp)) &&
    (!fragments || fitsFragments(fragments, traits)) &&
    (!vlan || (traits.vlan !== undefined && inRange(vlan, traits.vlan))) &&
    (!destinations || contains(family === 4 ? destinations.v4 : destinations.v6, traits.destination) >= 0)
  )
}
