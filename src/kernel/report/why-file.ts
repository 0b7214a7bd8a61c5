// The verdict of a packet by the file: with what this host knows about links and next hops, or by the file alone.

import { factsFor, type TestPacket as Packet } from '../../abi/packet.ts'
import { ingressOn, PLACES, type Place } from '../../abi/place.ts'
import { fail } from '../../diagnostics.ts'
import type { Address } from '../../model/address.ts'
import type { Desired } from '../../model/desired.ts'
import type { Unknown } from '../../model/exported.ts'
import { shapesOf } from '../../model/link.ts'
import type { Link, Live } from '../../model/live.ts'
import { nearest } from '../../model/nearest.ts'
import { type Origin, originOf } from '../../model/provenance.ts'
import { addressTextsOf, type NextHop } from '../../model/service.ts'
import { type State, scopeKey } from '../../model/state.ts'
import { formatAddress } from '../../model/text.ts'
import { withNextHops } from '../../plan/next-hops.ts'
import type { Covering, Everywhere, Judgement, WhyResult } from '../../report/result.ts'
import { anomaliesMet } from '../../semantics/anomalies-met.ts'
import {
  type Circumstances,
  coversOf,
  dependsOnInterface,
  type Ingress,
  isExcepted,
  judge,
  type Match,
  needsSocket,
} from '../../semantics/judge.ts'
import { limitsOf } from './why-limits.ts'
import { casesOf } from './why-otherwise.ts'
import { balancedPart } from './why-services.ts'

/** The packet to judge, and the interface on which it arrives. */
export interface Query extends Packet {
  /** The receiving interface, whose program judges; undefined = each of ours, by the committed program. */
  readonly interface: string | undefined
}

/** Facts besides the file that a verdict by it depends on. */
export type Surroundings = Pick<Live, 'links' | 'nextHops'>

/** The part of a judgement that neither a list nor a service decided. */
const NOTHING = {
  list: undefined,
  prefix: undefined,
  at: undefined,
  about: undefined,
  service: undefined,
  backend: undefined,
  backup: false,
} as const

/** The part of a judgement that holds on one interface, or without one. */
export type Local<T> = Omit<T, 'interfaces' | 'elsewhere'>

/** The entries that cover the packet's source. `origin`: the entry of the file and its line. */
export function coveringOf(
  state: State,
  query: Query,
  ingress: Ingress,
  circumstances: Circumstances,
  origin: (match: Match) => Pick<Covering, 'prefix' | 'at' | 'about'>,
): Covering[] {
  return coversOf(state, factsFor(query), ingress, circumstances).map((cover) => ({
    list: cover.list.name,
    kind: cover.list.kind,
    scope: scopeKey(cover.set.scope),
    ...origin(cover),
    matches: cover.matches,
  }))
}

/** The entry of the file for an address of a list under one scope; undefined: the file has none. */
export function originIn(
  desired: Desired | undefined,
  { list, set }: Match,
  { family, words }: Address,
): Origin | undefined {
  const key = scopeKey(set.scope)
  const index = desired?.state.lists.get(list.name)?.sets.findIndex(({ scope }) => scopeKey(scope) === key) ?? -1
  return desired && index >= 0 ? originOf(desired.provenance, list.name, family, words, 0, index) : undefined
}

/** Merges judgements that are equal apart from their interface. Empty only if there are none. */
export function merged<T extends Judgement>(
  judgements: readonly (Named & { readonly judgement: Local<T> })[],
  isAsked: boolean,
): Everywhere<T> {
  const groups = new Map<string, { readonly names: string[]; readonly judgement: Local<T> }>()
  for (const { name, judgement } of judgements) {
    const key = JSON.stringify(judgement, (_, value) => (typeof value === 'bigint' ? `${value}` : value))
    const group = groups.get(key) ?? { names: [], judgement }
    groups.set(key, group)
    if (name !== undefined) group.names.push(name)
  }
  const [first, ...others] = [...groups.values()].map(({ names, judgement }) => {
    const interfaces = groups.size > 1 || isAsked ? names : []
    return { ...judgement, interfaces } as unknown as T
  })
  return { ...(first as T), elsewhere: others }
}

/** An interface to judge a packet on, or one that stands for all. */
export interface Named {
  /** undefined: the verdict is the same on every interface, or the policy has none. */
  readonly name: string | undefined
}

/** The interfaces to judge a packet on: that of the query, else each of the state if the verdict may depend on it. */
export function namesFor(state: State, live: Surroundings, { interface: name }: Query): string[] {
  if (name !== undefined) return [name]
  return dependsOnInterface(state) ? [...state.interfaces.keys()].filter((one) => live.links.has(one)).sort() : []
}

/** Where no interface is named: the packet arrives as it would on those of the policy. */
export const anywhere = ({ interfaces }: State, { links }: Surroundings): Place & Named => ({
  name: undefined,
  ...PLACES[shapesOf(interfaces.keys(), links)[0] ?? 'ethernet'],
})

