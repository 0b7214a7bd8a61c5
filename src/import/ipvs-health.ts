// Checks of a virtual server's real servers, its quorum and its sorry server → the keys about health of a service.

import type { Differences, RealServer, VirtualServer, WrittenCheck } from './ipvs-model.ts'

export interface ChosenHealth {
  /** `health` of the service; undefined: it has none. */
  readonly shared: WrittenCheck | undefined
  /** `health` of a backend, if it differs. */
  readonly own: (server: RealServer) => { readonly health?: WrittenCheck | false }
  /** What happens while too few are healthy. */
  readonly rest: Readonly<Record<string, unknown>>
}

/**
 * The number of healthy servers that a quorum needs. A quorum is a sum of weights, which is a number of servers only if
 * these have equal weights, or if any server is enough.
 */
function minHealthy({ servers, quorum, place }: VirtualServer, differences: Differences): number {
  const weights = servers.map(({ weight }) => weight).filter((weight) => weight > 0)
  const [lightest, heaviest] = [Math.min(...weights), Math.max(...weights)]
  if (weights.length === 0 || quorum <= lightest) return 1
  if (lightest !== heaviest) {
    const message = `quorum ${quorum} is a sum of unequal weights; min_healthy counts backends, and has their average`
    differences.elsewhere('checks', place, message)
  }
  const average = weights.reduce((sum, weight) => sum + weight, 0) / weights.length
  return Math.ceil(quorum / average)
}

/** IPVS answers packets without a server by ICMP "port unreachable": to clients, a refused connection too. */
const REFUSED = { on_empty: 'reject' } as const

/** The keys of a service about health. `own`: whether a sorry server is this host itself. */
export function chosenHealth(
  virtual: VirtualServer,
  fieldsOf: (server: RealServer, virtual: VirtualServer) => Readonly<Record<string, unknown>>,
  isOwnPort: (sorry: RealServer, virtual: VirtualServer) => boolean,
  differences: Differences,
): ChosenHealth {
  const { servers, sorry } = virtual
  const checked = servers.filter(({ health }) => health !== undefined)
  const [first] = checked
  if (first === undefined) {
    const message = 'the sorry server is left out: no server is checked, so it never takes over'
    if (sorry !== undefined) differences.left(sorry.place, message)
    return { shared: undefined, own: () => ({}), rest: REFUSED }
  }
  const texts = new Set(checked.map(({ health }) => JSON.stringify(health)))
  const shared = texts.size === 1 ? first.health : undefined
  const own = ({ health }: RealServer): { readonly health?: WrittenCheck | false } => {
    if (health === undefined) return shared === undefined ? {} : { health: false }
    return shared === undefined ? { health } : {}
  }
  if (sorry === undefined) return { shared, own, rest: REFUSED }
  const needed = minHealthy(virtual, differences)
  const least = needed > 1 ? { min_healthy: needed } : {}
  // Packets that no backend takes reach the VIP's own port on this host.
  if (isOwnPort(sorry, virtual)) return { shared, own, rest: { ...least, fallback: 'drop', on_empty: 'pass' } }
  return { shared, own, rest: { ...least, fallback: 'sorry', sorry: fieldsOf(sorry, virtual) } }
}
