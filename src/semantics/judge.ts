// Reference model of the filter: the verdict on a packet with the given facts. The data plane implements the same rules
// in C. `apply` sends packets through the loaded program and compares with `judge`; `why` shows both. Nothing here
// reads a packet: the code that builds or parses one supplies the facts.

import type { Family } from '../model/address.ts'
import { type AnomalyName, parseAnomaly } from '../model/anomaly.ts'
import { ARP, isLinkProtocol } from '../model/ethertypes.ts'
import { DEFAULT_POLICY, type EssentialGroup, type Policy } from '../model/policy.ts'
import { ICMP_OF, inRanges, type PortRange, TCP } from '../model/ports.ts'
import { contains } from '../model/ranges.ts'
import { decides } from '../model/rate-sources.ts'
import { coversInterface } from '../model/scope.ts'
import {
  EVERY_ROLE,
  type List,
  type ListKind,
  type Role,
  type Scope,
  type ScopedSet,
  type State,
} from '../model/state.ts'
import { parseSyn } from '../model/syn-protection.ts'
import { type ReasonName, type Verdict, verdictOf } from '../report/reason.ts'
import { metAnomalies } from './anomalies.ts'
import { type Balanced, balance, isServed, type Transit } from './balance.ts'
import { fits, type Traits } from './match.ts'

/** Why a packet could not be parsed to the end. */
export type Unparsed = 'malformed' | 'unsupported'

/** A packet whose IP header is sound. */
export interface IpFacts {
  readonly kind: 'ip'
  readonly family: Family
  /** One word for IPv4, four for IPv6, in host order. */
  readonly source: Uint32Array
  /** Upper-layer protocol; undefined if unknown. */
  readonly protocol: number | undefined
  /** Of TCP and UDP; undefined in later fragments and if the header is cut off. */
  readonly ports: { readonly source: number; readonly destination: number } | undefined
  /** Fields that the match of an entry asks for; undefined: unknown, and no such entry applies. */
  readonly traits?: Traits | undefined
  /** The group of packets that default drop may pass (`policy.essential`). */
  readonly essential: EssentialGroup | undefined
  /** Reason to count if no list decides; undefined = all headers were parsed. */
  readonly unparsed: Unparsed | undefined
  /** Anomalies of the packet, whether or not a policy names them; undefined: none. */
  readonly anomalies?: readonly AnomalyName[] | undefined
  /** Facts for the balancer; undefined: unknown, and the balancer is not asked. */
  readonly transit?: Transit | undefined
}

export type Facts =
  | IpFacts
  /** `ethertype`: behind VLAN tags; below 0x600 the length of an 802.3 frame. */
  | { readonly kind: 'not-ip'; readonly ethertype: number }
  /** Ethernet, VLAN tags or the IP header cannot be parsed. */
  | { readonly kind: 'unparsed'; readonly reason: Unparsed }

export interface Match {
  readonly list: List
  readonly set: ScopedSet
}

export interface Judged {
  readonly verdict: Verdict
  /** The balancer's decision, if it made one. */
  readonly balanced?: Balanced | undefined
  readonly reason: ReasonName
  /** All matches of the deciding kind, in the order of list names. `explain` names the first. */
  readonly matches: readonly Match[]
  /** Names of the lists that count the packet. */
  readonly lists: readonly string[]
  /** Names of the lists that count it as one that they would drop. */
  readonly observed: readonly string[]
}

const holds = (ranges: readonly PortRange[], port: number): boolean => ranges.length === 0 || inRanges(ranges, port)

/** Whether a scope of an entry covers an interface. An unknown one might be any: it is blocked, but not allowed. */
const onInterface = (scope: Scope, kind: ListKind, name: string | undefined): boolean =>
  name === undefined ? scope.interfaces === undefined || kind === 'blocklist' : coversInterface(scope, name)

/**
 * Whether a scope of a list of this kind applies to a packet. An unknown protocol or port matches no scope that requires
 * one; nor does a header field that the packet does not have, but for TCP flags that a first fragment hides.
 */
