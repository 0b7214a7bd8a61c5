// The packets that a rule matches, apart from their source: families, protocols and ports, narrowed match by match.

import type { Family } from '../model/address.ts'
import { type PortRange, PROTOCOL_NUMBERS, TCP, UDP } from '../model/ports.ts'
import { ANY, canonicalPorts } from '../model/scope.ts'
import type { Scope } from '../model/state.ts'
import { lookUp } from './source.ts'

/** IANA protocol numbers of the names that nft and iptables print. */
const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipencap: 4,
  ipip: 4,
  ...PROTOCOL_NUMBERS,
  dccp: 33,
  ipv6: 41,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  'ipv6-icmp': 58,
  ospf: 89,
  comp: 108,
  vrrp: 112,
  sctp: 132,
  udplite: 136,
}

/** A protocol by name or number; undefined for an unknown one. */
export function protocolNumber(text: string | number): number | undefined {
  if (typeof text === 'number') return text
  return (
    lookUp(PROTOCOLS, text.toLowerCase()) ?? (/^\d{1,3}$/.test(text) && Number(text) <= 255 ? Number(text) : undefined)
  )
}

/** All ports outside the ranges. */
export function otherPorts(ranges: readonly PortRange[]): PortRange[] {
  const rest: PortRange[] = []
  let next = 0
  for (const { first, last } of canonicalPorts(ranges)) {
    if (first > next) rest.push({ first: next, last: first - 1 })
    next = last + 1
  }
  if (next <= 65_535) rest.push({ first: next, last: 65_535 })
  return rest
}

/** `22` or `8000:8010` (with `separator`) as a port range; undefined for any other text. */
export function parsePorts(text: string, separator: string): PortRange | undefined {
  const [first = '', last = first, ...more] = text.split(separator)
  const valid = [first, last].every((port) => /^\d{1,5}$/.test(port) && Number(port) <= 65_535)
  if (!valid || more.length > 0 || Number(first) > Number(last)) return undefined
  return { first: Number(first), last: Number(last) }
}

/** The ports in both. */
function commonPorts(left: readonly PortRange[], right: readonly PortRange[]): PortRange[] {
  return left.flatMap((a) =>
    right
      .map((b) => ({ first: Math.max(a.first, b.first), last: Math.min(a.last, b.last) }))
      .filter(({ first, last }) => first <= last),
  )
}

/** The packets that a rule matches so far. undefined = any. */
export interface Traffic {
  readonly families: readonly Family[]
  readonly protocols: readonly number[] | undefined
  readonly sourcePorts: readonly PortRange[] | undefined
  readonly destinationPorts: readonly PortRange[] | undefined
}

export const anyTraffic = (families: readonly Family[]): Traffic => ({
  families,
  protocols: undefined,
  sourcePorts: undefined,
  destinationPorts: undefined,
})

const common = <T>(left: readonly T[] | undefined, right: readonly T[]): readonly T[] =>
  left === undefined ? right : left.filter((one) => right.includes(one))

export const onlyFamily = (traffic: Traffic, family: Family): Traffic => ({
  ...traffic,
  families: common(traffic.families, [family]),
})

export const onlyProtocols = (traffic: Traffic, protocols: readonly number[]): Traffic => ({
  ...traffic,
  protocols: common(traffic.protocols, protocols),
})

export function onlyPorts(
  traffic: Traffic,
  side: 'sourcePorts' | 'destinationPorts',
  ports: readonly PortRange[],
): Traffic {
  const known = traffic[side]
  return { ...traffic, [side]: canonicalPorts(known === undefined ? ports : commonPorts(known, ports)) }
}

const ICMP: Readonly<Record<Family, number>> = { 4: 1, 6: 58 }

/**
 * The scopes of a rule for one family; none if no packet can match. ICMP of the family becomes `icmp`; ICMP of the
 * other family is dropped.
 */
export function scopesOf(traffic: Traffic, family: Family): readonly Scope[] {
  const { families, protocols, sourcePorts, destinationPorts } = traffic
  if (!families.includes(family) || sourcePorts?.length === 0 || destinationPorts?.length === 0) return []
  if (protocols === undefined) return [ANY]
  return protocols.flatMap((number): Scope[] => {
    if (number === ICMP[family === 4 ? 6 : 4]) return []
    const protocol = number === ICMP[family] ? 'icmp' : number
    return [{ protocol, sourcePorts: sourcePorts ?? [], destinationPorts: destinationPorts ?? [] }]
  })
}

/** Whether a rule matches ports of a protocol for which a config has no ports. */
export const portsWithoutProtocol = ({ protocols, sourcePorts, destinationPorts }: Traffic): boolean =>
  (sourcePorts !== undefined || destinationPorts !== undefined) &&
  (protocols === undefined || protocols.some((protocol) => protocol !== TCP && protocol !== UDP))

const holdsPorts = (outer: readonly PortRange[], inner: readonly PortRange[]): boolean =>
  outer.length === 0 ||
  (inner.length > 0 && inner.every((one) => outer.some(({ first, last }) => first <= one.first && one.last <= last)))

const sharePorts = (left: readonly PortRange[], right: readonly PortRange[]): boolean =>
  left.length === 0 || right.length === 0 || commonPorts(left, right).length > 0

/** Whether `outer` includes every packet of `inner`. */
export const coversScope = (outer: Scope, inner: Scope): boolean =>
  outer.protocol === 'any' ||
  (outer.protocol === inner.protocol &&
    holdsPorts(outer.sourcePorts, inner.sourcePorts) &&
    holdsPorts(outer.destinationPorts, inner.destinationPorts))

/** Whether one packet can match both. */
export const sharesScope = (left: Scope, right: Scope): boolean =>
  left.protocol === 'any' ||
  right.protocol === 'any' ||
  (left.protocol === right.protocol &&
    sharePorts(left.sourcePorts, right.sourcePorts) &&
    sharePorts(left.destinationPorts, right.destinationPorts))

/**
 * The packets of `outer` outside `inner`, as scopes; undefined if scopes cannot express them. Requires that the two
 * share packets.
 */
export function scopesWithout(outer: Scope, inner: Scope): readonly Scope[] | undefined {
  if (outer.protocol === 'any' || outer.protocol !== inner.protocol) return undefined
  const every = [{ first: 0, last: 65_535 }]
  const [source, destination] = [outer.sourcePorts, outer.destinationPorts].map((ports) =>
    ports.length === 0 ? every : ports,
  ) as [readonly PortRange[], readonly PortRange[]]
  const plain = (ports: readonly PortRange[]): readonly PortRange[] =>
    ports.length === 1 && ports[0]?.first === 0 && ports[0].last === 65_535 ? [] : ports
  const pieces: (readonly [readonly PortRange[], readonly PortRange[]])[] = []
  if (inner.sourcePorts.length > 0) pieces.push([commonPorts(source, otherPorts(inner.sourcePorts)), destination])
  if (inner.destinationPorts.length > 0) {
    const rest = commonPorts(destination, otherPorts(inner.destinationPorts))
    pieces.push([inner.sourcePorts.length > 0 ? commonPorts(source, inner.sourcePorts) : source, rest])
  }
  return pieces
    .filter(([left, right]) => left.length > 0 && right.length > 0)
    .map(([left, right]) => ({
      protocol: outer.protocol,
      sourcePorts: plain(canonicalPorts(left)),
      destinationPorts: plain(canonicalPorts(right)),
    }))
}

/** Whether a scope names ports, which later fragments do not have. */
export const hasPorts = ({ sourcePorts, destinationPorts }: Scope): boolean =>
  sourcePorts.length > 0 || destinationPorts.length > 0
