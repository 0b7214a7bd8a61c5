// Rules as a tool prints them, with jumps between chains → one flat list of rules per base chain. Replaces a jump by
// the rules of its target, each narrowed to the packets that jump.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet, Family } from '../model/address.ts'
import type { DefaultVerdict } from '../model/policy.ts'
import { intersect } from './addresses.ts'
import type { Chain, Rule } from './chains.ts'
import { onlyPorts, onlyProtocols, type Traffic } from './scopes.ts'
import { excerpt, leftOut, type Place } from './source.ts'

/** The packets that a rule matches. */
export interface Match {
  /** undefined: any source. */
  readonly addresses: AddressSet | undefined
  readonly traffic: Traffic
  readonly list: string | undefined
}

export type Action =
  | { readonly do: 'drop' | 'accept' | 'return' | 'nothing' }
  | { readonly do: 'jump'; readonly target: string }

export interface WrittenRule {
  readonly place: Place
  /** The rule as written, for messages; empty if its place says enough. */
  readonly text: string
  readonly match: Match
  readonly action: Action
  readonly comment: string | undefined
  /** Why the rule cannot be imported; undefined if it can. */
  readonly objection: string | undefined
  /** Losses of an imported rule. */
  readonly remarks: readonly string[]
}

export interface BaseChain {
  readonly place: Place
  readonly families: readonly Family[]
  readonly default: DefaultVerdict
  readonly rules: readonly WrittenRule[]
}

/** Jumps nested deeper than this are a loop, which no kernel accepts. */
const MAX_DEPTH = 16

function narrow(outer: Match, inner: Match): Match {
  const addresses =
    outer.addresses === undefined || inner.addresses === undefined
      ? (outer.addresses ?? inner.addresses)
      : {
          v4: intersect(outer.addresses.v4, inner.addresses.v4),
          v6: intersect(outer.addresses.v6, inner.addresses.v6),
        }
  const { families, protocols, sourcePorts, destinationPorts } = inner.traffic
  let traffic: Traffic = { ...outer.traffic, families: outer.traffic.families.filter((one) => families.includes(one)) }
  if (protocols !== undefined) traffic = onlyProtocols(traffic, protocols)
  if (sourcePorts !== undefined) traffic = onlyPorts(traffic, 'sourcePorts', sourcePorts)
  if (destinationPorts !== undefined) traffic = onlyPorts(traffic, 'destinationPorts', destinationPorts)
  return { addresses, traffic, list: inner.list ?? outer.list }
}

const matchesAll = ({ addresses, traffic }: Match, families: readonly Family[]): boolean =>
  addresses === undefined &&
  traffic.protocols === undefined &&
  traffic.sourcePorts === undefined &&
  traffic.destinationPorts === undefined &&
  families.every((family) => traffic.families.includes(family))

interface Walk {
  readonly base: BaseChain
  readonly chains: ReadonlyMap<string, readonly WrittenRule[]>
  readonly rules: Rule[]
  /** By place, because several rules may jump to one chain. */
  readonly notes: Map<string, Diagnostic>
  default: DefaultVerdict
}

const note = ({ notes }: Walk, { place, text }: WrittenRule, why: string): void => {
  const message = text === '' ? why : `${why}: ${excerpt(text)}`
  notes.set(`${place.text} ${why}`, leftOut(place, message))
}

/** Packets of a chain after a rule: some continue, all return to the calling chain, or none are left. */
type Rest = 'on' | 'back' | 'none'

function takeRule(rule: WrittenRule, outer: Match, comment: string | undefined, depth: number, walk: Walk): Rest {
  if (rule.objection !== undefined) {
    note(walk, rule, `left out because ${rule.objection}`)
    return 'on'
  }
  for (const remark of rule.remarks) note(walk, rule, remark)
  const match = narrow(outer, rule.match)
  const words = rule.comment ?? comment
  const whole = matchesAll(rule.match, outer.traffic.families)
  const { action } = rule
  switch (action.do) {
    case 'nothing':
      return 'on'
    case 'jump':
      return takeJump(rule, action.target, match, words, depth, walk) === 'none' && whole ? 'none' : 'on'
    case 'return':
      if (!whole) note(walk, rule, 'left out with the rest of its chain because it returns for some packets only')
      return 'back'
    case 'drop':
    case 'accept': {
      if (matchesAll(match, walk.base.families)) walk.default = action.do === 'drop' ? 'drop' : 'pass'
      else {
        const kind = action.do === 'drop' ? 'blocklist' : 'allowlist'
        walk.rules.push({ place: rule.place, kind, ...match, comment: words })
      }
      return whole ? 'none' : 'on'
    }
    default:
      return action satisfies never
  }
}

/** Adds the rules of the chain that `from` jumps to. */
function takeJump(
  from: WrittenRule,
  target: string,
  match: Match,
  comment: string | undefined,
  depth: number,
  walk: Walk,
): Rest {
  const rules = walk.chains.get(target)
  if (rules === undefined || depth === MAX_DEPTH) {
    note(walk, from, `left out because ${target} is neither a verdict nor a chain of the input`)
    return 'on'
  }
  for (const rule of rules) {
    const rest = takeRule(rule, match, comment, depth + 1, walk)
    if (rest !== 'on') return rest
  }
  return 'on'
}

/** A base chain as flat rules, and the rules that were left out. */
export function flatten(
  base: BaseChain,
  chains: ReadonlyMap<string, readonly WrittenRule[]>,
): { readonly chain: Chain; readonly leftOut: readonly Diagnostic[] } {
  const walk: Walk = { base, chains, rules: [], notes: new Map(), default: base.default }
  const any: Match = {
    addresses: undefined,
    traffic: { families: base.families, protocols: undefined, sourcePorts: undefined, destinationPorts: undefined },
    list: undefined,
  }
  for (const rule of base.rules) {
    // A return from a base chain applies its default.
    const action: Action =
      rule.action.do === 'return' ? { do: base.default === 'drop' ? 'drop' : 'accept' } : rule.action
    if (takeRule({ ...rule, action }, any, undefined, 0, walk) !== 'on') break
  }
  const chain = { place: base.place, families: base.families, default: walk.default, rules: walk.rules }
  return { chain, leftOut: [...walk.notes.values()] }
}
