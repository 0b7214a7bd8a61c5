// The parts of a judgement that follow from a state, whether a test packet, the file or an exported state gave the verdict.

import { factsFor, type TestPacket as Packet } from '../../abi/packet.ts'
import type { Address } from '../../model/address.ts'
import type { Desired } from '../../model/desired.ts'
import { type Origin, originOf } from '../../model/provenance.ts'
import { contains, WIDTH } from '../../model/ranges.ts'
import { type ScopedSet, type State, scopeKey } from '../../model/state.ts'
import { formatAddress, formatRange } from '../../model/text.ts'
import { withNextHops } from '../../plan/next-hops.ts'
import { adviceFor } from '../../plan/own-vip.ts'
import type { Covering, Everywhere, Judgement, WhyResult } from '../../report/result.ts'
import { anomaliesMet } from '../../semantics/anomalies-met.ts'
import {
  type Circumstances,
  coversOf,
  type Ingress,
  isExcepted,
  type Judged,
  type Match,
  needsSocket,
} from '../../semantics/judge.ts'
import { limitsOf } from './why-limits.ts'
import { casesOf } from './why-otherwise.ts'

/** The packet to judge, and the interface on which it arrives. */
export interface Query extends Packet {
  /** The receiving interface, whose program judges; undefined = each of ours, by the committed program. */
  readonly interface: string | undefined
}

/** The part of a judgement that holds on one interface, or without one. */
export type Local<T> = Omit<T, 'interfaces' | 'elsewhere'>

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

/** Both judgements, with advice on the service that decides. `live`: the host, with next hops for the services of the state. */
export function answerOf(
  { source }: Query,
  judgements: Pick<WhyResult, 'live' | 'desired'>,
  { services: all }: Pick<State, 'services'>,
  live: Parameters<typeof adviceFor>[2],
  around: Parameters<typeof withNextHops>[1],
): WhyResult {
  const services = withNextHops(all, around)
  const service = services.get((judgements.desired ?? judgements.live)?.service ?? '')
  return {
    address: formatAddress(source.family, source.words),
    advice: service ? adviceFor(service, source, live) : [],
    ...judgements,
  }
}

/** An interface to judge a packet on, or one that stands for all. */
export interface Named {
  /** undefined: the verdict is the same on every interface, or the policy has none. */
  readonly name: string | undefined
}

/** The origin of an entry that covers the source. */
export type PlaceOf = (match: Match) => Pick<Covering, 'prefix' | 'at' | 'about'>

/** The entry as the file has it. */
export const placeIn =
  (desired: Desired | undefined, { source }: Query): PlaceOf =>
  (match) => {
    const origin = originIn(desired, match, source)
    return { prefix: origin?.entry, at: origin?.at, about: origin?.about }
  }

/** The range of a merged set that contains the address, as text. */
function coveringRange({ addresses }: ScopedSet, { family, words }: Address): string | undefined {
  const ranges = family === 4 ? addresses.v4 : addresses.v6
  const index = contains(ranges, words)
  return index < 0 ? undefined : formatRange(family, ranges.start, ranges.end, index * WIDTH[family])
}

/** The entry as the tables have it, with its line where the file has it too. */
export const placeInTables = (desired: Desired | undefined, query: Query): PlaceOf => {
  const inFile = placeIn(desired, query)
  return (match) => ({ ...inFile(match), prefix: coveringRange(match.set, query.source) })
}

/** The part about the list of the tables that decided. `match`: its entry; undefined: its tables have none. */
export function decidedBy(
  list: string | undefined,
  match: Match | undefined,
  { source }: Query,
  desired: Desired | undefined,
): Pick<Judgement, 'list' | 'prefix'> & Partial<Pick<Judgement, 'at' | 'about'>> {
  const origin = list && desired ? originOf(desired.provenance, list, source.family, source.words) : undefined
  const prefix = match && coveringRange(match.set, source)
  return { list, prefix, ...(origin ? { at: origin.at, about: origin.about } : {}) }
}

/** The terms of a judgement of the model. */
export interface Terms {
  readonly ingress: Ingress
  readonly circumstances: Circumstances
  readonly place: PlaceOf
  /** For the lines of limits and services. */
  readonly desired: Desired | undefined
  /** A ban decides about some packets of the source. */
  readonly isBanned?: boolean
  /** How much the packet's key has used of each limit. */
  readonly used?: Parameters<typeof limitsOf>[5]
}

/** The parts that follow from a state. `verdict`: by whoever judged. */
export function partsOf(
  state: State,
  query: Query,
  verdict: Judgement['verdict'],
  model: Judged,
  { ingress, circumstances, place, desired, isBanned = false, used }: Terms,
) {
  const facts = factsFor(query)
  const lists = coversOf(state, facts, ingress, circumstances).map((cover) => ({
    list: cover.list.name,
    kind: cover.list.kind,
    scope: scopeKey(cover.set.scope),
    ...place(cover),
    matches: cover.matches,
  }))
  return {
    lists,
    unlessEstablished: isExcepted(state, facts, model),
    needsSocket: needsSocket(state, facts, circumstances, ingress),
    anomalies: anomaliesMet(state, facts, circumstances, ingress),
    observed: model.observed,
    rateLimits: limitsOf(state, query, ingress, circumstances, desired, used),
    otherwise: casesOf(state, query, verdict, { ingress, isBanned, place, desired }),
  } satisfies Partial<Judgement>
}