export function inScope(
  scope: Scope,
  kind: ListKind,
  facts: IpFacts,
  ingress: Ingress,
  { socketless = false }: Circumstances = {},
): boolean {
  const { family, protocol, ports } = facts
  if (!onInterface(scope, kind, ingress.interface)) return false
  if (scope.socket === 'none' && !(socketless && ports)) return false
  if (scope.protocol !== 'any' && protocol !== (scope.protocol === 'icmp' ? ICMP_OF[family] : scope.protocol))
    return false
  if (scope.match && !(facts.traits && fits(scope.match, facts.traits, family, kind))) return false
  if (scope.sourcePorts.length === 0 && scope.destinationPorts.length === 0) return true
  return (
    ports !== undefined && holds(scope.sourcePorts, ports.source) && holds(scope.destinationPorts, ports.destination)
  )
}

const covers = ({ addresses }: ScopedSet, { family, source }: IpFacts): boolean =>
  contains(family === 4 ? addresses.v4 : addresses.v6, source) >= 0

function matchesOf(
  lists: readonly List[],
  kind: ListKind,
  facts: IpFacts,
  ingress: Ingress,
  circumstances: Circumstances,
): Match[] {
  return lists
    .filter((list) => list.kind === kind)
    .flatMap((list) =>
      list.sets
        .filter((set) => inScope(set.scope, kind, facts, ingress, circumstances) && covers(set, facts))
        .map((set) => ({ list, set })),
    )
}

/** An entry that covers a packet's source. */
export interface Cover extends Match {
  /** Whether it applies to the packet. */
  readonly matches: boolean
}

/** Every entry of an allowlist or blocklist that covers the source of a packet: those that apply first, allowlists first, in the order of names. */
export function coversOf(
  { lists, services }: Pick<State, 'lists' | 'services'>,
  facts: Facts,
  ingress: Ingress = TEST_INGRESS,
  circumstances: Circumstances = {},
): Cover[] {
  if (facts.kind !== 'ip') return []
  const about = forFilter(services, facts, circumstances, ingress)
  const rank = ({ matches, list: { kind } }: Cover): number => (matches ? 0 : 2) + (kind === 'allowlist' ? 0 : 1)
  return [...lists.values()]
    .filter(decides)
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .flatMap((list) =>
      list.sets
        .filter((set) => covers(set, facts))
        .map((set) => ({
          list,
          set,
          matches: ingress.roles.includes('filter') && inScope(set.scope, list.kind, facts, ingress, about),
        })),
    )
    .sort((a, b) => rank(a) - rank(b))
}

/** Whether the verdict of a state on a packet may depend on the interface of ours that receives it. */
export const dependsOnInterface = ({
  lists,
  interfaces,
  rateLimits,
  policy,
}: Pick<State, 'lists' | 'interfaces' | 'rateLimits' | 'policy'>): boolean =>
  (policy?.anomalies ?? []).some((text) => interfaces.has('lo') || parseAnomaly(text).interfaces !== undefined) ||
  [...(rateLimits?.values() ?? [])].some(({ scope }) => scope.interfaces !== undefined) ||
  [...lists.values()].some(({ sets }) => sets.some(({ scope }) => scope.interfaces !== undefined)) ||
  [...interfaces.values()].some(({ roles }) => roles.length < EVERY_ROLE.length)

const namesOf = (matches: readonly Match[]): readonly string[] => [...new Set(matches.map(({ list }) => list.name))]

function judged(verdict: Verdict, reason: ReasonName, matches: readonly Match[] = []): Judged {
  return { verdict, reason, matches, lists: namesOf(matches), observed: [] }
}

/** The receiving interface. */
export interface Ingress {
  readonly ifindex: number
  /** Its name; undefined = none that runs our program. */
  readonly interface?: string | undefined
  readonly roles: readonly Role[]
}

