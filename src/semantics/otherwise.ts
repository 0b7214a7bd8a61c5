// Parts of a policy that decide otherwise about some packets of an address than about the one that a question names: the
// fields that it leaves open may have any value. Each part is named exactly if such a packet exists: one that it matches, and
// nothing in front of it. Follows the precedence of `judge`. Sockets of the kernel are apart, but for entries that ask for
// none, and so are packets that a service refuses because of their size, TTL or fragments.

import { DEFAULT_POLICY } from '../model/policy.ts'
import { formatPorts } from '../model/ports.ts'
import { contains } from '../model/ranges.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import { sourcesOf } from '../model/rate-sources.ts'
import { coversInterface } from '../model/scope.ts'
import type { Service } from '../model/service.ts'
import type { List, ListKind, Scope, ScopedSet, State } from '../model/state.ts'
import { parseSyn } from '../model/syn-protection.ts'
import { compareAddresses } from '../model/text.ts'
import type { Verdict } from '../report/reason.ts'
import { soughtAnomalies } from './anomalies.ts'
import type { Ingress } from './judge.ts'
import { type Box, type Condition, findPacket, type Sample, within } from './packet-space.ts'
import { anomalyTests, essentialTests, hasFlaw, impossible, scopeTests, synTests } from './packet-tests.ts'
import { packetsOf, type Question } from './question.ts'
import { UNLIMITED } from './rates.ts'
import { servedTests, takenTests, toVips, unaskedTests, verdictOfService } from './served.ts'

/** Something that decides otherwise about some of the packets. */
export type Otherwise =
  | { readonly kind: 'entry'; readonly verdict: Verdict; readonly list: List; readonly set: ScopedSet }
  | { readonly kind: 'ban'; readonly verdict: Verdict }
  | { readonly kind: 'anomaly'; readonly verdict: Verdict; readonly name: string }
  | { readonly kind: 'rate_limit'; readonly verdict: Verdict; readonly limit: RateLimit }
  /** `tx`: SYNs that are answered; `drop`: acknowledgments without a valid cookie. */
  | { readonly kind: 'syn_protection'; readonly verdict: Verdict; readonly ports: string }
  | { readonly kind: 'service'; readonly verdict: Verdict; readonly service: Service }
  | { readonly kind: 'essential'; readonly verdict: Verdict; readonly groups: readonly string[] }
  | { readonly kind: 'unparsed' | 'default'; readonly verdict: Verdict }

/** A case with one of its packets; `unknown`: the search for one was too long, so the case is named. */
export interface Witnessed {
  readonly one: Otherwise
  readonly packet: Sample | 'unknown'
}

/** Packets: of one of the alternatives, and of none that are avoided. */
interface Packets {
  readonly among: readonly Condition[]
  readonly avoided: readonly Condition[]
  /** The only destination of all; undefined: any. */
  readonly to?: Uint32Array | undefined
  /** Meets all that any of `rarely` meets: few packets must be looked for in more detail. */
  readonly mostly?: Condition | undefined
  readonly rarely?: readonly Condition[] | undefined
}

/** A part of the policy, and the packets that it decides about. */
interface Candidate {
  readonly one: Otherwise | ((packet: Sample | 'unknown') => Otherwise)
  readonly packets: readonly Packets[]
}

const EVERY: Condition = []
const UNPARSED: Condition = [hasFlaw('cut')]
const PARSED: Condition = [hasFlaw(undefined, 'bad_length', 'ip_options', 'tiny_fragments')]
/** The part of a state that counts where our program does not filter. */
const NO_FILTER: Pick<State, 'policy' | 'lists' | 'rateLimits'> = { policy: undefined, lists: new Map() }

/** Whether an entry may apply to packets on the interface: see `inScope`. */
const onInterface = (scope: Scope, kind: ListKind, name: string | undefined): boolean =>
  name === undefined ? scope.interfaces === undefined || kind === 'blocklist' : coversInterface(scope, name)

