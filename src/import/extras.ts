// The rest of chains besides drops and passes: limits that are near to rules, and ports with SYN cookies.

import type { AddressSet } from '../model/address.ts'
import type { PortRange } from '../model/ports.ts'
import { TCP } from '../model/ports.ts'
import { scopeKey } from '../model/state.ts'
import { scopesOf } from './box-scopes.ts'
import { withField } from './boxes.ts'
import { partsOf } from './parts.ts'
import type { RateSpec } from './rate-spec.ts'
import type { Match } from './rules.ts'
import { anyOf, bytesWith, isAnyTraffic } from './scopes.ts'
import type { Imported, ImportedLimit, Place } from './source.ts'
import { type Spans, spansOf } from './spans.ts'

interface Extras {
  readonly suggestions: readonly {
    readonly place: Place
    readonly match: Match
    readonly rate: RateSpec
  }[]
  readonly protects: readonly { readonly place: Place; readonly ports: Spans }[]
}

/** Why the packets of a rule that answers SYNs are left to `syn_protection`. */
export const PROTECTS = 'it becomes syn_protection'

/** Ports of all packets that a rule answers; undefined if it answers only some sources or addresses. */
export function protectedPorts({ addresses, traffic }: Match, isNew: boolean): Spans | undefined {
  const { protocols, fields } = traffic
  const ports = fields.destinationPorts
  const rest = anyOf({ ...traffic, protocols: undefined }, 'destinationPorts')
  const isPlain = addresses === undefined && protocols?.join() === `${TCP}` && isAnyTraffic(rest)
  return isNew && isPlain ? ports : undefined
}

const SYNS = bytesWith(['syn', 'ack'], ['syn'])

/** A limit for the packets of a rule, as if it could count them. */
function suggestionOf({ place, match, rate }: Extras['suggestions'][number]): ImportedLimit[] {
  const part = ([4, 6] as const).flatMap((family) => partsOf(match, family))[0]
  if (part === undefined) return []
  const isOpening = rate.opening && part.box.protocol === TCP
  const [scope] = scopesOf(isOpening ? withField(part.box, 'flags', SYNS) : part.box, part.family)
  const sources: AddressSet | undefined = match.addresses
  return scope === undefined ? [] : [{ name: rate.name || scopeKey(scope), scope, sources, rate, place }]
}

/** Most port ranges of `syn_protection`. */
const RANGES = 15

/** The suggestions and ports of all chains. */
export function extrasOf(chains: readonly Extras[]): Pick<Imported, 'suggestions' | 'protects'> {
  const ports: readonly PortRange[] = spansOf(chains.flatMap(({ protects }) => protects.flatMap((one) => one.ports)))
  return {
    suggestions: chains.flatMap(({ suggestions }) => suggestions.flatMap(suggestionOf)),
    protects: ports.filter(({ first }) => first > 0).slice(0, RANGES),
  }
}
