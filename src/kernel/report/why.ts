// Why a packet gets its verdict, by the loaded program (with a test packet) and by the file.

import type { Explanation } from '../../abi/generated.ts'
import { factsFor, NONE, type TestPacket as Packet } from '../../abi/packet.ts'
import type { Paths } from '../../abi/paths.ts'
import { ingressOn, PLACES, type Place, placeOn } from '../../abi/place.ts'
import { XdpError } from '../../diagnostics.ts'
import { FILTER } from '../../features/filter.ts'
import type { Address } from '../../model/address.ts'
import type { Desired } from '../../model/desired.ts'
import { shapesOf } from '../../model/link.ts'
import { nearest } from '../../model/nearest.ts'
import { type Origin, originOf } from '../../model/provenance.ts'
import { contains, WIDTH } from '../../model/ranges.ts'
import { type ScopedSet, type State, scopeKey } from '../../model/state.ts'
import { formatAddress, formatRange, type Prefix } from '../../model/text.ts'
import { withNextHops } from '../../plan/next-hops.ts'
import { adviceFor } from '../../plan/own-vip.ts'
import type { Verdict } from '../../report/reason.ts'
import type { Covering, Everywhere, Judgement, LiveJudgement, WhyResult } from '../../report/result.ts'
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
import type { Memory } from '../host/memory.ts'
import { readBan } from '../live/bans.ts'
import { REASON_NAMES } from '../live/counters.ts'
import { explainPacket, verdictOfAction } from '../live/probe.ts'
import { requirePins } from '../observe/instance.ts'
import { type Observation, observe, refuseOtherNamespace } from '../observe/observe.ts'
import { limitsOf, usedBy } from './why-limits.ts'
import { agreesWithTables, balancedPart, liveBalanced } from './why-services.ts'
import { askWithSockets, socketsOf } from './why-sockets.ts'

/** The packet to judge, and the interface on which it arrives. */
export interface Query extends Packet {
  /** The receiving interface, whose program judges; undefined = each of ours, by the committed program. */
  readonly interface: string | undefined
}

/** The range of a merged set that contains the address, as text. */
function coveringRange({ addresses }: ScopedSet, { family, words }: Address): string | undefined {
  const ranges = family === 4 ? addresses.v4 : addresses.v6
  const index = contains(ranges, words)
  return index < 0 ? undefined : formatRange(family, ranges.start, ranges.end, index * WIDTH[family])
}

const formatPrefix = ({ family, start, end }: Prefix): string => formatRange(family, start, end)

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
type Local<T> = Omit<T, 'interfaces' | 'elsewhere'>