const covers = ({ addresses }: Pick<ScopedSet, 'addresses'>, { source: { family, words } }: Question): boolean =>
  contains(family === 4 ? addresses.v4 : addresses.v6, words) >= 0

interface Entry {
  readonly list: List
  readonly set: ScopedSet
  readonly tests: Condition
}

/** The entries of one kind that cover the source and do not only observe. */
function entriesOf(lists: State['lists'], kind: ListKind, question: Question, ingress: Ingress): Entry[] {
  return [...lists.values()]
    .filter((list) => list.kind === kind)
    .flatMap((list) =>
      list.sets.flatMap((set): Entry[] => {
        const { scope } = set
        if (scope.action === 'observe' || !covers(set, question) || !onInterface(scope, kind, ingress.interface))
          return []
        const tests = scopeTests(scope, kind, question.source)
        return tests ? [{ list, set, tests }] : []
      }),
    )
}

/** The limits that may count packets of the source. */
function limitsOf({ lists, rateLimits }: Pick<State, 'lists' | 'rateLimits'>, question: Question, ingress: Ingress) {
  return [...(rateLimits?.values() ?? [])]
    .filter((limit) => {
      const addresses = sourcesOf(limit, lists)
      const isSource = !addresses || covers({ addresses }, question)
      return isSource && onInterface(limit.scope, 'blocklist', ingress.interface)
    })
    .sort((a, b) => a.position - b.position)
    .flatMap((limit) => {
      const tests = scopeTests(limit.scope, 'blocklist', question.source)
      return tests ? [{ limit, tests }] : []
    })
}

/** Packets that entries apply to in any case: one that may have no socket may have one. */
const testsOf = (entries: readonly Entry[]): Condition[] =>
  entries.filter(({ set }) => set.scope.socket !== 'none').map(({ tests }) => tests)

/** Packets that no part decides about but those that the alternatives are of. */
const only = (
  among: readonly Condition[],
  avoided: readonly Condition[] = [],
  more: Partial<Packets> = {},
): Packets => ({
  ...{ among, avoided },
  ...more,
})

/** The parts in front of limits, with the packets that each decides about. */
function partsBefore(state: State, question: Question, ingress: Ingress, isBanned: boolean) {
  const { source } = question
  const filters = ingress.roles.includes('filter')
  const { policy = DEFAULT_POLICY, lists } = filters ? state : NO_FILTER
  const allowing = entriesOf(lists, 'allowlist', question, ingress)
  const allowed = testsOf(allowing)
  const banned = isBanned && filters ? [EVERY] : []
  const blocking = entriesOf(lists, 'blocklist', question, ingress)
  const blocked = testsOf(blocking)
  const anomalies = soughtAnomalies(policy, ingress)
    .filter(({ action }) => action === 'drop')
    .map(({ name }) => ({ name, tests: anomalyTests(name, source) }))
  const stopped = [...banned, ...blocked, ...anomalies.flatMap(({ tests }) => tests)]
  const groups = policy.essential.map((name) => ({ name, tests: essentialTests(name, source) }))
  const decided = [...allowed, ...stopped]
  const unlimited = groups.filter(({ name }) => UNLIMITED.has(name)).flatMap(({ tests }) => tests)
  return {
    ...{ policy, allowing, allowed, banned, blocking, blocked, anomalies, decided, groups },
    limits: limitsOf(filters ? state : NO_FILTER, question, ingress),
    /** Packets that limits neither count nor hold up. */
    uncounted: [...decided, ...unlimited],
  }
}

