// Warns about health checks and this host: its policy would drop their answers, so that all backends would be down, or its
// own connections would lose theirs to them.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { HealthCheck } from '../model/health.ts'
import { CHECK_PORTS } from '../model/limits.ts'
import type { Live } from '../model/live.ts'
import { formatPorts, type PortRange, TCP, UDP } from '../model/ports.ts'
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

/** The packet that answers a check; undefined for a command, whose packets are unknown, and for one that is never dropped. */
function answerTo(check: HealthCheck): IpFacts | undefined {
  // The balancer takes answers from a VIP, whatever `policy.default` says.
  if (check.type === 'exec' || check.via === 'vip') return undefined
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

type Ports = Pick<Live, 'localPorts' | 'reservedPorts'>

/** Whether this host picks one of the ports of checks through VIPs for a connection of its own. */
function sharesPorts({ localPorts, reservedPorts }: Ports): boolean {
  let port = Math.max(localPorts.first, CHECK_PORTS.first)
  for (const { first, last } of reservedPorts) if (first <= port && port <= last) port = last + 1
  return port <= Math.min(localPorts.last, CHECK_PORTS.last)
}

/** The reserved ports with those of checks, as sysctl takes them. */
function reserving(reserved: readonly PortRange[]): string {
  const others = reserved.filter(({ first, last }) => first < CHECK_PORTS.first || last > CHECK_PORTS.last)
  return [...others, CHECK_PORTS]
    .sort((left, right) => left.first - right.first)
    .map(formatPorts)
    .join(',')
}

/** One warning at most. Answers from a VIP to such a port go to the checks. */
function warnPorts(desired: Desired, live: Ports): Diagnostic[] {
  const through = [...desired.health].flatMap(([name, { checks }]) =>
    [...checks.values()].some((check) => check.type !== 'exec' && check.via === 'vip') ? [name] : [],
  )
  const [first] = through.sort()
  if (first === undefined || !sharesPorts(live)) return []
  const at = desired.provenance.services.get(first)?.at
  const { localPorts, reservedPorts } = live
  return [
    {
      code: 'W256',
      severity: 'warning',
      message: `service ${first}: checks through VIPs take ports ${formatPorts(CHECK_PORTS)}, of which this host also picks some for its own connections (${formatPorts(localPorts)}): those to a VIP would get no answers`,
      hint: `sysctl -w net.ipv4.ip_local_reserved_ports=${reserving(reservedPorts)}`,
      ...(at === undefined ? {} : { at }),
    },
  ]
}

/** At most one warning per service about dropped answers, and one about ports. */
export function warnHealth(desired: Desired, state: State, live: Ports): Diagnostic[] {
  return [...warnDropped(desired, state), ...warnPorts(desired, live)]
}

function warnDropped(desired: Desired, state: State): Diagnostic[] {
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
