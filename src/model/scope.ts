// Scopes in canonical form.

import type { PortRange } from './ports.ts'
import type { List, Scope, State } from './state.ts'

/** Ports in any order, overlapping or adjacent, as sorted, disjoint, non-adjacent ranges. */
export function canonicalPorts(ranges: readonly PortRange[]): readonly PortRange[] {
  const merged: { first: number; last: number }[] = []
  for (const { first, last } of ranges.toSorted((left, right) => left.first - right.first)) {
    const previous = merged.at(-1)
    if (previous !== undefined && first <= previous.last + 1) previous.last = Math.max(previous.last, last)
    else merged.push({ first, last })
  }
  return merged
}

/** Whether a scope covers packets that the interface receives. */
export const coversInterface = ({ interfaces }: Scope, name: string): boolean =>
  interfaces === undefined || interfaces.includes(name)

/** Whether the verdicts of a state may depend on the sockets of this host. */
export const asksSockets = ({ policy, lists }: Pick<State, 'policy' | 'lists'>): boolean =>
  policy?.established === 'pass' ||
  [...lists.values()].some(({ sets }) => sets.some(({ scope }) => scope.established === 'pass'))

/** The scopes of a state that ask for a VLAN, with the list or limit of each. */
export const taggedScopes = ({
  lists,
  rateLimits,
}: Pick<State, 'lists' | 'rateLimits'>): (readonly [string, Scope])[] =>
  [
    ...[...lists.values()].flatMap(({ name, sets }) => sets.map(({ scope }) => [`list ${name}`, scope] as const)),
    ...[...(rateLimits?.values() ?? [])].map(({ name, scope }) => [`rate limit ${name}`, scope] as const),
  ].filter(([, { match }]) => match?.vlan !== undefined)

/** Interfaces that filter by a VLAN, in the order of their names. */
export function taggedInterfaces(state: Pick<State, 'lists' | 'rateLimits' | 'interfaces'>): string[] {
  const scopes = taggedScopes(state)
  return [...state.interfaces.values()]
    .filter(
      ({ interface: name, roles }) => roles.includes('filter') && scopes.some(([, one]) => coversInterface(one, name)),
    )
    .map(({ interface: name }) => name)
    .sort()
}

/** The scopes of a state that apply only to packets without a socket. */
export const socketlessScopes = ({ lists }: Pick<State, 'lists'>): readonly Scope[] =>
  [...lists.values()].flatMap(({ sets }) => sets.flatMap(({ scope }) => (scope.socket === 'none' ? [scope] : [])))

/** Scope of an entry without protocol: every packet. */
export const ANY: Scope = { protocol: 'any', sourcePorts: [], destinationPorts: [] }

/** Whether an entry decides about every packet of its sources, on the interfaces that it applies to. */
export const decidesAlone = ({ protocol, sourcePorts, destinationPorts, match, action }: Scope): boolean =>
  protocol === 'any' && sourcePorts.length === 0 && destinationPorts.length === 0 && !match && !action

/** Scopes of all lists and rate limits of a state. */
export const scopesOf = ({ lists, rateLimits }: Pick<State, 'lists' | 'rateLimits'>): readonly Scope[] => [
  ...[...lists.values()].flatMap(({ sets }) => sets.map(({ scope }) => scope)),
  ...[...(rateLimits?.values() ?? [])].map(({ scope }) => scope),
]

/** Whether a list has entries that only observe. */
export const observes = ({ sets }: Pick<List, 'sets'>): boolean => sets.some(({ scope }) => scope.action === 'observe')

/** Number of combinations of ports, types of ICMP and code points that a scope names: its rules in the data plane. */
export const alternatives = ({ sourcePorts, destinationPorts, match }: Scope): number =>
  [sourcePorts, destinationPorts, match?.icmp ?? [], match?.dscp ?? []].reduce(
    (product, { length }) => product * Math.max(1, length),
    1,
  )
