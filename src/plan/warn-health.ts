// Warns if the policy of this host would drop the answers to health checks: all backends would be down.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { HealthCheck } from '../model/health.ts'
import { TCP, UDP } from '../model/ports.ts'
import { backendKey, type Service } from '../model/service.ts'
import type { State } from '../model/state.ts'
import { type IpFacts, judge } from '../semantics/judge.ts'
import { addressText } from './next-hops.ts'

/** An ephemeral port, from which checks are made (RFC 6335 §6). */
const EPHEMERAL = 49_152
/**
 * Number of backends examined per service, to keep large plans fast; a policy mostly drops the answers of all or none.
 */
const MOST = 1000

/** The packet that answers a check; undefined for a command, whose packets are unknown. */
function answerTo(check: HealthCheck): IpFacts | undefined {
  if (check.type === 'exec') return undefined
  const { family, words } = check.address
  return {
    kind: 'ip',
    family,
    source: words,
    protocol: check.type === 'udp' || (check.type === 'dns' && check.transport === 'udp') ? UDP : TCP,
    ports: { source: check.port, destination: EPHEMERAL },
    essential: undefined,
    unparsed: undefined,
  }
}

/** Addresses of backends whose answers are dropped on arrival, with the interface. */
function droppedOf(service: Service, checks: ReadonlyMap<string, HealthCheck>, state: State): [string, string][] {
  const { policy, lists } = state
  return service.backends.slice(0, MOST).flatMap((backend): [string, string][] => {
    const check = checks.get(backendKey(backend))
    const answer = check && answerTo(check)
    const { nextHop } = backend
    const roles = nextHop && state.interfaces.get(nextHop.interface)?.roles
    if (!answer || !nextHop || !roles?.includes('filter')) return []
    const ingress = { ifindex: nextHop.ifindex, interface: nextHop.interface, roles: ['filter'] } as const
    // The daemon opened the connection on this host.
    const { verdict } = judge({ policy, lists }, answer, { own: true }, ingress)
    return verdict === 'drop' ? [[addressText(backend), nextHop.interface]] : []
  })
}

/** One warning per service. */
export function warnHealth(desired: Desired, state: State): Diagnostic[] {
  const services = [...state.services.values()].sort((left, right) => (left.name < right.name ? -1 : 1))
  return services.flatMap((service): Diagnostic[] => {
    const checks = desired.health.get(service.name)?.checks
    const dropped = checks && state.policy?.default === 'drop' ? droppedOf(service, checks, state) : []
    const [first] = dropped
    if (!first) return []
    const [address, device] = first
    const more = dropped.length > 1 ? ` and ${dropped.length - 1} more` : ''
    const at = desired.provenance.services.get(service.name)?.at
    return [
      {
        code: 'W221',
        severity: 'warning',
        message: `service ${service.name}: ${device} drops answers of ${address}${more} to health checks, so these backends will be down`,
        hint: `allow the backends: \`allowlist: [${address}]\``,
        ...(at === undefined ? {} : { at }),
      },
    ]
  })
}
