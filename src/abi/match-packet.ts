// Test packets that fit the match of an entry, as far as one packet can.

import type { Address, Family } from '../model/address.ts'
import type { PacketMatch } from '../model/packet-match.ts'
import type { TestPacket } from './frame.ts'

/** The first destination of the family; undefined: none. */
function destinationOf({ destinations }: PacketMatch, family: Family): Address | undefined {
  const ranges = family === 4 ? destinations?.v4 : destinations?.v6
  if (ranges === undefined || ranges.length === 0) return undefined
  return { family, words: ranges.start.slice(0, family === 4 ? 1 : 4) }
}

const FRAGMENTS = { none: undefined, first: 'first', later: 'later', any: 'later' } as const

/** The fields that a packet of the family needs besides its source, protocol and ports. */
export function packetFitting(match: PacketMatch, family: Family): Partial<TestPacket> {
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan } = match
  const kind = icmp?.find(({ v4, v6 }) => (family === 4 ? v4 : v6) !== undefined)
  const [type, code] = family === 4 ? [kind?.v4, kind?.code4] : [kind?.v6, kind?.code6]
  const destination = destinationOf(match, family)
  return {
    ...(tcpFlags && { tcpFlags: tcpFlags.value }),
    ...(type !== undefined && { icmp: { type, code: code ?? 0 } }),
    ...(length && { length: length.first }),
    ...(ttl && { ttl: ttl.first }),
    ...(dscp && { dscp: dscp[0] as number }),
    ...(fragments && { fragment: FRAGMENTS[fragments] }),
    ...(vlan && { vlan: vlan.first }),
    ...(destination && { destination }),
  }
}
