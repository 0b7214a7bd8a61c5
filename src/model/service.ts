// Services of the balancer: a VIP, protocol and port, and the backends that share its flows. Canonical like everything
// in a State, so that "equal" means equal. No I/O here, and no encoding.

import type { Forwarding } from '../features/forwarding/forwarding.ts'
import type { Address } from './address.ts'
import { formatPorts, type PortRange, type TransportProtocol } from './ports.ts'
import { compareAddresses, formatAddress } from './text.ts'

export type Scheduler = 'maglev' | 'random'
/** Input of the flow hash. `source`: all flows of a client go to one backend. */
export type FlowHash = 'five_tuple' | 'source'
/**
 * Where replies of backends may arrive to be translated. `route`: on the interface that the route to the backend leads to.
 */
export type RepliesFrom = 'route' | 'anywhere'
/** `drain`: keeps its flows and takes no new ones, as with weight 0. `disabled`: gets no packets at all. */
export type BackendState = 'active' | 'drain' | 'disabled'
/** `reject`: answered at once, by a TCP reset or ICMP "port unreachable". */
export type OnEmpty = 'drop' | 'pass' | 'reject'

/** Next hop of frames to a backend, from the kernel's route and neighbour tables, never from the file. */
export interface NextHop {
  /** Egress interface; for a VLAN interface, its parent, with the tag in `vlan`. */
  readonly interface: string
  readonly ifindex: number
  /** 12 hex digits in lower case, as `02005e100001`. */
  readonly mac: string
  /** MAC of the egress interface. */
  readonly sourceMac: string
  /** VLAN tag that frames carry; 0 = none. */
  readonly vlan: number
  /** MTU of the egress interface, for the IP packet; 65,535 at most. */
  readonly mtu: number
}

export interface Backend {
  readonly address: Address
  /** Port that NAT rewrites to; undefined = the destination port stays. */
  readonly port: number | undefined
  /** Share of new flows, relative to the other backends' weights; 0 = as `state: drain`. */
  readonly weight: number
  readonly state: BackendState
  /** Takes new flows only while no other backend does: in the table of backups, not in the ring. */
  readonly backup: boolean
  /** Largest IP packet on the path to it in bytes, of the file; undefined: as the service says. */
  readonly mtu: number | undefined
  /** undefined: not resolved (live), or not looked up (desired). The backend gets no traffic. */
  readonly nextHop: NextHop | undefined
}

/** Source addresses of encapsulated packets: a prefix; the bits after it follow the flow, for receive-side scaling. */
export interface OuterSource {
  /** IPv4 prefix as words and length, 8 to 32. */
  readonly v4: { readonly address: Address; readonly length: number }
  /** The first 64 bits count; the length is 64. */
  readonly v6: Address
}

/** An address of a source pool. */
export interface PoolAddress extends Address {
  /** Ports of sockets of this host, which flows do not get; undefined: it is no address of this host. */
  readonly hostPorts?: PortRange | undefined
}

export interface Service {
  /** Unique; 1 to 39 characters, with the syntax of list names. */
  readonly name: string
  readonly vip: Address
  /** Ascending, disjoint, at least one; 0 to 65535 = any port. */
  readonly ports: readonly PortRange[]
  /** `tcp`, `udp`, or both in this order. */
  readonly protocols: readonly TransportProtocol[]
  readonly forwarding: Forwarding
  readonly scheduler: Scheduler
  readonly hash: FlowHash
  /** Verdict on packets while no backend takes them. */
  readonly onEmpty: OnEmpty
  /**
   * Source pool of full NAT: distinct, of the backends' family, in the order in which the addresses were added to the
   * live service; sorted if it is new. Empty = backends see the client's address.
   */
  readonly snatPool: readonly PoolAddress[]
  readonly repliesFrom: RepliesFrom
  /** UDP destination port of GUE. */
  readonly guePort: number
  readonly outerSource: OuterSource
  /** Idle timeout of UDP flows in seconds. */
  readonly udpTimeout: number
  /**
   * Seconds for which a drained or removed backend keeps its flows. undefined: a drained backend keeps them while it is
   * in the file, a removed one for DRAIN_TIMEOUT.
   */
  readonly drainTimeout: number | undefined
  /** Largest IP packet on the paths to its backends in bytes, of the file; undefined: as the next hop says. */
  readonly mtu: number | undefined
  /** Takes new flows while fewer backends than `min_healthy` are healthy (`fallback: sorry`); not in the ring. */
  readonly sorry: Backend | undefined
  /** Sorted by address (IPv4 first), then port; distinct. */
  readonly backends: readonly Backend[]
}