/** Facts about a packet that a state does not have. */
export interface Circumstances {
  /** A ban is in force for its source. */
  readonly banned?: boolean | undefined
  /** A ban that only observes is. */
  readonly observed?: boolean | undefined
  /** It belongs to a connection that this host opened. */
  readonly own?: boolean | undefined
  /**
   * This host receives it and has no socket for it, and it does not open a connection: TCP, not a fragment. Packets of
   * services do not count, whatever this says.
   */
  readonly socketless?: boolean | undefined
  /** It opens a connection to a socket that listens on this host, and SYNs are answered now. */
  readonly answered?: boolean | undefined
  /** It acknowledges something to a socket that listens on this host, without a valid cookie, and SYNs are answered now. */
  readonly unproven?: boolean | undefined
}

/** A test run that stands for no interface of the file arrives on lo, always the first device of a namespace. */
export const TEST_INGRESS: Ingress = { ifindex: 1, roles: EVERY_ROLE }

/**
 * The verdict of a state on a packet. Any allowlist entry that covers the source and applies beats a ban, a ban beats
 * every blocklist entry, and any blocklist entry that drops beats anomalies and the default, whatever the prefix lengths. A packet
 * not dropped so far may be for a service. The last question before a drop by a list or the default is whether the packet belongs to
 * a connection that this host opened. Bans and sockets are not part of a state: see Circumstances.
 */
export function judge(
  state: JudgedState,
  facts: Facts,
  circumstances: Circumstances = {},
  ingress: Ingress = TEST_INGRESS,
): Judged {
  const { services = NO_SERVICES } = state
  const { own = false } = circumstances
  const filters = ingress.roles.includes('filter')
  const filtered = filter(
    filters ? state : NO_FILTER,
    facts,
    forFilter(services, facts, circumstances, ingress),
    ingress,
  )
  const goesOn = !['blocklist', 'ban', 'anomaly'].includes(filtered.reason)
  const asked = own && isExcepted(state, facts, filtered) ? { ...filtered, ...ESTABLISHED } : filtered
  const ours = guarded(state, facts, circumstances, ingress, asked)
  if (facts.kind !== 'ip' || facts.unparsed || !goesOn || !ingress.roles.includes('balance')) return ours
  const balanced = balance(services, facts, ingress.ifindex, state.policy?.hash_key)
  if (!balanced || (balanced.reason === 'other-host' && filtered.verdict === 'drop')) return ours
  const drops = filters && state.policy?.unparsed === 'drop'
  const reason = drops && isUnparsed(balanced.reason) ? DROPPED[balanced.reason] : balanced.reason
  return { ...filtered, verdict: verdictOf(reason), reason, balanced }
}

const isDroppedFor = (policy: Policy, facts: IpFacts, ingress: Ingress): boolean =>
  metAnomalies(policy, facts, ingress).at(-1)?.action === 'drop'

/** While SYNs are answered, one to a protected port is, if it would pass to this host, and acknowledgments need a cookie. */
function guarded(
  { policy }: JudgedState,
  facts: Facts,
  { answered = false, unproven = false }: Circumstances,
  { roles }: Ingress,
  passing: Judged,
): Judged {
  const port = facts.kind === 'ip' && facts.protocol === TCP ? facts.ports?.destination : undefined
  if (!(answered || unproven) || port === undefined || passing.verdict !== 'pass' || !roles.includes('filter'))
    return passing
  const { ports = [] } = parseSyn(policy?.syn_protection ?? '') ?? {}
  if (!inRanges(ports, port)) return passing
  const reason = answered ? 'syn-answered' : 'syn-cookie-invalid'
  return { ...passing, verdict: verdictOf(reason), reason }
}

const ESTABLISHED = { verdict: 'pass', reason: 'established' } as const

/** The circumstances for the filter: packets of services have their sockets elsewhere. */
function forFilter(
  services: State['services'],
  facts: Facts,
  { banned, observed, socketless = false }: Circumstances,
  { roles }: Ingress,
): Circumstances {
  const served = socketless && facts.kind === 'ip' && roles.includes('balance') && isServed(services, facts)
  const filters = roles.includes('filter')
  return { banned: banned && filters, observed: observed && filters, socketless: socketless && !served }
}