/** The judgement by the file, with the current next hops of backends. `sockets`: what the kernel says about the packet. */
export function desiredJudgement(
  desired: Desired,
  live: Surroundings,
  query: Query,
  sockets: Circumstances,
): Everywhere<Judgement> {
  const state = { ...desired.state, services: withNextHops(desired.state.services, live) }
  const named = namesFor(state, live, query).flatMap((name) => {
    const link = live.links.get(name)
    return link ? [{ name, ingress: ingressOn(link, state.interfaces.get(name)?.roles) }] : []
  })
  const judgements = (named.length > 0 ? named : [anywhere(state, live)]).map(({ name, ingress }) => ({
    name,
    judgement: desiredOn(state, desired, query, ingress, sockets),
  }))
  return merged<Judgement>(judgements, query.interface !== undefined)
}

/** The place of an entry in the file. */
const placeOf =
  (desired: Desired, { source }: Query) =>
  (match: Match): Pick<Covering, 'prefix' | 'at' | 'about'> => {
    const origin = originIn(desired, match, source)
    return { prefix: origin?.entry, at: origin?.at, about: origin?.about }
  }

function desiredOn(
  state: State,
  desired: Desired,
  query: Query,
  ingress: Ingress,
  sockets: Circumstances,
): Local<Judgement> {
  const facts = factsFor(query)
  const judged = judge(state, facts, sockets, ingress)
  const { verdict, reason, matches, balanced } = judged
  const lists = coveringOf(state, query, ingress, sockets, placeOf(desired, query))
  const conditions = {
    unlessEstablished: isExcepted(state, facts, judged),
    needsSocket: needsSocket(state, facts, sockets, ingress),
    anomalies: anomaliesMet(state, facts, sockets, ingress),
    observed: judged.observed,
    rateLimits: limitsOf(state, query, ingress, sockets, desired),
    otherwise: casesOf(state, query, verdict, { ingress, isBanned: false, place: placeOf(desired, query), desired }),
  }
  const common = { ...NOTHING, lists, verdict, reason, ...conditions }
  if (balanced) return { ...common, ...balancedPart(balanced, desired) }
  const [match] = matches
  if (!match) return common
  const origin = originIn(desired, match, query.source)
  return { ...common, list: match.list.name, prefix: origin?.entry, at: origin?.at, about: origin?.about }
}

/** An interface of which nothing is known but its name: Ethernet, with an index that no other one has. */
const assumedLink = (name: string, at: number): Link => ({
  name,
  ifindex: name === 'lo' ? 1 : 2 + at,
  mtu: 0xffff,
  mac: '',
  vlan: undefined,
  below: undefined,
  up: true,
  kind: 'physical',
  linkType: name === 'lo' ? 'loopback' : 'ether',
  isMultipoint: false,
  master: undefined,
  programs: [],
})

/** A next hop on an interface that the file does not have. */
const ASSUMED_HOP: NextHop = { interface: '', ifindex: 0x7fff_ffff, mac: '', sourceMac: '', vlan: 0, mtu: 0xffff }

/** The host of a file about which nothing is known: its interfaces exist, and its backends can be reached. */
function assumed({ interfaces, services }: State): Surroundings {
  const addresses = [...services.values()].flatMap(addressTextsOf)
  return {
    links: new Map([...interfaces.keys()].map((name, at) => [name, assumedLink(name, at)])),
    nextHops: new Map(addresses.map((address) => [address, ASSUMED_HOP])),
  }
}

/** Facts about a verdict that the file alone lacks. */
function unknownToFile({ services }: State, usesHost: boolean): Unknown[] {
  return [
    { what: 'drift', why: 'what is live' },
    { what: 'counters', why: 'bans, sockets, connections, and what keys of rate limits have used' },
    { what: 'interfaces', why: 'interfaces: Ethernet is assumed, and members of bonds are unknown' },
    ...(usesHost
      ? [
          {
            what: 'addresses',
            why: 'addresses of the host that the file is for: `host` stands for those of this machine',
          } as const,
        ]
      : []),
    ...(services.size > 0
      ? [
          {
            what: 'next-hops',
            why: 'health and next hops of backends: whether a packet is sent by tx or redirect',
          } as const,
        ]
      : []),
  ]
}

/** Facts about a file that is asked alone. */
export interface AloneFacts {
  /** Why the live state was not read; undefined: it was not asked for. */
  readonly unread?: string | undefined
  /** Whether an entry names the host: then it stands for this machine. */
  readonly usesHost: boolean
}

/**
 * The verdict by the file alone: needs no kernel.
 *
 * @throws XdpError E282 for an interface that the file does not have
 */
export function explainFile(desired: Desired, query: Query, { unread, usesHost }: AloneFacts): WhyResult {
  const { state, config } = desired
  const { interface: name } = query
  if (name !== undefined && !state.interfaces.has(name)) {
    const meant = nearest(name, [...state.interfaces.keys()])
    const hint = meant === undefined ? `it has ${[...state.interfaces.keys()].join(', ')}` : `did you mean ${meant}?`
    throw fail('E282', `${config.path} has no interface ${name}, and without the kernel no other is known`, hint)
  }
  return {
    address: formatAddress(query.source.family, query.source.words),
    advice: [],
    live: undefined,
    desired: desiredJudgement(desired, assumed(state), query, {}),
    offline: { unread, unknown: unknownToFile(state, usesHost) },
  }
}