/** The parts of a policy and the packets that each decides about, in the order of precedence. */
function candidatesOf(state: State, question: Question, ingress: Ingress, isBanned: boolean): Candidate[] {
  const { source } = question
  const services = ingress.roles.includes('balance')
    ? [...state.services.values()].filter(({ vip }) => vip.family === source.family)
    : []
  const unserved: Partial<Packets> =
    services.length > 0 ? { mostly: toVips(services), rarely: servedTests(services, source) } : {}
  const before = partsBefore(state, question, ingress, isBanned)
  const { policy, allowing, allowed, banned, blocking, blocked, anomalies, decided, groups, limits, uncounted } = before
  const drops = policy.default === 'drop'
  const essential = drops ? groups.flatMap(({ tests }) => tests) : []
  const hasUnparsed = policy.unparsed === 'drop' || !drops

  /** Packets that the filter does not stop, because of an entry of the allowlist or because of none; `rest`: of the latter. */
  const unstopped = (
    tests: Condition,
    avoided: readonly Condition[],
    more: Partial<Packets>,
    rest: readonly Condition[] = [EVERY],
  ): Packets[] => [
    ...allowed.map((entry) => only([[...entry, ...tests]], avoided, more)),
    only(
      rest.map((one) => [...one, ...tests]),
      [...decided, ...avoided],
      more,
    ),
  ]
  const { ports = [] } = parseSyn(policy.syn_protection) ?? {}
  const syn = (what: 'opening' | 'acknowledging', verdict: Verdict): Candidate => ({
    one: { kind: 'syn_protection', verdict, ports: ports.map(formatPorts).join(', ') },
    packets: ports.length > 0 ? unstopped(synTests(ports, what), [], unserved, drops ? essential : [EVERY]) : [],
  })
  return [
    ...allowing.map(({ list, set, tests }): Candidate => {
      const unasked = set.scope.socket === 'none' ? unaskedTests(services, source) : []
      return { one: { kind: 'entry', verdict: 'pass', list, set }, packets: [only([tests], unasked, unserved)] }
    }),
    { one: { kind: 'ban', verdict: 'drop' }, packets: [only(banned, allowed)] },
    ...blocking.map(({ list, set, tests }): Candidate => {
      const unasked = set.scope.socket === 'none' ? unaskedTests(services, source) : []
      const packets = [only([tests], [...allowed, ...banned, ...unasked])]
      return { one: { kind: 'entry', verdict: 'drop', list, set }, packets }
    }),
    ...anomalies.map(({ name, tests }, i): Candidate => {
      const earlier = anomalies.slice(0, i).flatMap((other) => other.tests)
      const packets = [only(tests, [...allowed, ...banned, ...blocked, ...earlier])]
      return { one: { kind: 'anomaly', verdict: 'drop', name }, packets }
    }),
    ...limits
      .filter(({ limit }) => limit.action === 'drop')
      .map(({ limit, tests }): Candidate => {
        return { one: { kind: 'rate_limit', verdict: 'drop', limit }, packets: [only([tests], uncounted)] }
      }),
    syn('opening', 'tx'),
    syn('acknowledging', 'drop'),
    ...takenTests(services).map(({ service, taken }): Candidate => {
      const verdictOn = (packet: Sample | 'unknown') =>
        verdictOfService(service, packet, source, ingress.ifindex, state.policy?.hash_key)
      const to = service.vip.words
      const packets = taken.flatMap(({ tests, avoided }) => unstopped(tests, avoided, { to }))
      return { one: (packet) => ({ kind: 'service', service, verdict: verdictOn(packet) }), packets }
    }),
    {
      one: { kind: 'default', verdict: policy.default },
      packets: [
        only([PARSED], [...decided, ...essential], unserved),
        ...(hasUnparsed ? [] : [only([UNPARSED], decided)]),
      ],
    },
    ...(drops ? groups : []).map(({ name, tests }): Candidate => {
      return {
        one: { kind: 'essential', verdict: 'pass', groups: [name] },
        packets: [only(tests, decided, unserved)],
      }
    }),
    {
      one: { kind: 'unparsed', verdict: policy.unparsed },
      packets: hasUnparsed ? [only([UNPARSED], decided)] : [],
    },
  ]
}

