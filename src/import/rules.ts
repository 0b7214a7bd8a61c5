// Flat rules: what flatten.ts makes of the rules of a tool, and chains.ts turns into lists.

import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet, Family } from '../model/address.ts'
import type { DefaultVerdict } from '../model/policy.ts'
import type { ListKind } from '../model/state.ts'
import { intersect } from './addresses.ts'
import type { RateSpec } from './rate-spec.ts'
import { commonTraffic, type Traffic } from './scopes.ts'
import { excerpt, type Ignorable, type Place } from './source.ts'

/** The packets that a rule matches. */
export interface Match {
  /** undefined: any source. */
  readonly addresses: AddressSet | undefined
  readonly traffic: Traffic
  /** Name of the set that holds the addresses. */
  readonly list: string | undefined
}

/** The packets in both. */
export function narrow(outer: Match, inner: Match): Match {
  const addresses =
    outer.addresses === undefined || inner.addresses === undefined
      ? (outer.addresses ?? inner.addresses)
      : {
          v4: intersect(outer.addresses.v4, inner.addresses.v4),
          v6: intersect(outer.addresses.v6, inner.addresses.v6),
        }
  const traffic = commonTraffic(outer.traffic, inner.traffic)
  return { addresses, traffic, list: inner.list ?? outer.list }
}

/** Packets that leave a chain without a verdict, before a rule. */
export interface Exception {
  readonly place: Place
  readonly match: Match
  /** Why the match may hold packets that do not leave; undefined if it holds none. */
  readonly objection: string | undefined
}

export interface Rule extends Match {
  readonly place: Place
  /** The rule as written, for messages; empty if its place says enough. */
  readonly text: string
  readonly kind: ListKind
  readonly comment: string | undefined
  /** Only of an allowlist rule: why its match may hold packets that it does not let pass; undefined if it holds none. */
  readonly objection: string | undefined
  readonly except: readonly Exception[]
  /** An earlier rule of the chain accepts every packet of a known connection. */
  readonly spares?: boolean
  /** It applies beyond a rate, or within one: of a drop, or of an accept with the objection. */
  readonly rate?: RateSpec | undefined
}

export interface Chain {
  readonly place: Place
  readonly families: readonly Family[]
  readonly default: DefaultVerdict
  readonly rules: readonly Rule[]
  /** A rule before the default accepts every packet of a known connection. */
  readonly spares: boolean
  /** Families whose fragments the kernel has put together before the chain sees them. */
  readonly reassembled: readonly Family[]
  /** Whether the user lets drops be for fragments of other packets. */
  readonly ignoresFragments: boolean
}

/**
 * Families whose fragments the kernel puts together before a chain: IPv4 before INPUT (ip_local_deliver), and both
 * before any chain but ingress if connections are tracked (nf_defrag_ipv4, nf_defrag_ipv6).
 */
export function reassembledBefore(
  hook: 'ingress' | 'prerouting' | 'input',
  tracked: boolean,
  ignore: readonly Ignorable[],
): readonly Family[] {
  if (hook === 'ingress' || ignore.includes('fragments')) return []
  if (tracked) return [4, 6]
  return hook === 'input' ? [4] : []
}

/** Diagnostics about rules, each once: most rules concern both families. */
export class Notes {
  readonly #found = new Map<string, Diagnostic>()

  add(make: (place: Place, message: string) => Diagnostic, { place, text }: Pick<Rule, 'place' | 'text'>, why: string) {
    this.#found.set(`${place.text} ${why}`, make(place, text === '' ? why : `${why}: ${excerpt(text)}`))
  }

  all(): readonly Diagnostic[] {
    return [...this.#found.values()]
  }
}
