// A scope → the keys of an entry.

import type { AddressSet, Ranges } from '../model/address.ts'
import {
  DSCP_NAMES,
  dscpText,
  ICMP_TYPES,
  type IcmpKind,
  type PacketMatch,
  TCP_FLAG_NAMES,
} from '../model/packet-match.ts'
import { formatPorts, type PortRange, TCP, UDP } from '../model/ports.ts'
import { WIDTH } from '../model/ranges.ts'
import type { Scope } from '../model/state.ts'
import { formatRange } from '../model/text.ts'

/** One text per range. */
export function rangeTexts({ v4, v6 }: AddressSet): string[] {
  const textsOf = ({ family, length, start, end }: Ranges): string[] =>
    Array.from({ length }, (_, index) => formatRange(family, start, end, index * WIDTH[family]))
  return [...textsOf(v4), ...textsOf(v6)]
}

/** The single element, or all of them. */
const oneOrAll = <T>(all: readonly T[]): T | readonly T[] => (all.length === 1 ? (all[0] as T) : all)

const spanText = (range: PortRange): number | string => (range.first === range.last ? range.first : formatPorts(range))

export const portsText = (ranges: readonly PortRange[]): unknown => oneOrAll(ranges.map(spanText))

const flagsOf = ({ mask, value }: NonNullable<PacketMatch['tcpFlags']>): string[] =>
  TCP_FLAG_NAMES.flatMap((name, bit) => (mask & (1 << bit) ? [value & (1 << bit) ? name : `!${name}`] : []))

const typeText = ({ v4, v6 }: IcmpKind): string | number =>
  Object.entries(ICMP_TYPES).find(([, kind]) => kind.v4 === v4 && kind.v6 === v6)?.[0] ?? v4 ?? v6 ?? 0

/** Types, and the code that all of them share. */
function icmpFields(kinds: readonly IcmpKind[]): Record<string, unknown> {
  const [first] = kinds
  const code = first?.code4 ?? first?.code6
  return { icmp_type: oneOrAll(kinds.map(typeText)), ...(code !== undefined && { icmp_code: code }) }
}

const dscpField = (numbers: readonly number[]): unknown =>
  oneOrAll(numbers.map((number) => (Object.values(DSCP_NAMES).includes(number) ? dscpText(number) : number)))

function matchFields(match: PacketMatch): Record<string, unknown> {
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan, destinations } = match
  return {
    ...(destinations && { destination: oneOrAll(rangeTexts(destinations)) }),
    ...(tcpFlags && { tcp_flags: flagsOf(tcpFlags) }),
    ...(icmp && icmpFields(icmp)),
    ...(length && { length: spanText(length) }),
    ...(ttl && { ttl: spanText(ttl) }),
    ...(dscp && { dscp: dscpField(dscp) }),
    ...(fragments && { fragments }),
    ...(vlan && { vlan: spanText(vlan) }),
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
    ...(protocol !== 'any' && { protocol: protocol === TCP ? 'tcp' : protocol === UDP ? 'udp' : protocol }),
    ...(sourcePorts.length > 0 && { source_port: portsText(sourcePorts) }),
    ...(destinationPorts.length > 0 && { destination_port: portsText(destinationPorts) }),
    ...(match && matchFields(match)),
  }
}
