// A rule of `nft -j list ruleset`: the packets it matches and its action. Format: libnftables-json(5).

import { PROTECTS, protectedPorts } from './extras.ts'
import type { Action, WrittenRule } from './flatten.ts'
import { bare, fieldsOf, type Json, only } from './nft-json.ts'
import {
  elementsOf,
  everyPacket,
  fieldsObjection,
  type MatchContext,
  type Objection,
  type Packets,
  STATE,
  takeMatch,
} from './nft-match.ts'
import { rateFamily, readRate } from './nft-rates.ts'
import type { RateSpec } from './rate-spec.ts'
import { RATED, UNORDERED } from './rates.ts'
import { type Match, narrow } from './rules.ts'
import { onlyFamily } from './scopes.ts'
import { lookUp, type Place } from './source.ts'

/** What a rule does with packets: one outcome, or one per element of a map. */
interface Outcome {
  readonly match: Match
  readonly action: Action
  readonly objection: Objection
}

interface Draft {
  readonly packets: Packets
  readonly outcomes: Outcome[]
  /** A rate that it matches; undefined: none that a config can have. */
  rate: RateSpec | undefined
  /** Whether a statement answers SYNs. */
  proxies: boolean
}

const matchOf = ({ addresses, traffic, list }: Packets): Match => ({ addresses, traffic, list })

/** A verdict as an action; undefined for any other expression. */
function verdict(key: string, content: Json): Action | undefined {
  if (key === 'drop' || key === 'reject') return { do: 'drop' }
  if (key === 'accept' || key === 'return') return { do: key }
  if (key === 'continue') return { do: 'nothing' }
  return key === 'jump' || key === 'goto' ? { do: key, target: `${fieldsOf(content)['target']}` } : undefined
}

/** An element of a verdict map; undefined if it applies to no packet of the config. */
function mapped(key: Json, element: Json, { packets }: Draft): Outcome | undefined {
  const [value, result] = Array.isArray(element) ? element : [undefined, undefined]
  const own = everyPacket(packets.context)
  const action = verdict(...only(result))
  const objection =
    takeMatch(own, { op: '==', left: key, right: bare(value) }) ?? fieldsObjection(own, action?.do ?? 'unknown')?.why
  if (own.elsewhere) return undefined
  if (own.established && action?.do === 'accept' && objection === STATE)
    return {
      match: matchOf(packets),
      action: { do: 'established', icmp: !own.ignored },
      objection: STATE,
    }
  if (own.ignored && action?.do === 'accept') return undefined
  const match = narrow(matchOf(packets), matchOf(objection === undefined ? own : { ...own, list: undefined }))
  if (action === undefined)
    return { match, action: { do: 'unknown' }, objection: 'an element of its map is no verdict' }
  const unread = own.alternatives === undefined ? objection : 'it matches a combination of fields'
  return { match, action, objection: unread && `its map is not keyed by source address or port (${unread})` }
}

/** `related : accept` beside `established : accept`: the kernel expects no connections of others. */
function isRelated(element: Json, { packets }: Draft): boolean {
  const [value, result] = Array.isArray(element) ? element : [undefined, undefined]
  return bare(value) === 'related' && verdict(...only(result))?.do === 'accept' && !packets.context.helps
}

/** `ip saddr vmap { 192.0.2.1 : drop, 192.0.2.2 : jump other }`. */
function takeMap(draft: Draft, content: Json): Objection {
  const { key, data } = fieldsOf(content)
  const found = elementsOf(data, draft.packets.context)
  if (found === undefined) {
    draft.outcomes.push({ match: matchOf(draft.packets), action: { do: 'unknown' }, objection: undefined })
    return 'its map is not in the input'
  }
  if (found.set?.expires) {
    const { name } = found.set
    draft.packets.remarks.push(`the entries of map ${name} have a timeout; in the list they do not expire`)
  }
  const sparing = found.elements.some((element) => mapped(key, element, draft)?.action.do === 'established')
  // Elements with equal effect that a list cannot express are one rule.
  const seen = new Set<string>()
  for (const element of found.elements) {
    const outcome = sparing && isRelated(element, draft) ? undefined : mapped(key, element, draft)
    const same = outcome?.objection && JSON.stringify([outcome.action, outcome.match.traffic])
    if (outcome === undefined || (same && seen.has(same))) continue
    if (same) seen.add(same)
    draft.outcomes.push(outcome)
  }
  return undefined
}

const REASONS: Readonly<Record<string, string>> = {
  limit: 'it matches a rate',
  quota: 'it matches a quota',
  'ct count': 'it matches the number of connections',
  set: 'it changes a set',
  queue: 'it passes packets to another program',
  xt: 'it uses an extension of iptables; import it with --from iptables',
}

