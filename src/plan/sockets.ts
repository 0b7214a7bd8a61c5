// Entries with `socket: none` where this host has connections whose sockets the program does not find: refused for VRFs, which
// bind all of theirs, and a warning for the rest.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import { membersOf } from '../model/link.ts'
import type { Link, Live } from '../model/live.ts'
import { coversInterface, socketlessScopes } from '../model/scope.ts'
import { devicesAbove } from '../model/stack.ts'
import type { State } from '../model/state.ts'
import { listed } from './words.ts'

/** The interfaces on which such an entry applies. */
function coveredBy(state: State, { links }: Live): Link[] {
  const scopes = socketlessScopes(state)
  return [...state.interfaces.values()]
    .flatMap(({ interface: name, roles }) => {
      const link = links.get(name)
      const isCovered = roles.includes('filter') && scopes.some((scope) => coversInterface(scope, name))
      return link && isCovered ? [link] : []
    })
    .sort((left, right) => (left.name < right.name ? -1 : 1))
}

/** Refuses interfaces with a VRF above them. */
export const guardSockets = ({ state, options }: Desired, live: Live): Diagnostic[] =>
  coveredBy(state, live).flatMap((link): Diagnostic[] => {
    const vrf = devicesAbove(link, live.links).find(({ kind }) => kind === 'vrf')
    if (vrf === undefined) return []
    const at = options.get(link.name)?.at
    return [
      {
        code: 'E251',
        severity: 'error',
        message: `an entry with \`socket: none\` applies on ${link.name}, which receives packets for VRF ${vrf.name}: sockets in a VRF are not found from there, so it would drop their packets`,
        hint: 'name interfaces without a VRF in `interfaces` of the entry',
        ...(at && { at }),
      },
    ]
  })

/** A connection that NAT translates has its socket elsewhere, though its packets are addressed to this host. */
function warnTranslated({ forwards }: Live): Diagnostic[] {
  const families = [...(forwards.v4 ? ['IPv4'] : []), ...(forwards.v6 ? ['IPv6'] : [])]
  if (families.length === 0) return []
  return [
    {
      code: 'W254',
      severity: 'warning',
      message: `this host forwards ${families.join(' and ')}: connections that it translates (NAT), such as those of containers, have no socket here, so an entry with \`socket: none\` drops their packets`,
      hint: 'name the ports of servers on this host in `destination_port` of the entry, if it translates any connection',
    },
  ]
}

/** A socket that is bound to a device is found from this one alone. */
function warnBound(link: Link, { links }: Live): Diagnostic[] {
  const bond = membersOf(link, links).length > 0 ? [link] : []
  const names = [...bond, ...devicesAbove(link, links)].map(({ name }) => name)
  if (names.length === 0) return []
  return [
    {
      code: 'W255',
      severity: 'warning',
      message: `an entry with \`socket: none\` applies on ${link.name}, which receives packets for ${listed(names)}: a socket that is bound to such a device (SO_BINDTODEVICE) is not found, so the entry drops its packets`,
      hint: 'if there are such sockets, name their addresses in allowlist, or other interfaces in `interfaces` of the entry',
    },
  ]
}

/** Warns about connections of this host that such entries may drop. */
export function warnSockets(state: State, live: Live): Diagnostic[] {
  const covered = coveredBy(state, live)
  if (covered.length === 0) return []
  return [...warnTranslated(live), ...covered.flatMap((link) => warnBound(link, live))]
}
