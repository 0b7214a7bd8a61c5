// Types of ICMP as numbers of the field `icmp`: type * 256 + code.

import type { Family } from '../model/address.ts'
import { ICMP_TYPES } from '../model/packet-match.ts'
import type { PortRange } from '../model/ports.ts'
import { lookUp } from './source.ts'
import { type Spans, spansOf } from './spans.ts'

/** Names of nft and iptables beside those of a config. */
const TYPES: Readonly<Record<Family, Readonly<Record<string, number>>>> = {
  4: { ping: 8, pong: 0, 'ttl-exceeded': 11 },
  6: {
    'mld-listener-query': 130,
    'mld-listener-report': 131,
    'mld-listener-done': 132,
    'mld-listener-reduction': 132,
    'nd-router-solicit': 133,
    'nd-router-advert': 134,
    'nd-neighbor-solicit': 135,
    'nd-neighbor-advert': 136,
    'nd-redirect': 137,
    'neighbour-solicitation': 135,
    'neighbour-advertisement': 136,
    'router-renumbering': 138,
    'ind-neighbor-solicit': 141,
    'ind-neighbor-advert': 142,
    'mld2-listener-report': 143,
  },
}

/** Codes of "destination unreachable" by the names of nft: nft(8). */
const CODES: Readonly<Record<Family, Readonly<Record<string, number>>>> = {
  4: {
    'net-unreachable': 0,
    'host-unreachable': 1,
    'prot-unreachable': 2,
    'port-unreachable': 3,
    'frag-needed': 4,
    'net-prohibited': 9,
    'host-prohibited': 10,
    'admin-prohibited': 13,
  },
  6: {
    'no-route': 0,
    'admin-prohibited': 1,
    'addr-unreachable': 3,
    'port-unreachable': 4,
    'policy-fail': 5,
    'reject-route': 6,
  },
}

const byte = (value: unknown): number | undefined => {
  const number = typeof value === 'number' ? value : /^\d{1,3}$/.test(`${value}`) ? Number(value) : undefined
  return number !== undefined && number >= 0 && number <= 255 ? number : undefined
}

/** A type by name or number; undefined for an unknown one. */
export function typeNumber(value: unknown, family: Family): number | undefined {
  const name = `${value}`
  const known = lookUp(ICMP_TYPES, name)
  return byte(value) ?? lookUp(TYPES[family], name) ?? (family === 4 ? known?.v4 : known?.v6)
}

export const codeNumber = (value: unknown, family: Family): number | undefined =>
  byte(value) ?? lookUp(CODES[family], `${value}`)

/** All codes of types. */
export const ofTypes = ({ first, last }: PortRange): PortRange => ({ first: first * 256, last: last * 256 + 255 })

/** A code of every type. */
export const ofCodes = ({ first, last }: PortRange): Spans =>
  spansOf(Array.from({ length: 256 }, (_, type) => ({ first: type * 256 + first, last: type * 256 + last })))

/** Single codes that one rule may name: each is an entry. */
const CODES_OF_A_RULE = 16

/** Types with all of their codes, and single codes as far as there are few; `exact`: that is all. */
export function fewCodes(spans: Spans): { readonly spans: Spans; readonly exact: boolean } {
  const types = Array.from({ length: 256 }, (_, type) =>
    spans.flatMap(({ first, last }) => {
      const [from, to] = [Math.max(first, type * 256), Math.min(last, type * 256 + 255)]
      return from <= to ? [{ first: from, last: to }] : []
    }),
  )
  const count = (own: Spans): number => own.reduce((sum, { first, last }) => sum + last - first + 1, 0)
  const isFew = types.reduce((sum, own) => sum + (count(own) === 256 ? 0 : count(own)), 0) <= CODES_OF_A_RULE
  if (isFew) return { spans, exact: true }
  return { spans: spansOf(types.filter((own) => count(own) === 256).flat()), exact: false }
}
