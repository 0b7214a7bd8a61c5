// States from a few words: policy('pass', block('dns', ['192.0.2.0/24', scope(17, { source: [53] })])).

import type { Family, Ranges } from '../../src/model/address.ts'
import { DEFAULT_POLICY, type DefaultVerdict } from '../../src/model/policy.ts'
import type { PortRange } from '../../src/model/ports.ts'
import { normalize } from '../../src/model/ranges.ts'
import type { RateLimit } from '../../src/model/rate-limit.ts'
import {
  EMPTY_STATE,
  type List,
  type ListKind,
  type Scope,
  type ScopedSet,
  type State,
  scopeKey,
} from '../../src/model/state.ts'
import { parseRange } from '../../src/model/text.ts'

/** A port, or the first and last of a range. */
type Port = number | readonly [number, number]

/** Addresses, prefixes or ranges separated by spaces, with their scope; none = any packet. */
export type Entry = string | readonly [string, Scope]

export const ANY: Scope = { protocol: 'any', sourcePorts: [], destinationPorts: [] }

/** A scope; ports in ascending order. */
export function scope(
  protocol: Scope['protocol'],
  { source = [], destination = [] }: { readonly source?: readonly Port[]; readonly destination?: readonly Port[] } = {},
): Scope {
  return { protocol, sourcePorts: source.map(portRange), destinationPorts: destination.map(portRange) }
}

const portRange = (port: Port): PortRange =>
  typeof port === 'number' ? { first: port, last: port } : { first: port[0], last: port[1] }

export function ranges(family: Family, texts: readonly string[]): Ranges {
  const found = texts.map((text) => parseRange(text)).filter((range) => range?.family === family)
  const words = (bound: 'start' | 'end'): Uint32Array => Uint32Array.from(found.flatMap((range) => [...range![bound]]))
  return normalize(family, words('start'), words('end'))
}

function makeList(kind: ListKind, name: string, entries: readonly Entry[]): List {
  const byScope = new Map<string, { readonly scope: Scope; readonly texts: string[] }>()
  for (const entry of entries) {
    const [text, of] = typeof entry === 'string' ? [entry, ANY] : entry
    const found = byScope.get(scopeKey(of)) ?? { scope: of, texts: [] }
    found.texts.push(...text.split(' '))
    byScope.set(scopeKey(of), found)
  }
  const sets: ScopedSet[] = [...byScope]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { scope: of, texts }]) => ({ scope: of, addresses: { v4: ranges(4, texts), v6: ranges(6, texts) } }))
  return { kind, name, sets }
}

export const block = (name: string, ...entries: readonly Entry[]): List => makeList('blocklist', name, entries)
export const allow = (name: string, ...entries: readonly Entry[]): List => makeList('allowlist', name, entries)

export const policy = (verdict: DefaultVerdict, ...lists: readonly List[]): State => ({
  ...EMPTY_STATE,
  policy: { ...DEFAULT_POLICY, default: verdict, unparsed: verdict },
  lists: new Map(lists.map((list) => [list.name, list])),
})

/** A limit with a burst that the rate refills too slowly for a test to notice. */
export const limitOf = (fields: Partial<RateLimit> = {}): RateLimit => ({
  name: 'a',
  position: 0,
  scope: scope('any'),
  per: 'source',
  prefix: { v4: 32, v6: 64 },
  packets: { perSecond: 1, burst: 3 },
  action: 'drop',
  buckets: 1024,
  ...fields,
})
