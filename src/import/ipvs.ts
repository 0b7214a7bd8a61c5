// Virtual servers → services of a config. An imported service sends packets where its source does, or is left out and
// reported. Behaviour of IPVS: ipvsadm(8), and the schedulers in net/netfilter/ipvs/ of the kernel.

import { isLoopback } from '../model/address.ts'
import { formatAddress } from '../model/text.ts'
import { isMapped, uselessness } from '../model/unicast.ts'
import { chosenHealth } from './ipvs-health.ts'
import type { Differences, RealServer, VirtualServer } from './ipvs-model.ts'
import { type ImportedService, lookUp, type Place } from './source.ts'

/** A scheduler as a service can have it. */
interface Scheduling {
  /** Whether new connections follow the weights; if not, all servers with a weight get equal shares. */
  readonly weighted: boolean
  /** The flag with which ports count; undefined: it hashes nothing. Without the flag, only the client's address counts. */
  readonly hashes?: string
  /** How it differs from shares by weight. */
  readonly differs?: string
}

const BY_LOAD = 'new connections follow the weights, not the number of open connections'

const SCHEDULERS: Readonly<Record<string, Scheduling>> = {
  rr: { weighted: false },
  wrr: { weighted: true },
  lc: { weighted: false, differs: 'every backend gets an equal share, whatever the number of its open connections' },
  wlc: { weighted: true, differs: BY_LOAD },
  sed: { weighted: true, differs: BY_LOAD },
  nq: { weighted: true, differs: BY_LOAD },
  twos: { weighted: true, differs: BY_LOAD },
  sh: { weighted: true, hashes: 'sh-port' },
  mh: { weighted: true, hashes: 'mh-port' },
}

/** Schedulers that no service has. A failover (fo) needs backends that wait for others to fail. */
const WITHOUT_COUNTERPART: Readonly<Record<string, string>> = {
  dh: 'all packets to one destination go to one server',
  lblc: 'all packets to one destination go to one server',
  lblcr: 'all packets to one destination go to one set of servers',
  fo: 'the server with the highest weight gets everything, the others wait for it to fail',
  ovf: 'a server gets everything up to a number of connections',
}

/** Largest weight of a backend. */
const HEAVIEST = 65_535

const textOf = ({ address: { family, words } }: Pick<RealServer, 'address'>): string => formatAddress(family, words)

const same = (left: RealServer, right: RealServer): boolean =>
  left.method.kind === right.method.kind && left.method.guePort === right.method.guePort

/** The service that reaches this host's own port instead of a sorry server on the loopback device. */
const isOwnPort = (sorry: RealServer, { port }: VirtualServer): boolean =>
  isLoopback(sorry.address) && (sorry.port === 0 || sorry.port === port)

interface Problem {
  readonly place: Place
  readonly message: string
}

/** Why one server cannot be a backend. */
function problemOf(server: RealServer, { vip, port }: VirtualServer): string | undefined {
  const { address, method } = server
  const useless = uselessness(address)
  if (useless !== undefined) return `${textOf(server)} ${useless}, so it cannot be a backend`
  if (isMapped(address)) return `${textOf(server)} is an IPv4 address in IPv6 form`
  if (method.kind === 'gre') return 'a service has no GRE tunnels; ipip and gue are there'
  if (address.family !== vip.family && (method.kind === 'nat' || method.kind === 'dsr'))
    return `${textOf(server)} is not of the family of the virtual server`
  if (method.kind === 'nat' && port === 0 && server.port !== 0)
    return 'a backend of a service for any port keeps the port of packets'
  return undefined
}