/** The entries that cover the packet's source. `origin`: the entry of the file and its line. */
function coveringOf(
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
function originIn(desired: Desired | undefined, { list, set }: Match, { family, words }: Address): Origin | undefined {
  const key = scopeKey(set.scope)
  const index = desired?.state.lists.get(list.name)?.sets.findIndex(({ scope }) => scopeKey(scope) === key) ?? -1
  return desired && index >= 0 ? originOf(desired.provenance, list.name, family, words, 0, index) : undefined
}

/** Merges judgements that are equal apart from their interface. Empty only if there are none. */
function merged<T extends Judgement>(
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
interface Named {
  /** undefined: the verdict is the same on every interface, or the policy has none. */
  readonly name: string | undefined
}

/** The interfaces to judge a packet on: that of the query, else each of the state if the verdict may depend on it. */
function namesFor(state: State, live: Observation, { interface: name }: Query): string[] {
  if (name !== undefined) return [name]
  return dependsOnInterface(state) ? [...state.interfaces.keys()].filter((one) => live.links.has(one)).sort() : []
}

/** Where no interface is named: the packet arrives as it would on those of the policy. */
const anywhere = ({ interfaces }: State, { links }: Observation): Place & Named => ({
  name: undefined,
  ...PLACES[shapesOf(interfaces.keys(), links)[0] ?? 'ethernet'],
})

/** The judgement by the file, with the current next hops of backends. `sockets`: what the kernel says about the packet. */
function desiredJudgement(
  desired: Desired,
  live: Observation,
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
  sockets: Circumstances,
): Local<Judgement> {
  const facts = factsFor(query)
  const judged = judge(state, facts, sockets, ingress)
  const { verdict, reason, matches, balanced } = judged
  const lists = coveringOf(state, query, ingress, sockets, (cover) => {
    const origin = originIn(desired, cover, query.source)
    return { prefix: origin?.entry, at: origin?.at, about: origin?.about }
  })
  const conditions = {
    unlessEstablished: isExcepted(state, facts, judged),
    needsSocket: needsSocket(state, facts, sockets, ingress),
    anomalies: anomaliesMet(state, facts, sockets, ingress),
    observed: judged.observed,
    rateLimits: limitsOf(state, facts, ingress, sockets, desired),
  }
  const common = { ...NOTHING, lists, verdict, reason, ...conditions }
  if (balanced) return { ...common, ...balancedPart(balanced, desired) }
  const [match] = matches
  if (!match) return common
  const origin = originIn(desired, match, query.source)
  return { ...common, list: match.list.name, prefix: origin?.entry, at: origin?.at, about: origin?.about }
}

/** The generation that the interface runs; the committed one if no interface is given. */
function generationFor(live: Observation, name: string | undefined): number | undefined {
  if (name === undefined) return live.committed?.meta && live.generation
  const link = live.links.get(name)
  const generation = link?.programs.find((program) => program.generation !== undefined)?.generation
  if (generation !== undefined) return generation
  const attached = [...live.state.interfaces.keys()]
  const meant = nearest(name, attached)
  throw new XdpError([
    {
      code: link ? 'E114' : 'E103',
      severity: 'error',
      message: link ? `interface ${name} does not run our program` : `interface ${name} does not exist`,
      hint: meant ? `did you mean ${meant}?` : `our program runs on ${attached.join(', ') || 'no interface'}`,
    },
  ])
}

/** The judgement, and what the kernel says about the packet's socket. */
interface Live {
  readonly judgement: WhyResult['live']
  readonly sockets: Circumstances
}

async function liveJudgement(
  paths: Paths,
  live: Observation,
  desired: Desired | undefined,
  query: Query,
): Promise<Live> {
  const generation = generationFor(live, query.interface)
  if (generation === undefined) return { judgement: undefined, sockets: {} }
  const { filter, explain } = FILTER.programs
  const judging = live.instance.generations.find(({ number }) => number === generation)
  if (judging) requirePins(judging, [filter, explain])
  const judges = { filter: paths.program(generation, filter), explain: paths.program(generation, explain) }
  const places = placesFor(live, query)
  const ask = (packet: Packet) =>
    explainPacket(
      judges,
      packet,
      places.map(({ arrival }) => arrival),
    )
  const explained = await askWithSockets(ask, query, live.state)
  const judgements = await Promise.all(
    explained.map(async (answer, at) => {
      const { name, ingress } = places[at] as Place & Named
      const sockets = socketsOf(answer)
      return { name, judgement: await liveOn(paths, live, desired, query, { generation, ingress, sockets, ...answer }) }
    }),
  )
  const sockets = explained.map(socketsOf)
  return {
    judgement: merged<LiveJudgement>(judgements, query.interface !== undefined),
    sockets: {
      own: sockets.some(({ own }) => own),
      socketless: sockets.some(({ socketless }) => socketless),
      answered: sockets.some(({ answered }) => answered),
    },
  }
}

/** The interfaces to judge a packet on, as the live state knows them. */
function placesFor(live: Observation, query: Query): (Place & Named)[] {
  const named = namesFor(live.state, live, query).flatMap((name) => {
    const link = live.links.get(name)
    const roles = live.state.interfaces.get(name)?.roles
    return link ? [{ name, ...placeOn(link, live.slots.interfaces.get(name), roles) }] : []
  })
  return named.length > 0 ? named : [anywhere(live.state, live)]
}

/** What the data plane says of a packet, and where it arrived. */
interface Answer {
  readonly generation: number
  readonly ingress: Ingress
  /** By the attached program. */
  readonly verdict: Verdict
  /** By its twin. */
  readonly explanation: Explanation
  readonly sockets: Circumstances
}

async function liveOn(
  paths: Paths,
  live: Observation,
  desired: Desired | undefined,
  query: Query,
  { generation, ingress, verdict, explanation, sockets }: Answer,
): Promise<Local<LiveJudgement>> {
  const reason = REASON_NAMES[explanation.reason] ?? 'internal'
  // The scope of a ban is the length of its prefix.
  const isOfBan = reason === 'ban' || reason === 'ban-observed'
  const ban = isOfBan ? await readBan(paths, generation, query.source, explanation.scope) : undefined
  const circumstances = { ...sockets, banned: ban?.observe === false, observed: ban?.observe === true }
  const model = judge(live.state, factsFor(query), circumstances, ingress)
  const balanced = liveBalanced(live, explanation)
  const list = [...live.slots.lists].find(([, slot]) => explanation.list !== NONE && slot === explanation.list)?.[0]
  const match = model.matches.find((candidate) => candidate.list.name === list)
  const { family, words } = query.source
  const origin = list && desired ? originOf(desired.provenance, list, family, words) : undefined
  return {
    verdict,
    reason,
    list,
    prefix: ban ? formatPrefix(ban.prefix) : match && coveringRange(match.set, query.source),
    ban,
    lists: coveringOf(live.state, query, ingress, circumstances, (cover) => {
      const origin = originIn(desired, cover, query.source)
      return { prefix: coveringRange(cover.set, query.source), at: origin?.at, about: origin?.about }
    }),
    unlessEstablished: isExcepted(live.state, factsFor(query), model),
    needsSocket: needsSocket(live.state, factsFor(query), circumstances, ingress),
    anomalies: anomaliesMet(live.state, factsFor(query), circumstances, ingress),
    observed: model.observed,
    rateLimits: limitsOf(live.state, factsFor(query), ingress, circumstances, desired, usedBy(live, explanation)),
    ...balancedPart(balanced, desired),
    ...(origin ? { at: origin.at, about: origin.about } : {}),
    // The attached program, its twin, and the tables read back must agree.
    proven:
      verdict === verdictOfAction(explanation.verdict) &&
      verdict === model.verdict &&
      reason === model.reason &&
      (await agreesWithTables(paths, live, query, balanced, model.balanced)),
  }
}

/**
 * Judges the packet live and in the file. The verdict is a result, not a failure. Throws E103 or E114 for a bad
 * interface.
 */
export async function explain(
  paths: Paths,
  memory: Memory,
  desired: Desired | undefined,
  query: Query,
): Promise<WhyResult> {
  const live = await observe(paths, memory, desired ? { state: desired.state } : {})
  refuseOtherNamespace(live)
  const { judgement: ours, sockets } = await liveJudgement(paths, live, desired, query)
  const wanted = desired && desiredJudgement(desired, live, query, sockets)
  const services = withNextHops((desired?.state ?? live.state).services, live)
  const service = services.get((wanted ?? ours)?.service ?? '')
  return {
    address: formatAddress(query.source.family, query.source.words),
    advice: service ? adviceFor(service, query.source, live) : [],
    live: ours,
    desired: wanted,
  }
}
