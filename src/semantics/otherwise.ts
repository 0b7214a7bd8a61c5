// Parts of a policy that decide otherwise about some packets of an address than about the one that a question names: the
// fields that it leaves open may have any value. Follows the precedence of `judge`, and never leaves out what could decide; it may name an entry
// that an equal one in front of it hides.

import type { Family } from '../model/address.ts'
import { parseAnomaly } from '../model/anomaly.ts'
import type { PacketMatch } from '../model/packet-match.ts'
import { DEFAULT_POLICY } from '../model/policy.ts'
import { formatPorts, ICMP_OF, type PortRange, PROTOCOL_NUMBERS, TCP } from '../model/ports.ts'
import { contains } from '../model/ranges.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import { sourcesOf } from '../model/rate-sources.ts'
import { coversInterface } from '../model/scope.ts'
import { isAnyPort, type Service } from '../model/service.ts'
import type { List, Scope, ScopedSet, State } from '../model/state.ts'
import { parseSyn } from '../model/syn-protection.ts'
import type { Verdict } from '../report/reason.ts'
import type { Ingress } from './judge.ts'

/** A packet of which only some fields are known. */
export interface Question {
  readonly family: Family
  readonly source: Uint32Array
  readonly destination?: Uint32Array | undefined
  readonly protocol?: number | undefined
  readonly sourcePort?: number | undefined
  readonly destinationPort?: number | undefined
  readonly tcpFlags?: number | undefined
  readonly icmp?: { readonly type: number; readonly code: number } | undefined
  readonly length?: number | undefined
  readonly ttl?: number | undefined
  readonly dscp?: number | undefined
  readonly fragment?: 'first' | 'later' | undefined
  readonly vlan?: number | undefined
}

/** Something that decides otherwise about some of the packets. */
export type Otherwise =
  | { readonly kind: 'entry'; readonly verdict: Verdict; readonly list: List; readonly set: ScopedSet }
  | { readonly kind: 'ban'; readonly verdict: Verdict }
  | { readonly kind: 'anomaly'; readonly verdict: Verdict; readonly name: string }
  | { readonly kind: 'rate_limit'; readonly verdict: Verdict; readonly limit: RateLimit }
  | { readonly kind: 'syn_protection'; readonly verdict: Verdict; readonly ports: string }
  | { readonly kind: 'service'; readonly verdict: Verdict; readonly service: Service }
  | { readonly kind: 'essential'; readonly verdict: Verdict; readonly groups: readonly string[] }
  | { readonly kind: 'unparsed' | 'default'; readonly verdict: Verdict }

/** Whether all, some or none of the packets of a question have something. */
type Share = 'all' | 'some' | 'none'

const least = (...shares: readonly Share[]): Share =>
  shares.includes('none') ? 'none' : shares.includes('some') ? 'some' : 'all'

const numberOf = (protocol: number | 'icmp', family: Family): number =>
  protocol === 'icmp' ? ICMP_OF[family] : protocol

/** Of a field that may be known: all or none have it, else some. */
const known = <T>(value: T | undefined, has: (value: T) => boolean): Share =>
  value === undefined ? 'some' : has(value) ? 'all' : 'none'

const holds = (ranges: readonly PortRange[], port: number): boolean =>
  ranges.some(({ first, last }) => first <= port && port <= last)

/** Ports are those of TCP and UDP, and later fragments have none. */
function portShare(ranges: readonly PortRange[], port: number | undefined, { fragment }: Question): Share {
  if (ranges.length === 0) return 'all'
  return fragment === 'later' ? 'none' : known(port, (number) => holds(ranges, number))
}

function icmpShare(kinds: NonNullable<PacketMatch['icmp']>, { family, icmp, fragment }: Question): Share {
  const own = kinds.flatMap(({ v4, v6, code4, code6 }) => {
    const [type, code] = family === 4 ? [v4, code4] : [v6, code6]
    return type === undefined ? [] : [{ type, code }]
  })
  if (own.length === 0 || fragment === 'later') return 'none'
  return known(icmp, (found) =>
    own.some(({ type, code }) => type === found.type && (code === undefined || code === found.code)),
  )
}