/** Whether a packet that the filter drops passes if it belongs to a connection that this host opened. */
export function isExcepted({ policy }: Pick<State, 'policy'>, facts: Facts, { reason, matches }: Judged): boolean {
  if (facts.kind !== 'ip' || facts.unparsed) return false
  if (reason !== 'default-drop' && reason !== 'blocklist') return false
  const ofPolicy = policy?.established
  if (reason === 'default-drop') return ofPolicy === 'pass'
  return matches.every(({ set }) => (set.scope.established ?? ofPolicy) === 'pass')
}

/** Reasons under `unparsed: drop`. */
const DROPPED = { malformed: 'malformed-drop', unsupported: 'unsupported-drop' } as const

const isUnparsed = (reason: ReasonName): reason is Unparsed => Object.hasOwn(DROPPED, reason)

/** Whether a packet that passes would be dropped if this host had no socket for it. Of those that open a connection, the next. */
export const needsSocket = (
  state: JudgedState,
  facts: Facts,
  circumstances: Circumstances,
  ingress: Ingress,
): boolean =>
  judge(state, facts, circumstances, ingress).verdict === 'pass' &&
  judge(state, facts, { ...circumstances, socketless: true }, ingress).verdict === 'drop'

/** The parts of a state that a verdict depends on. */
type JudgedState = Pick<State, 'policy' | 'lists'> & Partial<Pick<State, 'services'>>

const NO_SERVICES: State['services'] = new Map()
const NO_FILTER: JudgedState = { policy: undefined, lists: new Map() }

const unparsedOf = (reason: Unparsed, drops: boolean): Judged =>
  drops ? judged('drop', DROPPED[reason]) : judged('pass', reason)

function filter(
  { policy = DEFAULT_POLICY, lists }: JudgedState,
  facts: Facts,
  circumstances: Circumstances,
  ingress: Ingress,
): Judged {
  const dropping = policy.default === 'drop'
  const droppingUnparsed = policy.unparsed === 'drop'
  if (facts.kind === 'unparsed') return unparsedOf(facts.reason, droppingUnparsed)
  if (facts.kind === 'not-ip') {
    if (dropping && facts.ethertype === ARP) return judged('pass', 'essential')
    return droppingUnparsed && !isLinkProtocol(facts.ethertype)
      ? judged('drop', 'not-ip-drop')
      : judged('pass', 'not-ip')
  }
  const sorted = [...lists.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  const allowed = matchesOf(sorted, 'allowlist', facts, ingress, circumstances)
  if (allowed.length > 0) return judged('pass', 'allowlist', allowed)
  if (circumstances.banned) return judged('drop', 'ban')
  const blocking = matchesOf(sorted, 'blocklist', facts, ingress, circumstances)
  const seen = blocking.filter(({ set }) => set.scope.action === 'observe')
  const blocked = blocking.filter(({ set }) => set.scope.action !== 'observe')
  const observed = namesOf(seen)
  if (blocked.length > 0) return { ...judged('drop', 'blocklist', blocked), observed }
  if (isDroppedFor(policy, facts, ingress)) return { ...judged('drop', 'anomaly'), observed }
  const rest = byDefault(policy, facts)
  if (rest.reason === 'default-pass' && seen.length === 0 && circumstances.observed)
    return { ...rest, reason: 'ban-observed', observed }
  const says = rest.reason === 'default-pass' && seen.length > 0
  return says ? { ...rest, reason: 'observed', matches: seen, observed } : { ...rest, observed }
}

/** The verdict on a packet that neither lists nor bans decide. */
function byDefault(policy: Policy, facts: IpFacts): Judged {
  const dropping = policy.default === 'drop'
  const droppingUnparsed = policy.unparsed === 'drop'
  // The address is known: where unparsed packets pass, the default still drops this one.
  if (facts.unparsed && (droppingUnparsed || !dropping)) return unparsedOf(facts.unparsed, droppingUnparsed)
  if (!dropping) return judged('pass', 'default-pass')
  const { essential } = facts
  const passes = essential !== undefined && !facts.unparsed && policy.essential.includes(essential)
  return passes ? judged('pass', 'essential') : judged('drop', 'default-drop')
}
