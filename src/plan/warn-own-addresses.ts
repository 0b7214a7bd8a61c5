// Warns if a blocklist gains an address of this host on the interface that filters it. Packets between addresses of one host
// pass no interface, so nothing is cut; but its network is around it, and the prefix may be mistyped.

import type { Diagnostic } from '../diagnostics.ts'
import type { Address } from '../model/address.ts'
import type { Provenance } from '../model/desired.ts'
import { plural } from '../model/numbers.ts'
import { originOf } from '../model/provenance.ts'
import { contains } from '../model/ranges.ts'
import { coversInterface, decidesAlone } from '../model/scope.ts'
import { type ScopedSet, scopeKey } from '../model/state.ts'
import { formatAddress } from '../model/text.ts'
import type { Plan } from './change.ts'

/** An address of this host. */
export interface OwnAddress {
  readonly interface: string
  readonly address: Address
}

const holds = ({ addresses: { v4, v6 } }: Pick<ScopedSet, 'addresses'>, { family, words }: Address): boolean =>
  contains(family === 4 ? v4 : v6, words) >= 0

export function warnOwnAddresses(
  own: readonly OwnAddress[],
  { changes, state }: Pick<Plan, 'changes' | 'state'>,
  provenance: Provenance,
): Diagnostic[] {
  const filtered = own.filter(({ interface: name }) => state.interfaces.get(name)?.roles.includes('filter'))
  return changes.flatMap((change): Diagnostic[] => {
    if (change.kind !== 'list' || change.after?.kind !== 'blocklist') return []
    const { name, sets } = change.after
    const gained = sets.flatMap(({ scope }) => {
      const added = change.delta?.find((part) => part.scope === scopeKey(scope))?.added
      return added && decidesAlone(scope) ? [{ scope, addresses: added }] : []
    })
    const found = filtered.filter((one) =>
      gained.some((set) => coversInterface(set.scope, one.interface) && holds(set, one.address)),
    )
    const [first] = found
    if (first === undefined) return []
    const { family, words } = first.address
    const origin = originOf(provenance, name, family, words)
    const rest = found.length > 1 ? ` (and ${plural(found.length - 1, 'other')})` : ''
    const line = origin === undefined ? '' : ` by ${origin.entry} at ${origin.at}`
    return [
      {
        code: 'W251',
        severity: 'warning',
        message: `list ${name} blocks ${formatAddress(family, words)}${rest}, an address of this host on ${first.interface}${line}: hosts of its network may be blocked too`,
        hint: 'if the prefix is mistyped, narrow it; against forged addresses it is right',
      },
    ]
  })
}
