// Fields that an entry may ask of a packet besides its source, protocol and ports, in canonical form.

import type { AddressSet } from './address.ts'
import { formatPorts, type PortRange } from './ports.ts'
import { rangeTexts } from './text.ts'

/** Flags of TCP that must be set or clear (RFC 9293 §3.1, RFC 3168). `value` is part of `mask`, which is not 0. */
export interface TcpFlags {
  readonly mask: number
  readonly value: number
}

/** A type of ICMP, of ICMPv6, or the two that have one name; with a code for each, if codes matter. */
export interface IcmpKind {
  readonly v4?: number
  readonly code4?: number
  readonly v6?: number
  readonly code6?: number
}

/** Whole datagrams, first or later fragments, or fragments of any kind. */
export type Fragments = 'none' | 'first' | 'later' | 'any'

/** Conditions that must all hold. Canonical: at least one; lists are sorted, distinct and not empty. */
export interface PacketMatch {
  readonly tcpFlags?: TcpFlags
  readonly icmp?: readonly IcmpKind[]
  /** Bytes of the IP datagram. */
  readonly length?: PortRange
  /** TTL or hop limit. */
  readonly ttl?: PortRange
  readonly dscp?: readonly number[]
  readonly fragments?: Fragments
  /** Number in the outer VLAN tag. */
  readonly vlan?: PortRange
  /** Empty: no packet. */
  readonly destinations?: AddressSet
}

/** In the order of their bits. */
export const TCP_FLAG_NAMES = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr'] as const

export type TcpFlagName = (typeof TCP_FLAG_NAMES)[number]

/** Names of types by family (IANA, ICMP Parameters and ICMPv6 Parameters). */
export const ICMP_TYPES: Readonly<Record<string, { readonly v4?: number; readonly v6?: number }>> = {
  'echo-reply': { v4: 0, v6: 129 },
  'destination-unreachable': { v4: 3, v6: 1 },
  'packet-too-big': { v6: 2 },
  'source-quench': { v4: 4 },
  redirect: { v4: 5, v6: 137 },
  'echo-request': { v4: 8, v6: 128 },
  'router-advertisement': { v4: 9, v6: 134 },
  'router-solicitation': { v4: 10, v6: 133 },
  'time-exceeded': { v4: 11, v6: 3 },
  'parameter-problem': { v4: 12, v6: 4 },
  'timestamp-request': { v4: 13 },
  'timestamp-reply': { v4: 14 },
  'info-request': { v4: 15 },
  'info-reply': { v4: 16 },
  'address-mask-request': { v4: 17 },
  'address-mask-reply': { v4: 18 },
  'mld-query': { v6: 130 },
  'mld-report': { v6: 131 },
  'mld-done': { v6: 132 },
  'neighbor-solicitation': { v6: 135 },
  'neighbor-advertisement': { v6: 136 },
  'mld2-report': { v6: 143 },
}

/** Names of codes of "destination unreachable", and of "time exceeded". */
export const ICMP_CODES: Readonly<
  Record<string, { readonly type: string; readonly v4?: number; readonly v6?: number }>
> = {
  'network-unreachable': { type: 'destination-unreachable', v4: 0, v6: 0 },
  'host-unreachable': { type: 'destination-unreachable', v4: 1, v6: 3 },
  'protocol-unreachable': { type: 'destination-unreachable', v4: 2 },
  'port-unreachable': { type: 'destination-unreachable', v4: 3, v6: 4 },
  'fragmentation-needed': { type: 'destination-unreachable', v4: 4 },
  'admin-prohibited': { type: 'destination-unreachable', v4: 13, v6: 1 },
  'ttl-exceeded': { type: 'time-exceeded', v4: 0, v6: 0 },
  'reassembly-timeout': { type: 'time-exceeded', v4: 1, v6: 1 },
}

/** Names of code points (IANA, Differentiated Services Field Codepoints). */
export const DSCP_NAMES: Readonly<Record<string, number>> = {
  cs0: 0,
  cs1: 8,
  cs2: 16,
  cs3: 24,
  cs4: 32,
  cs5: 40,
  cs6: 48,
  cs7: 56,
  af11: 10,
  af12: 12,
  af13: 14,
  af21: 18,
  af22: 20,
  af23: 22,
  af31: 26,
  af32: 28,
  af33: 30,
  af41: 34,
  af42: 36,
  af43: 38,
  ef: 46,
  'voice-admit': 44,
  le: 1,
}

const flagsText = ({ mask, value }: TcpFlags): string =>
  TCP_FLAG_NAMES.flatMap((name, bit) => (mask & (1 << bit) ? [value & (1 << bit) ? name : `!${name}`] : [])).join(' ')

const TYPE_NAMES = new Map(Object.entries(ICMP_TYPES).map(([name, { v4, v6 }]) => [`${v4 ?? ''}/${v6 ?? ''}`, name]))

const pair = (v4: number | undefined, v6: number | undefined): string =>
  v4 === v6 ? `${v4}` : `${v4 ?? ''}/${v6 ?? ''}`

/** `echo-request`, `destination-unreachable code 3/4`, `13`. */
export function icmpText({ v4, v6, code4, code6 }: IcmpKind): string {
  const type = TYPE_NAMES.get(`${v4 ?? ''}/${v6 ?? ''}`) ?? pair(v4, v6)
  return code4 === undefined && code6 === undefined ? type : `${type} code ${pair(code4, code6)}`
}

/** Names of code points. */
export const NAMES_OF_DSCP: ReadonlyMap<number, string> = new Map(
  Object.entries(DSCP_NAMES).map(([name, number]) => [number, name]),
)

export const dscpText = (number: number): string => NAMES_OF_DSCP.get(number) ?? `${number}`

/** Addresses, prefixes and ranges, by commas. */
const setText = ({ v4, v6 }: AddressSet): string => [...rangeTexts(v4), ...rangeTexts(v6)].join(',')

/** A unique text for each match: `flags syn !ack`, `type echo-request`, `length 0-64`, `to 192.0.2.80`. */
export function matchKey(match: PacketMatch): string {
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan, destinations } = match
  const parts: string[] = []
  if (tcpFlags) parts.push(`flags ${flagsText(tcpFlags)}`)
  if (icmp) parts.push(`type ${icmp.map(icmpText).join(',')}`)
  if (length) parts.push(`length ${formatPorts(length)}`)
  if (ttl) parts.push(`ttl ${formatPorts(ttl)}`)
  if (dscp) parts.push(`dscp ${dscp.map(dscpText).join(',')}`)
  if (fragments) parts.push(`fragments ${fragments}`)
  if (vlan) parts.push(`vlan ${formatPorts(vlan)}`)
  if (destinations) parts.push(`to ${setText(destinations) || 'nothing'}`)
  return parts.join(' ')
}

/** Order of kinds of ICMP in a match. */
export const compareKinds = (a: IcmpKind, b: IcmpKind): number => {
  const rank = ({ v4 = -1, v6 = -1, code4 = -1, code6 = -1 }: IcmpKind) => [v4, v6, code4, code6]
  const [left, right] = [rank(a), rank(b)]
  const at = left.findIndex((value, i) => value !== right[i])
  return at < 0 ? 0 : (left[at] as number) - (right[at] as number)
}
