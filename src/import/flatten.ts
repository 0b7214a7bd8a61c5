// Rules as a tool prints them, with jumps between chains → one flat list of rules per base chain. Replaces a jump by
// the rules of its target, each narrowed to the packets that jump.
//
// The match of a rule that cannot be imported holds every packet that the rule matches, and possibly more. Such a rule
// drops nothing, because each of its packets may be one that the source does not drop; and whatever it may let pass
// counts as passing. So packets that leave a chain without a verdict (`return`, or the end of a `goto`) are no part of
// the drops after that point of the chain.

import type { Diagnostic } from '../diagnostics.ts'
import type { Family } from '../model/address.ts'
import type { DefaultVerdict } from '../model/policy.ts'
import type { RateSpec } from './rate-spec.ts'
import { RATED, rateObjection } from './rates.ts'
import { type Chain, type Exception, type Match, narrow, type Rule } from './rules.ts'
import { anyTraffic, isAnyTraffic, onlyProtocols } from './scopes.ts'
import { excerpt, leftOut, type Place, replyRule } from './source.ts'
import type { Spans } from './spans.ts'

export type Action =
  /** `unknown`: the packet may pass, be dropped, or go on. */
  | { readonly do: 'drop' | 'accept' | 'return' | 'nothing' | 'unknown' }
  /**
   * Accepts packets of known connections, and no others. `icmp`: those of ICMP become an allowlist entry, because
   * `established` does not know them.
   */
  | { readonly do: 'established'; readonly icmp: boolean }
  /** `goto`: the packet does not return to this chain. */
  | { readonly do: 'jump' | 'goto'; readonly target: string }

export interface WrittenRule {
  readonly place: Place
  /** The rule as written, for messages; empty if its place says enough. */
  readonly text: string
  /** Every packet that the rule matches. Holds further ones only with an objection. */
  readonly match: Match
  readonly action: Action
  readonly comment: string | undefined
  /** Why the rule cannot be imported exactly; undefined if it can. */
  readonly objection: string | undefined
  /** Losses of an imported rule. */
  readonly remarks: readonly string[]
  /** The rule applies beyond this rate, or within it. */
  readonly rate?: RateSpec | undefined
  /** Ports whose SYNs it answers with cookies. */
  readonly protects?: Spans | undefined
}

export interface BaseChain {
  readonly place: Place
  readonly families: readonly Family[]
  readonly default: DefaultVerdict
  readonly rules: readonly WrittenRule[]
}

/** A limit that is near to a rule that was left out. */
export interface Suggestion {
  readonly place: Place
  readonly match: Match
  readonly rate: RateSpec
}

/** Ports whose SYNs a rule answers. */
export interface Protection {
  readonly place: Place
  readonly ports: Spans
}

/** Jumps nested deeper than this are a loop, which no kernel accepts. */
const MAX_DEPTH = 16

const matchesAll = ({ addresses, traffic }: Match, families: readonly Family[]): boolean =>
  addresses === undefined && isAnyTraffic(traffic) && families.every((family) => traffic.families.includes(family))

interface Walk {
  readonly base: BaseChain
  readonly chains: ReadonlyMap<string, readonly WrittenRule[]>
  readonly rules: Rule[]
  /** By place, because several rules may jump to one chain. */
  readonly notes: Map<string, Diagnostic>
  default: DefaultVerdict
  /** As in Chain, so far. */
  spares: boolean
  readonly suggestions: Suggestion[]
  readonly protects: Protection[]
}

/** A chain on the way to its end. */
interface Visit {
  /** Every packet that enters the chain. Holds further ones only with an objection. */
  readonly match: Match
  readonly objection: string | undefined
  readonly comment: string | undefined
  readonly depth: number
  /** Packets that left this chain, or a chain that jumps to it, without a verdict. */
  readonly left: Exception[]
}

/** Packets of a chain after a rule: some continue, all return to the calling chain, or none are left. */
type Rest = 'on' | 'back' | 'none'

const note = ({ notes }: Walk, { place, text }: WrittenRule, why: string): void => {
  const message = text === '' ? why : `${why}: ${excerpt(text)}`
  notes.set(`${place.text} ${why}`, leftOut(place, message))
}

