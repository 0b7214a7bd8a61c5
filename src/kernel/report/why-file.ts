// The verdict of a packet by the file: with what this host knows about links and next hops, or by the file alone.

import { factsFor } from '../../abi/packet.ts'
import { ingressOn } from '../../abi/place.ts'
import { fail } from '../../diagnostics.ts'
import type { Desired } from '../../model/desired.ts'
import type { Unknown } from '../../model/exported.ts'
import type { Link } from '../../model/live.ts'
import { nearest } from '../../model/nearest.ts'
import { addressTextsOf, type NextHop } from '../../model/service.ts'
import type { State } from '../../model/state.ts'
import { formatAddress } from '../../model/text.ts'
import { withNextHops } from '../../plan/next-hops.ts'
import type { Everywhere, Judgement, WhyResult } from '../../report/result.ts'
import { type Circumstances, type Ingress, judge } from '../../semantics/judge.ts'
import { type Local, merged, partsOf, placeIn, type Query } from './why-parts.ts'
import { anywhere, namesFor, type Surroundings } from './why-places.ts'
import { balancedPart } from './why-services.ts'

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

function desiredOn(
  state: State,
  desired: Desired,
  query: Query,
  ingress: Ingress,
  circumstances: Circumstances,
): Local<Judgement> {
  const model = judge(state, factsFor(query), circumstances, ingress)
  const { verdict, reason, matches, balanced } = model
  const place = placeIn(desired, query)
  const parts = partsOf(state, query, verdict, model, { ingress, circumstances, place, desired })
  const common = { ...NOTHING, ...parts, verdict, reason }
  if (balanced) return { ...common, ...balancedPart(balanced, desired) }
  const [match] = matches
  return match ? { ...common, list: match.list.name, ...place(match) } : common
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
export const ASSUMED_HOP: NextHop = {
  interface: '',
  ifindex: 0x7fff_ffff,
  mac: '',
  sourceMac: '',
  vlan: 0,
  mtu: 0xffff,
}

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
