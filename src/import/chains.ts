// Chains, where the first matching rule decides → lists, where an allowlist always beats a blocklist. Both give the
// same verdicts if a rule that accepts stands before the rules that drop. If it stands after one, its allowed addresses
// lose those that the earlier rule drops; if a list cannot express the rest, the rule is left out. A packet must pass
// every chain, so allowed addresses also lose those that another chain drops.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet, Family, Ranges } from '../model/address.ts'
import type { DefaultVerdict } from '../model/policy.ts'
import { subtract } from '../model/ranges.ts'
import { ANY } from '../model/scope.ts'
import { type ListKind, type Scope, scopeKey } from '../model/state.ts'
import { EVERY, overlaps, RangeCollector } from './addresses.ts'
import { coversScope, scopesOf, sharesScope, type Traffic } from './scopes.ts'
import { type ImportedList, leftOut, type Place } from './source.ts'

export interface Rule {
  readonly place: Place
  readonly kind: ListKind
  /** undefined: all addresses. */
  readonly addresses: AddressSet | undefined
  readonly traffic: Traffic
  /** Name of the set that holds the addresses. */
  readonly list: string | undefined
  readonly comment: string | undefined
}

export interface Chain {
  readonly place: Place
  readonly families: readonly Family[]
  readonly default: DefaultVerdict
  readonly rules: readonly Rule[]
}

/** One rule, for one family and one scope. */
interface Atom {
  readonly rule: Rule
  readonly family: Family
  readonly scope: Scope
  readonly ranges: Ranges
}

const rangesOf = (addresses: AddressSet | undefined, family: Family): Ranges =>
  addresses === undefined ? EVERY[family] : family === 4 ? addresses.v4 : addresses.v6

function atomsOf(rule: Rule, family: Family): Atom[] {
  const ranges = rangesOf(rule.addresses, family)
  return ranges.length === 0 ? [] : scopesOf(rule.traffic, family).map((scope) => ({ rule, family, scope, ranges }))
}

/** Rules that drop, one set per scope. Merged on demand. */
class Drops {
  readonly #sets = new Map<
    string,
    { readonly scope: Scope; readonly place: Place; readonly found: RangeCollector; ranges: Ranges | undefined }
  >()

  add({ scope, ranges, rule }: Atom): void {
    const key = scopeKey(scope)
    const known = this.#sets.get(key) ?? { scope, place: rule.place, found: new RangeCollector(), ranges: undefined }
    known.found.addRanges(ranges)
    known.ranges = undefined
    this.#sets.set(key, known)
  }

  /** An atom without the dropped addresses; if a list cannot express that, the place of the rule that prevents it. */
  without({ family, scope, ranges }: Pick<Atom, 'family' | 'scope' | 'ranges'>): Ranges | Place {
    let rest = ranges
    for (const set of this.#sets.values()) {
      if (!sharesScope(set.scope, scope)) continue
      set.ranges ??= rangesOf(set.found.finish(), family)
      if (!overlaps(rest, set.ranges)) continue
      if (!coversScope(set.scope, scope)) return set.place
      rest = subtract(rest, set.ranges)
    }
    return rest
  }
}

const isPlace = (value: Ranges | Place): value is Place => 'text' in value

interface Group {
  readonly list: Omit<ImportedList, 'addresses' | 'places'>
  readonly found: RangeCollector
  readonly places: Set<string>
}

/** Collects the lists: one per kind, set, scope and comment. */
class Groups {
  readonly #groups = new Map<string, Group>()

  add({ rule, scope }: Atom, ranges: Ranges): void {
    const { kind, list: name, comment } = rule
    const key = JSON.stringify([kind, name ?? null, scopeKey(scope), comment ?? null])
    const list = { kind, name, scope, comment }
    const group = this.#groups.get(key) ?? { list, found: new RangeCollector(), places: new Set() }
    group.found.addRanges(ranges)
    group.places.add(rule.place.text)
    this.#groups.set(key, group)
  }

  finish(): ImportedList[] {
    return [...this.#groups.values()].map(({ list, found, places }) => ({
      ...list,
      addresses: found.finish(),
      places: [...places],
    }))
  }
}

interface Family4Or6 {
  readonly family: Family
  readonly chains: readonly Chain[]
  /** The chain that drops by default. */
  readonly main: Chain | undefined
  /** Everything that each chain drops. */
  readonly dropped: ReadonlyMap<Chain, Drops>
}