/** A question that names no fragment may be about one. */
function fragmentShare(wanted: NonNullable<PacketMatch['fragments']>, { fragment }: Question): Share {
  if (fragment === undefined) return 'some'
  return wanted === 'any' || wanted === fragment ? 'all' : 'none'
}

function matchShare(match: PacketMatch | undefined, question: Question): Share {
  if (match === undefined) return 'all'
  const { tcpFlags, icmp, length, ttl, dscp, fragments, vlan, destinations } = match
  const within = (range: PortRange, value: number | undefined) => known(value, (number) => holds([range], number))
  const own = question.family === 4 ? destinations?.v4 : destinations?.v6
  return least(
    tcpFlags
      ? question.fragment === 'later'
        ? 'none'
        : known(question.tcpFlags, (flags) => (flags & tcpFlags.mask) === tcpFlags.value)
      : 'all',
    icmp ? icmpShare(icmp, question) : 'all',
    length ? within(length, question.length) : 'all',
    ttl ? within(ttl, question.ttl) : 'all',
    dscp ? known(question.dscp, (point) => dscp.includes(point)) : 'all',
    fragments ? fragmentShare(fragments, question) : 'all',
    vlan ? within(vlan, question.vlan) : 'all',
    own ? (own.length === 0 ? 'none' : known(question.destination, (words) => contains(own, words) >= 0)) : 'all',
  )
}

/** The share of the packets that a scope applies to, on an interface. */
function scopeShare(scope: Scope, question: Question, { interface: name }: Ingress): Share {
  const { protocol, sourcePorts, destinationPorts, match, socket } = scope
  const isThere = name === undefined ? 'some' : coversInterface(scope, name) ? 'all' : 'none'
  return least(
    scope.interfaces === undefined ? 'all' : isThere,
    protocol === 'any' ? 'all' : known(question.protocol, (number) => number === numberOf(protocol, question.family)),
    portShare(sourcePorts, question.sourcePort, question),
    portShare(destinationPorts, question.destinationPort, question),
    matchShare(match, question),
    socket === 'none' ? 'some' : 'all',
  )
}

const covers = ({ addresses }: ScopedSet, { family, source }: Question): boolean =>
  contains(family === 4 ? addresses.v4 : addresses.v6, source) >= 0

/** The entries of one kind that drop or pass some of the packets, and whether one of them does so with all. */
function entries(lists: State['lists'], kind: List['kind'], question: Question, ingress: Ingress) {
  const found = [...lists.values()]
    .filter((list) => list.kind === kind)
    .flatMap((list) =>
      list.sets
        .filter((set) => set.scope.action !== 'observe' && covers(set, question))
        .map((set) => ({ list, set, share: scopeShare(set.scope, question, ingress) })),
    )
    .filter(({ share }) => share !== 'none')
  return {
    found,
    isWhole: (spares: (scope: Scope) => boolean) => found.some((one) => one.share === 'all' && !spares(one.set.scope)),
  }
}

function limitsOf({ lists, rateLimits }: State, question: Question, ingress: Ingress): Otherwise[] {
  const { family, source } = question
  return [...(rateLimits?.values() ?? [])]
    .filter((limit) => {
      const { action, scope } = limit
      const sources = sourcesOf(limit, lists)
      const isSource = !sources || contains(family === 4 ? sources.v4 : sources.v6, source) >= 0
      return action === 'drop' && isSource && scopeShare(scope, question, ingress) !== 'none'
    })
    .sort((a, b) => a.position - b.position)
    .map((limit) => ({ kind: 'rate_limit', verdict: 'drop', limit }))
}