/** The packets with a destination; undefined: the question names another one. */
function towards(every: Box, to: Uint32Array | undefined): Box | undefined {
  if (to === undefined) return every
  const destination = every.destination.filter((words) => compareAddresses(words, to) === 0)
  return destination.length > 0 ? { ...every, destination } : undefined
}

const isFound = (packet: Sample | 'unknown' | undefined): packet is Sample => typeof packet === 'object'

/** One of the packets; `unknown`: the search for one is too long. */
function oneOf(every: Box, packets: readonly Packets[], general: readonly Condition[]): Sample | 'unknown' | undefined {
  let found: 'unknown' | undefined
  for (const { among, avoided, to, mostly, rarely = [] } of packets) {
    const some = towards(every, to)
    for (const tests of among) {
      const box = some && within(some, tests)
      if (box === undefined) continue
      const usual = mostly && findPacket(box, [...general, ...avoided, mostly])
      const packet = isFound(usual) ? usual : findPacket(box, [...general, ...avoided, ...rarely])
      if (isFound(packet)) return packet
      found ??= packet
    }
  }
  return found
}

/** Groups of essential packets are one case. */
function merged(cases: readonly Witnessed[]): Witnessed[] {
  const groups = cases.flatMap(({ one }) => (one.kind === 'essential' ? one.groups : []))
  const first = cases.find(({ one }) => one.kind === 'essential')
  return cases.flatMap((found) => {
    if (found.one.kind !== 'essential') return [found]
    return found === first ? [{ ...found, one: { ...found.one, groups } }] : []
  })
}

/**
 * The parts that decide otherwise than the verdict about some packets that a question is about, each with one of them.
 *
 * @param verdict of the packet that stands for the question
 */
export function witnessesOf(
  state: State,
  question: Question,
  verdict: Verdict,
  ingress: Ingress,
  isBanned: boolean,
): readonly Witnessed[] {
  const isSame = ({ verdict: other }: Otherwise): boolean =>
    other === verdict || (other === 'redirect' && verdict === 'tx')
  const candidates = candidatesOf(state, question, ingress, isBanned)
  const general = impossible(question.source)
  const conditions = candidates.flatMap(({ packets }) =>
    packets.flatMap(({ among, avoided, mostly = [], rarely = [] }) => [...among, ...avoided, mostly, ...rarely]),
  )
  const every = packetsOf(question, [...general, ...new Set(conditions)])
  if (every === undefined) return []
  const cases = candidates.flatMap(({ one, packets }): Witnessed[] => {
    if (typeof one !== 'function' && isSame(one)) return []
    const packet = oneOf(every, packets, general)
    if (packet === undefined) return []
    const known = typeof one === 'function' ? one(packet) : one
    return isSame(known) ? [] : [{ one: known, packet }]
  })
  return merged(cases)
}

/** The parts that decide otherwise: see witnessesOf. */
export const otherwiseOf = (...about: Parameters<typeof witnessesOf>): readonly Otherwise[] =>
  witnessesOf(...about).map(({ one }) => one)

/** A limit that counts packets of a question. `every`: all that reach the limits. */
export interface LimitAmong {
  readonly limit: RateLimit
  readonly counts: 'every' | 'some'
}

/** The limits that count some packets that a question is about, in the order in which packets meet them. */
export function limitsAmong(state: State, question: Question, ingress: Ingress, isBanned: boolean): LimitAmong[] {
  const { limits, uncounted } = partsBefore(state, question, ingress, isBanned)
  const general = impossible(question.source)
  const every = packetsOf(question, [...general, ...uncounted, ...limits.map(({ tests }) => tests)])
  if (every === undefined) return []
  return limits.flatMap(({ limit, tests }): LimitAmong[] => {
    if (oneOf(every, [only([tests], uncounted)], general) === undefined) return []
    const isEvery = oneOf(every, [only([EVERY], [...uncounted, tests])], general) === undefined
    return [{ limit, counts: isEvery ? 'every' : 'some' }]
  })
}