function prepare(chains: readonly Chain[], family: Family): Family4Or6 {
  const own = chains.filter(({ families }) => families.includes(family))
  const dropped = new Map(
    own.map((chain) => {
      const drops = new Drops()
      for (const rule of chain.rules)
        if (rule.kind === 'blocklist') for (const atom of atomsOf(rule, family)) drops.add(atom)
      return [chain, drops] as const
    }),
  )
  return { family, chains: own, main: own.findLast((chain) => chain.default === 'drop'), dropped }
}

/** The addresses that a rule may allow: those it accepts, without those dropped earlier or by another chain. */
function allowed(atom: Atom, before: Drops, chain: Chain, { chains, main, dropped }: Family4Or6): Ranges | string {
  if (main !== undefined && main !== chain)
    return `${main.place.text} drops these packets by default, and this rule accepts them in ${chain.place.text} only`
  let rest = before.without(atom)
  if (isPlace(rest)) return `${rest.text} drops part of them first, and an allowlist would override that`
  for (const other of chains) {
    if (other === chain) continue
    rest = (dropped.get(other) as Drops).without({ ...atom, ranges: rest })
    if (isPlace(rest)) return `${rest.text} drops part of them in another chain, and an allowlist would override that`
  }
  return rest
}

function resolveChain(chain: Chain, scene: Family4Or6, groups: Groups, notes: Map<Rule, Diagnostic>): void {
  const before = new Drops()
  for (const rule of chain.rules) {
    for (const atom of atomsOf(rule, scene.family)) {
      if (rule.kind === 'blocklist') {
        before.add(atom)
        groups.add(atom, atom.ranges)
        continue
      }
      const rest = allowed(atom, before, chain, scene)
      if (typeof rest === 'string') notes.set(rule, leftOut(rule.place, `left out because ${rest}`))
      else if (rest.length > 0) groups.add(atom, rest)
    }
  }
}

const passingRule = (family: Family, text: string): Rule => ({
  place: { text },
  kind: 'allowlist',
  addresses: undefined,
  traffic: { families: [family], protocols: undefined, sourcePorts: undefined, destinationPorts: undefined },
  list: undefined,
  comment: `IPv${family} passes by default`,
})

/** The default verdict for both families. Under default drop, a family that passes gets an allowlist entry. */
function resolveDefault(scenes: readonly Family4Or6[], groups: Groups, notes: Diagnostic[]): DefaultVerdict {
  const dropping = scenes.filter(({ main }) => main !== undefined)
  if (dropping.length === 0) return 'pass'
  for (const { chains, main } of dropping) {
    for (const chain of chains) {
      if (chain === main || chain.default === 'pass') continue
      notes.push(leftOut(chain.place, `its default drop is left out because ${main?.place.text} has one too`))
    }
  }
  for (const { family, chains, dropped } of scenes.filter(({ main }) => main === undefined)) {
    const rule = passingRule(family, chains[0]?.place.text ?? `no chain for IPv${family}`)
    let rest: Ranges | Place = EVERY[family]
    for (const drops of dropped.values()) if (!isPlace(rest)) rest = drops.without({ family, scope: ANY, ranges: rest })
    if (isPlace(rest)) {
      const message = `its default drop is left out because IPv${family} passes by default, but ${rest.text} drops part of it`
      notes.push(...dropping.map(({ main }) => leftOut((main as Chain).place, message)))
      return 'pass'
    }
    if (rest.length > 0) groups.add({ rule, family, scope: ANY, ranges: rest }, rest)
  }
  return 'drop'
}

export interface Resolved {
  readonly default: DefaultVerdict
  readonly lists: readonly ImportedList[]
  readonly leftOut: readonly Diagnostic[]
}

/** The lists and the default that give every packet the verdict that all chains together give it. */
export function resolveChains(chains: readonly Chain[]): Resolved {
  const groups = new Groups()
  const byRule = new Map<Rule, Diagnostic>()
  const notes: Diagnostic[] = []
  const scenes = ([4, 6] as const).map((family) => prepare(chains, family))
  for (const scene of scenes) for (const chain of scene.chains) resolveChain(chain, scene, groups, byRule)
  const verdict = resolveDefault(scenes, groups, notes)
  return { default: verdict, lists: groups.finish(), leftOut: [...byRule.values(), ...notes] }
}