function servicesOf({ services }: State, question: Question, { roles }: Ingress): Otherwise[] {
  const { family, destination, protocol, destinationPort } = question
  if (!roles.includes('balance')) return []
  const takes = (service: Service): boolean =>
    service.vip.family === family &&
    known(destination, (words) => words.every((word, at) => word === service.vip.words[at])) !== 'none' &&
    known(protocol, (number) => service.protocols.some((one) => PROTOCOL_NUMBERS[one] === number)) !== 'none' &&
    (isAnyPort(service) || portShare(service.ports, destinationPort, question) !== 'none')
  return [...services.values()].filter(takes).map((service) => ({ kind: 'service', verdict: 'redirect', service }))
}

function synOf({ policy }: State, { protocol, destinationPort }: Question): Otherwise[] {
  const { ports = [] } = parseSyn(policy?.syn_protection ?? '') ?? {}
  const isPossible = ports.length > 0 && known(protocol, (number) => number === TCP) !== 'none'
  if (!isPossible || known(destinationPort, (port) => holds(ports, port)) === 'none') return []
  return [{ kind: 'syn_protection', verdict: 'tx', ports: ports.map(formatPorts).join(', ') }]
}

function anomaliesOf({ policy }: State, { interface: name }: Ingress): Otherwise[] {
  const sought = (policy?.anomalies ?? []).map(parseAnomaly)
  return sought
    .filter(
      ({ action, interfaces }) => action === 'drop' && (!interfaces || name === undefined || interfaces.includes(name)),
    )
    .map((anomaly) => ({ kind: 'anomaly', verdict: 'drop', name: anomaly.name }))
}

/** The verdicts of the policy on packets that nothing else decides about. */
function defaultsOf({ policy = DEFAULT_POLICY }: State): Otherwise[] {
  const groups = policy.default === 'drop' ? policy.essential : []
  return [
    { kind: 'default', verdict: policy.default },
    ...(groups.length > 0 ? [{ kind: 'essential', verdict: 'pass', groups } as const] : []),
    { kind: 'unparsed', verdict: policy.unparsed },
  ]
}

/** Every level of a policy that decides about some of the packets, in the order of precedence. */
function levels(state: State, question: Question, ingress: Ingress, isBanned: boolean): Otherwise[] {
  const later = () => [...servicesOf(state, question, ingress), ...defaultsOf(state)]
  if (!ingress.roles.includes('filter')) return servicesOf(state, question, ingress)
  const allowed = entries(state.lists, 'allowlist', question, ingress)
  const passes = allowed.found.map(({ list, set }): Otherwise => ({ kind: 'entry', verdict: 'pass', list, set }))
  const syn = synOf(state, question)
  if (allowed.isWhole(() => false)) return [...passes, ...syn, ...servicesOf(state, question, ingress)]
  if (isBanned)
    return [
      ...passes,
      { kind: 'ban', verdict: 'drop' },
      ...(passes.length > 0 ? servicesOf(state, question, ingress) : []),
    ]
  const blocked = entries(state.lists, 'blocklist', question, ingress)
  const drops = blocked.found.map(({ list, set }): Otherwise => ({ kind: 'entry', verdict: 'drop', list, set }))
  const spares = ({ established }: Scope): boolean => (established ?? state.policy?.established) === 'pass'
  if (blocked.isWhole(spares))
    return [...passes, ...drops, ...(passes.length > 0 ? servicesOf(state, question, ingress) : [])]
  return [
    ...passes,
    ...drops,
    ...anomaliesOf(state, ingress),
    ...limitsOf(state, question, ingress),
    ...syn,
    ...later(),
  ]
}

/**
 * The parts that decide otherwise than the verdict about some packets that a question is about.
 *
 * @param verdict of the packet that stands for the question
 */
export const otherwiseOf = (
  state: State,
  question: Question,
  verdict: Verdict,
  ingress: Ingress,
  isBanned: boolean,
): readonly Otherwise[] => {
  const isSame = (other: Verdict): boolean => other === verdict || (other === 'redirect' && verdict === 'tx')
  return levels(state, question, ingress, isBanned).filter((one) => !isSame(one.verdict))
}