/** Default number of seconds for which a removed backend keeps its flows. */
export const DRAIN_TIMEOUT = 300
export const UDP_TIMEOUT = 30
/** Katran's defaults: private and discard-only addresses (RFC 1918, RFC 6666), which no host answers. */
export const DEFAULT_OUTER_SOURCE: OuterSource = {
  v4: { address: { family: 4, words: Uint32Array.of(0xac100000) }, length: 16 },
  v6: { family: 6, words: Uint32Array.of(0x01000000, 0, 0, 0) },
}
/** UDP port registered for GUE at IANA; also used by `ip link add … type ipip encap gue` and Katran. */
export const GUE_PORT = 6080

export const ANY_PORT: PortRange = { first: 0, last: 0xffff }
export const isAnyPort = ({ ports: [range] }: Pick<Service, 'ports'>): boolean =>
  range?.first === 0 && range.last === 0xffff

/** The port of a service that has one; undefined: it has several. */
export function onlyPort({ ports: [range, another] }: Pick<Service, 'ports'>): number | undefined {
  return another === undefined && range?.first === range?.last ? range?.first : undefined
}

/** `443`, `80,8000-8099` or `any`. */
export const portsText = (service: Pick<Service, 'ports'>): string =>
  isAnyPort(service) ? 'any' : service.ports.map(formatPorts).join(',')

/** `tcp` or `tcp+udp`. */
export const protocolsText = ({ protocols }: Pick<Service, 'protocols'>): string => protocols.join('+')

/** An address with its port, if it has one. */
export const withPort = (address: string, port: number | undefined): string =>
  port === undefined ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

/**
 * Identifies a backend within its service: `10.0.0.11:80`, `[2001:db8::1]:80`, or the address alone if it has no port.
 */
export function backendKey({ address: { family, words }, port }: Pick<Backend, 'address' | 'port'>): string {
  return withPort(formatAddress(family, words), port)
}

/** Identifies a backend within the instance: `web/10.0.0.11:80`. */
export const backendSlotKey = (service: string, backend: Pick<Backend, 'address' | 'port'>): string =>
  `${service}/${backendKey(backend)}`

/** Backends of a service, followed by its sorry backend if it has one. */
export const everyBackend = ({ backends, sorry }: Service): readonly Backend[] =>
  sorry === undefined ? backends : [...backends, sorry]

/** Computes a value of a service once: services are immutable, and there may be thousands of backends to format. */
function once<T>(make: (service: Service) => T): (service: Service) => T {
  const made = new WeakMap<Service, T>()
  return (service) => {
    const known = made.get(service)
    if (known !== undefined) return known
    const fresh = make(service)
    made.set(service, fresh)
    return fresh
  }
}

/** Formatted addresses in the order of everyBackend. */
export const addressTextsOf: (service: Service) => readonly string[] = once((service) =>
  everyBackend(service).map(({ address: { family, words } }) => formatAddress(family, words)),
)

/** backendSlotKeys in the order of everyBackend. */
export const slotKeysOf: (service: Service) => readonly string[] = once((service) =>
  everyBackend(service).map((backend) => backendSlotKey(service.name, backend)),
)

/** Canonical order of a service's backends: by address, IPv4 first, then by port. */
export function compareBackends(
  left: Pick<Backend, 'address' | 'port'>,
  right: Pick<Backend, 'address' | 'port'>,
): number {
  return (
    left.address.family - right.address.family ||
    compareAddresses(left.address.words, right.address.words) ||
    (left.port ?? 0) - (right.port ?? 0)
  )
}

/** Whether the backend takes new flows according to the config; a backup only if no other backend does. */
export const takesFlows = ({ weight, state }: Backend): boolean => weight > 0 && state === 'active'

/** Whether the backend is in the ring of its service. */
export const isInRing = (backend: Backend): boolean => takesFlows(backend) && !backend.backup

/** Whether the backend is in the table of backups of its service. */
export const isStandby = (backend: Backend): boolean => takesFlows(backend) && backend.backup

/** A backend that was removed from the file, alone or with its service, and keeps its flows until a deadline. */
export interface LeavingBackend {
  /** Name of its service. */
  readonly service: string
  readonly backend: Backend
  /** Monotonic time in seconds. */
  readonly deadline: number
}