/** A rule whose rate says nothing about the packets that it drops or accepts. */
const withoutRate = (rule: WrittenRule): WrittenRule =>
  rule.rate === undefined || ['drop', 'accept', 'unknown'].includes(rule.action.do)
    ? rule
    : { ...rule, rate: undefined, objection: rule.objection ?? RATED }

function takeRule(written: WrittenRule, visit: Visit, walk: Walk): Rest {
  const rule = withoutRate(written)
  const { action, objection } = rule
  if (objection === undefined) for (const remark of rule.remarks) note(walk, rule, remark)
  const match = narrow(visit.match, rule.match)
  if (rule.protects !== undefined && visit.objection === undefined && matchesAll(visit.match, walk.base.families))
    walk.protects.push({ place: rule.place, ports: rule.protects })
  const whole = objection === undefined && matchesAll(rule.match, visit.match.traffic.families)
  switch (action.do) {
    case 'nothing':
      if (objection !== undefined) note(walk, rule, `left out because ${objection}`)
      return 'on'
    case 'jump':
    case 'goto':
      return takeJump(rule, action, match, whole, visit, walk)
    case 'return':
      return takeReturn(rule, match, whole, visit, walk)
    case 'established':
      return takeEstablished(rule, action.icmp, match, visit, walk)
    case 'drop':
    case 'accept':
    case 'unknown':
      return takeVerdict(rule, action.do, match, whole, visit, walk)
    default:
      return action satisfies never
  }
}

function takeVerdict(
  rule: WrittenRule,
  verdict: 'drop' | 'accept' | 'unknown',
  match: Match,
  whole: boolean,
  visit: Visit,
  walk: Walk,
): Rest {
  if (rule.rate !== undefined) return takeRated({ ...rule, rate: rule.rate }, verdict, match, visit, walk)
  const unknown = verdict === 'unknown' ? 'its action is unknown' : undefined
  const objection = rule.objection ?? visit.objection ?? unknown
  if (objection !== undefined && verdict === 'drop') {
    if (rule.objection !== undefined) note(walk, rule, `left out because ${objection}`)
    return whole ? 'none' : 'on'
  }
  if (objection === undefined && visit.left.length === 0 && matchesAll(match, walk.base.families)) {
    walk.default = verdict === 'drop' ? 'drop' : 'pass'
    return 'none'
  }
  const { place, text } = rule
  const comment = rule.comment ?? visit.comment
  const kind = verdict === 'drop' ? 'blocklist' : 'allowlist'
  const spares = walk.spares
  walk.rules.push({ place, text, kind, ...match, comment, objection, except: [...visit.left], spares })
  return whole && verdict !== 'unknown' ? 'none' : 'on'
}

/** A drop beyond a rate, or an accept within one. A rule without an end: the other packets go on. */
function takeRated(
  rule: WrittenRule & { readonly rate: RateSpec },
  verdict: 'drop' | 'accept' | 'unknown',
  match: Match,
  visit: Visit,
  walk: Walk,
): Rest {
  const { rate, ...plain } = rule
  const isPair = verdict === (rate.over ? 'drop' : 'accept')
  const why = isPair ? rateObjection(rate, match.traffic, walk.spares) : RATED
  const objection = rule.objection ?? visit.objection ?? why
  if (objection !== undefined || (verdict === 'drop' && visit.left.length > 0)) {
    const isNear = rule.objection === undefined && visit.objection === undefined && isPair
    if (verdict === 'drop' && isNear) walk.suggestions.push({ place: rule.place, match, rate })
    const reason = objection === why && why !== undefined && why !== RATED ? `${RATED}, and ${why}` : RATED
    return takeVerdict({ ...plain, objection: rule.objection ?? reason }, verdict, match, false, visit, walk)
  }
  const kind = verdict === 'drop' ? 'blocklist' : 'allowlist'
  const { place, text } = rule
  const base = { place, text, kind, ...match, comment: rule.comment ?? visit.comment, except: [...visit.left] } as const
  walk.rules.push({ ...base, objection: kind === 'allowlist' ? RATED : undefined, spares: walk.spares, rate })
  return 'on'
}

