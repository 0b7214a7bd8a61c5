// Scopes in canonical form → the keys of an entry that a config has for them: the inverse of reading an entry.

import type { AddressSet } from '../model/address.ts'
import {
  compareKinds,
  ICMP_CODES,
  ICMP_TYPES,
  type IcmpKind,
  NAMES_OF_DSCP,
  type PacketMatch,
  TCP_FLAG_NAMES,
} from '../model/packet-match.ts'
import { type PortRange, TCP, UDP } from '../model/ports.ts'
import type { Scope } from '../model/state.ts'
import { rangeTexts } from '../model/text.ts'

export type Fields = Record<string, unknown>

/** Addresses, prefixes and ranges, one each. */
export const addressTexts = ({ v4, v6 }: AddressSet): string[] => [...rangeTexts(v4), ...rangeTexts(v6)]

export const rangeText = ({ first, last }: PortRange): number | string => (first === last ? first : `${first}-${last}`)

/** One value alone, several as a list. */
export const oneOrList = <T>(all: readonly T[]): T | readonly T[] => (all.length === 1 ? (all[0] as T) : all)

export const portsField = (ranges: readonly PortRange[]): unknown => oneOrList(ranges.map(rangeText))

type Protocol = Scope['protocol']

/** A protocol by its name, if it is TCP or UDP. */
export const protocolField = <T>(protocol: T): T | 'tcp' | 'udp' =>
  protocol === TCP ? 'tcp' : protocol === UDP ? 'udp' : protocol

/** A type of ICMP as a config names it, for the families of a protocol. */
const readType = (item: number | string, protocol: Protocol): IcmpKind => {
  const { v4, v6 } = typeof item === 'number' ? { v4: item, v6: item } : (ICMP_TYPES[item] ?? {})
  return {
    ...(protocol !== 58 && v4 !== undefined && { v4 }),
    ...(protocol !== 1 && v6 !== undefined && { v6 }),
  }
}

const codeOf = (item: number | string): { readonly v4?: number; readonly v6?: number } | undefined =>
  typeof item === 'number' ? { v4: item, v6: item } : ICMP_CODES[item]

/** A type with a code, as reading an entry joins them. */
function withCode({ v4, v6 }: IcmpKind, item: number | string | undefined): IcmpKind {
  if (item === undefined) return { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) }
  const code = codeOf(item) ?? {}
  return {
    ...(v4 !== undefined && code.v4 !== undefined && { v4, code4: code.v4 }),
    ...(v6 !== undefined && code.v6 !== undefined && { v6, code6: code.v6 }),
  }
}

const TYPES: readonly (number | string)[] = [...Object.keys(ICMP_TYPES), ...Array.from({ length: 256 }, (_, n) => n)]

/** The types that stand for the kinds under one code; undefined: they do not. */
function typesFor(
  kinds: readonly IcmpKind[],
  protocol: Protocol,
  code: number | string | undefined,
): (number | string)[] | undefined {
  const own = typeof code === 'string' ? [ICMP_CODES[code]?.type ?? ''] : TYPES
  const found = kinds.map((kind) =>
    own.find((item) => compareKinds(withCode(readType(item, protocol), code), kind) === 0),
  )
  return found.includes(undefined) ? undefined : (found as (number | string)[])
}

/** Keys for types and codes of ICMP; undefined: no config has these. */
function icmpFields(kinds: readonly IcmpKind[], protocol: Protocol): Fields | undefined {
  const numbers = kinds.flatMap(({ code4, code6 }) => [code4, code6]).filter((code) => code !== undefined)
  const codes: readonly (number | string | undefined)[] =
    numbers.length === 0 ? [undefined] : [...Object.keys(ICMP_CODES), ...new Set(numbers)]
  for (const code of codes) {
    const types = typesFor(kinds, protocol, code)
    if (types) return { icmp_type: oneOrList(types), ...(code !== undefined && { icmp_code: code }) }
  }
  return undefined
}

export const flagTexts = ({ mask, value }: { readonly mask: number; readonly value: number }): string[] =>
  TCP_FLAG_NAMES.flatMap((name, bit) => (mask & (1 << bit) ? [value & (1 << bit) ? name : `!${name}`] : []))

/** Code points, by name where they have one. */
export const codePoints = (numbers: readonly number[]): unknown =>
  oneOrList(numbers.map((number) => NAMES_OF_DSCP.get(number) ?? number))

/** Keys of a match; undefined: no config has it. */
function matchFields(match: PacketMatch, protocol: Protocol): Fields | undefined {
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan, destinations } = match
  const types = icmp && icmpFields(icmp, protocol)
  const texts = destinations && addressTexts(destinations)
  if ((icmp && !types) || texts?.length === 0) return undefined
  return {
    ...(tcpFlags && { tcp_flags: flagTexts(tcpFlags) }),
    ...types,
    ...(length && { length: rangeText(length) }),
    ...(ttl && { ttl: rangeText(ttl) }),
    ...(dscp && { dscp: codePoints(dscp) }),
    ...(fragments && { fragments }),
    ...(vlan && { vlan: rangeText(vlan) }),
    ...(texts && { destination: oneOrList(texts) }),
  }
}

/** Keys of a scope; undefined: no config has it. */
export function scopeFields(scope: Scope): Fields | undefined {
  const { protocol, sourcePorts, destinationPorts, interfaces, established, socket, action, match } = scope
  const more = match ? matchFields(match, protocol) : {}
  if (more === undefined) return undefined
  return {
    ...(protocol !== 'any' && { protocol: protocolField(protocol) }),
    ...(sourcePorts.length > 0 && { source_port: portsField(sourcePorts) }),
    ...(destinationPorts.length > 0 && { destination_port: portsField(destinationPorts) }),
    ...more,
    ...(interfaces && { interfaces }),
    ...(established && { established }),
    ...(socket && { socket }),
    ...(action && { action }),
  }
}