/** Statements that take packets out of the chain without dropping them. */
const TAKING = new Set(['queue', 'fwd', 'tproxy', 'synproxy', 'dnat', 'snat', 'masquerade', 'redirect'])

/** A rate that the rule matches beyond, or within. */
function takeRate(draft: Draft, key: string, content: Json): Objection {
  const rate = draft.rate === undefined ? readRate(key, content, draft.packets.context.sets) : undefined
  draft.rate ??= rate
  const family = rateFamily(key, content)
  if (rate !== undefined && family !== undefined) draft.packets.traffic = onlyFamily(draft.packets.traffic, family)
  return rate === undefined ? (lookUp(REASONS, key) ?? RATED) : undefined
}

/** Reads one expression. Returns why it cannot be imported, or undefined. */
function takeExpression(draft: Draft, expression: Json): Objection {
  const [key, content] = only(expression)
  const { packets, outcomes } = draft
  if (draft.rate !== undefined && (key === 'match' || key === 'vmap')) draft.rate = { ...draft.rate, why: UNORDERED }
  if (key === 'match') return takeMatch(packets, content)
  if (key === 'limit' || key === 'set' || key === 'meter') return takeRate(draft, key, content)
  draft.proxies ||= key === 'synproxy'
  if (key === 'vmap') return takeMap(draft, content)
  if (key === 'counter') return undefined
  if (key === 'log') {
    packets.remarks.push('imported without its log')
    return undefined
  }
  const action = verdict(key, content)
  if (action !== undefined) outcomes.push({ match: matchOf(packets), action, objection: undefined })
  else if (TAKING.has(key)) outcomes.push({ match: matchOf(packets), action: { do: 'unknown' }, objection: undefined })
  return action === undefined ? (lookUp(REASONS, key) ?? `it uses ${key}`) : undefined
}

/** The rules that correspond to one rule; none if it matches no packet on the interfaces of the config. */
export function readRule(
  fields: Readonly<Record<string, Json>>,
  place: Place,
  context: MatchContext,
): readonly WrittenRule[] {
  const expressions = Array.isArray(fields['expr']) ? (fields['expr'] as readonly Json[]) : []
  const packets = everyPacket(context)
  const draft: Draft = { packets, outcomes: [], rate: undefined, proxies: false }
  let objection: Objection
  let isNarrowed = false
  for (const expression of expressions) {
    const found = takeExpression(draft, expression)
    objection ??= found
    isNarrowed ||= found !== undefined && found !== STATE
  }
  if (packets.elsewhere) return []
  const { rate } = draft
  const opens = objection === STATE && packets.opening === true && !isNarrowed && rate?.over === true
  if (opens) objection = undefined
  if (rate !== undefined && draft.outcomes.length !== 1) objection ??= RATED
  isNarrowed ||= rate !== undefined
  // Without a verdict behind it, an extension of iptables may be the target of the rule.
  const isTarget = draft.outcomes.length === 0 && expressions.some((one) => only(one)[0] === 'xt')
  const comment = typeof fields['comment'] === 'string' ? fields['comment'] : undefined
  const base = { place, text: '', comment }
  const nothing: Outcome = {
    match: matchOf(packets),
    action: { do: isTarget ? 'unknown' : 'nothing' },
    objection: undefined,
  }
  const outcomes = draft.outcomes.length === 0 ? [nothing] : draft.outcomes
  return outcomes.flatMap((outcome, index): WrittenRule[] =>
    (packets.alternatives ?? [undefined]).map((one) => {
      const all = one === undefined ? outcome : { ...outcome, match: narrow(outcome.match, one) }
      const written = ruleOf(draft, all, { ...base, objection, isNarrowed })
      const remarks = index === 0 && written.action.do !== 'nothing' ? packets.remarks : []
      return { ...written, remarks, rate: rate && { ...rate, opening: opens } }
    }),
  )
}

interface Base extends Pick<WrittenRule, 'place' | 'text' | 'comment' | 'objection'> {
  readonly isNarrowed: boolean
}

/** The rule for one outcome. */
function ruleOf({ packets, proxies }: Draft, outcome: Outcome, { isNarrowed, ...base }: Base): WrittenRule {
  const { do: verb } = outcome.action
  const found = fieldsObjection(outcome.match, verb)
  const match = found === undefined ? outcome.match : { ...outcome.match, traffic: found.traffic }
  const ignored = packets.ignored && verb === 'accept'
  const isExact = packets.established === true && !isNarrowed && found === undefined && verb === 'accept'
  const other: Action = ignored ? { do: 'nothing' } : outcome.action
  const protects = proxies ? protectedPorts(match, packets.established !== true) : undefined
  return {
    ...base,
    match,
    action: isExact ? { do: 'established', icmp: !ignored } : other,
    objection: protects ? PROTECTS : (base.objection ?? found?.why ?? outcome.objection),
    remarks: [],
    protects,
  }
}