const ICMP_NUMBERS = [1, 58]
const AS_ESTABLISHED =
  'becomes `established: pass`, which passes TCP and UDP packets of connections that this host opened from a port in net.ipv4.ip_local_port_range; packets of other known connections, and later fragments, meet the drops behind it'

/** A rule for known connections: an exception from the drops behind it, if every packet of the chain meets it. */
function takeEstablished(rule: WrittenRule, icmp: boolean, match: Match, visit: Visit, walk: Walk): Rest {
  if (visit.objection !== undefined || visit.left.length > 0 || !matchesAll(match, walk.base.families))
    return takeRule({ ...rule, action: { do: icmp ? 'accept' : 'nothing' } }, visit, walk)
  walk.spares = true
  walk.notes.set(`${rule.place.text} established`, replyRule(rule.place, AS_ESTABLISHED))
  const echo = { ...rule, match: { ...match, traffic: onlyProtocols(match.traffic, ICMP_NUMBERS) } }
  return icmp ? takeVerdict(echo, 'accept', echo.match, false, visit, walk) : 'on'
}

/** A return from a base chain applies its default. */
function takeReturn(rule: WrittenRule, match: Match, whole: boolean, visit: Visit, walk: Walk): Rest {
  if (visit.depth === 0)
    return takeVerdict(rule, walk.base.default === 'drop' ? 'drop' : 'accept', match, whole, visit, walk)
  if (whole) return 'back'
  visit.left.push({ place: rule.place, match, objection: rule.objection })
  return 'on'
}

/** Adds the rules of the chain that `rule` jumps to. */
function takeJump(
  rule: WrittenRule,
  { do: kind, target }: { readonly do: 'jump' | 'goto'; readonly target: string },
  match: Match,
  whole: boolean,
  visit: Visit,
  walk: Walk,
): Rest {
  const rules = walk.chains.get(target)
  if (rules === undefined || visit.depth === MAX_DEPTH) {
    const objection = rule.objection ?? `${target} is neither a verdict nor a chain of the input`
    return takeVerdict({ ...rule, objection }, 'unknown', match, false, visit, walk)
  }
  if (rule.objection !== undefined) note(walk, rule, `left out because ${rule.objection}`)
  const inner: Visit = {
    match,
    objection: rule.objection ?? visit.objection,
    comment: rule.comment ?? visit.comment,
    depth: visit.depth + 1,
    left: [...visit.left],
  }
  const end = takeChain(rules, inner, walk)
  // A packet that returned from the target is still in this chain.
  const all = end === 'none' && inner.left.length === visit.left.length
  if (all && whole) return 'none'
  return kind === 'goto' && !all ? takeReturn(rule, match, whole, visit, walk) : 'on'
}

function takeChain(rules: readonly WrittenRule[], visit: Visit, walk: Walk): Rest {
  for (const rule of rules) {
    const rest = takeRule(rule, visit, walk)
    if (rest !== 'on') return rest
  }
  return 'on'
}

export interface Flat {
  readonly chain: Omit<Chain, 'reassembled' | 'ignoresFragments'>
  readonly leftOut: readonly Diagnostic[]
  readonly suggestions: readonly Suggestion[]
  readonly protects: readonly Protection[]
}

/** A base chain as flat rules, and the rules that were left out. */
export function flatten(base: BaseChain, chains: ReadonlyMap<string, readonly WrittenRule[]>): Flat {
  const walk: Walk = {
    ...{ base, chains, rules: [], notes: new Map(), default: base.default, spares: false },
    suggestions: [],
    protects: [],
  }
  const every: Match = { addresses: undefined, traffic: anyTraffic(base.families), list: undefined }
  takeChain(base.rules, { match: every, objection: undefined, comment: undefined, depth: 0, left: [] }, walk)
  const chain = {
    place: base.place,
    families: base.families,
    default: walk.default,
    rules: walk.rules,
    spares: walk.spares,
  }
  return { chain, leftOut: [...walk.notes.values()], suggestions: walk.suggestions, protects: walk.protects }
}
