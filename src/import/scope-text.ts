// A scope → the keys of an entry.

import { ICMP_TYPES, type IcmpKind, type PacketMatch } from '../model/packet-match.ts'
import type { Scope } from '../model/state.ts'
import {
  addressTexts,
  codePoints,
  flagTexts,
  oneOrList,
  portsField,
  protocolField,
  rangeText,
} from './written-scope.ts'

const typeText = ({ v4, v6 }: IcmpKind): string | number =>
  Object.entries(ICMP_TYPES).find(([, kind]) => kind.v4 === v4 && kind.v6 === v6)?.[0] ?? v4 ?? v6 ?? 0

/** Types, and the code that all of them share. */
function icmpFields(kinds: readonly IcmpKind[]): Record<string, unknown> {
  const [first] = kinds
  const code = first?.code4 ?? first?.code6
  return { icmp_type: oneOrList(kinds.map(typeText)), ...(code !== undefined && { icmp_code: code }) }
}

function matchFields(match: PacketMatch): Record<string, unknown> {
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan, destinations } = match
  return {
    ...(destinations && { destination: oneOrList(addressTexts(destinations)) }),
    ...(tcpFlags && { tcp_flags: flagTexts(tcpFlags) }),
    ...(icmp && icmpFields(icmp)),
    ...(length && { length: rangeText(length) }),
    ...(ttl && { ttl: rangeText(ttl) }),
    ...(dscp && { dscp: codePoints(dscp) }),
    ...(fragments && { fragments }),
    ...(vlan && { vlan: rangeText(vlan) }),
  }
}

/** Keys that are written on one line. */
export const FLOWING = [
  'source_port',
  'destination_port',
  'destination',
  'tcp_flags',
  'icmp_type',
  'dscp',
  'prefix',
  'ports',
]

export function scopeFields({
  protocol,
  sourcePorts,
  destinationPorts,
  established,
  match,
}: Scope): Record<string, unknown> {
  return {
    ...(established && { established }),
    ...(protocol !== 'any' && { protocol: protocolField(protocol) }),
    ...(sourcePorts.length > 0 && { source_port: portsField(sourcePorts) }),
    ...(destinationPorts.length > 0 && { destination_port: portsField(destinationPorts) }),
    ...(match && matchFields(match)),
  }
}