/** Why a virtual server cannot be a service. */
function problemsOf(virtual: VirtualServer): Problem[] {
  const { place, vip, servers, sorry, scheduler } = virtual
  const found: Problem[] = []
  const useless = uselessness(vip) ?? (isMapped(vip) ? 'is an IPv4 address in IPv6 form' : undefined)
  if (useless !== undefined) found.push({ place, message: `the VIP ${useless}` })
  const missing = lookUp(WITHOUT_COUNTERPART, scheduler)
  if (missing !== undefined)
    found.push({ place, message: `no scheduler of a service is like ${scheduler}: ${missing}` })
  else if (!Object.hasOwn(SCHEDULERS, scheduler))
    found.push({ place, message: `the scheduler ${scheduler} is unknown` })
  const [first] = servers
  const names = new Set<string>()
  for (const server of [...servers, ...(sorry === undefined || isOwnPort(sorry, virtual) ? [] : [sorry])]) {
    const message = problemOf(server, virtual)
    const name = `${textOf(server)} ${targetPort(server, virtual)}`
    if (message !== undefined) found.push({ place: server.place, message })
    else if (first && !same(first, server)) {
      const kinds = `${first.method.kind} and ${server.method.kind}`
      found.push({ place: server.place, message: `a service has one forwarding method for all backends, not ${kinds}` })
    } else if (names.has(name)) found.push({ place: server.place, message: `${textOf(server)} is there twice` })
    names.add(name)
  }
  return found
}

/** The port on which a server receives; 0: that of the packet. */
const targetPort = ({ port, method }: RealServer, virtual: VirtualServer): number =>
  method.kind === 'nat' && port !== 0 ? port : virtual.port

/** Weights of the backends, in proportion to those of the servers. */
function weightsOf({ servers, scheduler, place }: VirtualServer, differences: Differences): readonly number[] {
  const { weighted } = SCHEDULERS[scheduler] as Scheduling
  const weights = servers.map(({ weight }) => (weighted || weight === 0 ? weight : 1))
  const heaviest = Math.max(1, ...weights)
  if (heaviest <= HEAVIEST) return weights
  differences.approximated(place, `weights above ${HEAVIEST} are scaled down, and rounded`)
  return weights.map((weight) => (weight === 0 ? 0 : Math.max(1, Math.round((weight * HEAVIEST) / heaviest))))
}

/** Backend or sorry backend, without its weight. */
function backendFields(server: RealServer, virtual: VirtualServer): Record<string, unknown> {
  const rewrites = server.method.kind === 'nat' && server.port !== 0 && server.port !== virtual.port
  return { address: textOf(server), ...(rewrites && { port: server.port }) }
}

function noteMethods({ servers, port }: VirtualServer, differences: Differences): void {
  for (const server of servers) {
    if (server.method.kind === 'nat' || server.port === 0 || server.port === port) continue
    differences.left(server.place, `port ${server.port} is left out: without NAT, packets keep their port`)
  }
}

/** The keys that say how a flow gets its backend. */
function schedulingFields(virtual: VirtualServer, differences: Differences): Record<string, unknown> {
  const { scheduler, flags, persistence, isOnePacket, place, protocol } = virtual
  const { hashes, differs } = SCHEDULERS[scheduler] as Scheduling
  const bySource = persistence !== undefined || (hashes !== undefined && !flags.includes(hashes))
  if (persistence !== undefined) {
    const limit = `persistence of ${persistence} s has no time limit here`
    differences.approximated(place, `${limit}: a client stays on its backend for as long as the backends are unchanged`)
  } else if (differs !== undefined) differences.approximated(place, `scheduler ${scheduler}: ${differs}`)
  if (isOnePacket && protocol === 'udp' && !bySource) {
    differences.approximated(place, 'one-packet scheduling: packets of one flow that follow each other stay together')
    return { scheduler: 'random' }
  }
  return bySource ? { hash: 'source' } : {}
}

const duration = (seconds: number): string => (seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`)

/** `tcp-192.0.2.10-80`; names.ts shortens it and makes it unique. */
function nameOf({ vip, port, protocol }: VirtualServer): string {
  const address = formatAddress(vip.family, vip.words).replaceAll(':', '-')
  return `${protocol}-${address}-${port === 0 ? 'any' : port}`
}

/** The service; undefined if packets would go elsewhere, which is reported. */
function serviceOf(virtual: VirtualServer, differences: Differences): ImportedService | undefined {
  const { place, vip, port, protocol, servers, udpTimeout } = virtual
  const problems = problemsOf(virtual)
  for (const { place: at, message } of problems) {
    const where = at === place ? '' : ` (of the virtual server in line ${place.line ?? 0})`
    differences.elsewhere('services', at, `left out${where}: ${message}`)
  }
  if (problems.length > 0) return undefined
  noteMethods(virtual, differences)
  const weights = weightsOf(virtual, differences)
  const [first] = servers
  const { shared, own, rest } = chosenHealth(virtual, backendFields, isOwnPort, differences)
  const backends = servers.map((server, i) => {
    const weight = weights[i] as number
    const base = backendFields(server, virtual)
    const fields = { ...base, ...(weight !== 1 && { weight }), ...own(server) }
    return Object.keys(fields).length === 1 ? textOf(server) : fields
  })
  const fields = {
    vip: formatAddress(vip.family, vip.words),
    port: port === 0 ? 'any' : port,
    protocol,
    forwarding: first?.method.kind ?? virtual.sorry?.method.kind ?? 'nat',
    ...(first?.method.guePort !== undefined && { gue_port: first.method.guePort }),
    ...schedulingFields(virtual, differences),
    ...(protocol === 'udp' && { udp_timeout: duration(udpTimeout) }),
    backends,
    ...(shared && { health: shared }),
    ...rest,
  }
  return { name: nameOf(virtual), place, fields }
}

/** Replies of plain NAT show the backend alone, so that two services may not share one: [protocol address, ports]. */
function claimsOf(virtual: VirtualServer): readonly (readonly [key: string, port: number])[] {
  const servers = [...virtual.servers, ...(virtual.sorry ? [virtual.sorry] : [])]
  return servers
    .filter(({ method }) => method.kind === 'nat')
    .map((server) => [`${virtual.protocol} ${textOf(server)}`, targetPort(server, virtual)])
}

const vipKey = ({ vip, port, protocol }: VirtualServer): string =>
  `${protocol} ${formatAddress(vip.family, vip.words)} ${port}`

/** Why a virtual server conflicts with those before it, or with any VIP. */
function conflictOf(
  virtual: VirtualServer,
  before: readonly VirtualServer[],
  vips: ReadonlySet<string>,
): string | undefined {
  if (before.some((other) => vipKey(other) === vipKey(virtual))) return 'it is there twice'
  const own = [...virtual.servers, ...(virtual.sorry ? [virtual.sorry] : [])].find((server) => vips.has(textOf(server)))
  if (own !== undefined) return `its server ${textOf(own)} is also a VIP`
  for (const [key, port] of claimsOf(virtual)) {
    const other = before.find((one) =>
      claimsOf(one).some(([otherKey, otherPort]) => {
        const meets = key === otherKey && (port === otherPort || port === 0 || otherPort === 0)
        // Replies to one VIP that keep their port are translated alike.
        const alike = vipText(one) === vipText(virtual) && port === virtual.port && otherPort === one.port
        return meets && !alike
      }),
    )
    if (other !== undefined)
      return `it has NAT to a server and port of ${vipText(other)} (line ${other.place.line ?? 0}), whose replies would look alike; with snat and snat_pool both can be services`
  }
  return undefined
}

const vipText = ({ vip }: VirtualServer): string => formatAddress(vip.family, vip.words)

/** The services, in the order of the source. */
export function servicesOf(virtuals: readonly VirtualServer[], differences: Differences): ImportedService[] {
  const vips = new Set(virtuals.map(vipText))
  const taken: VirtualServer[] = []
  return virtuals.flatMap((virtual) => {
    const conflict = conflictOf(virtual, taken, vips)
    if (conflict !== undefined) {
      differences.elsewhere('services', virtual.place, `left out: ${conflict}`)
      return []
    }
    const service = serviceOf(virtual, differences)
    if (service === undefined) return []
    taken.push(virtual)
    return [service]
  })
}
