// Services of the balancer: a VIP, protocol and port, and the backends that its flows are spread over. Canonical like
// everything in a State, so that "equal" means equal. No I/O here, and nothing that knows bytes.

import type { Address } from './address.ts'
import type { PortRange } from './ports.ts'
import { compareAddresses, formatAddress } from './text.ts'

/** How a packet gets to its backend: destination rewritten, MACs rewritten, or wrapped in another packet. */
export type Forwarding = 'nat' | 'dsr' | 'ipip' | 'gue'
export type Scheduler = 'maglev' | 'random'
/** What decides the backend of a flow. `source`: all flows of a client go to one. */
export type FlowHash = 'five_tuple' | 'source'
/** `drain`: keeps the flows it has and takes no new ones, as with weight 0. `disabled`: gets nothing at once. */
export type BackendState = 'active' | 'drain' | 'disabled'

/** Where frames to a backend go: found in the kernel's route and neighbour tables, never in the file. */
export interface NextHop {
  /** Egress interface; a VLAN interface stands as its parent with a tag. */
  readonly interface: string
  readonly ifindex: number
  /** 12 hex digits in lower case, as `02005e100001`. */
  readonly mac: string
  /** MAC of the egress interface. */
  readonly sourceMac: string
  /** VLAN tag that frames carry; 0 = none. */
  readonly vlan: number
  /** Of the egress interface, for the IP packet; 65,535 at most. */
  readonly mtu: number
}

export interface Backend {
  readonly address: Address
  /** Port that NAT rewrites to; undefined = the packet's own. */
  readonly port: number | undefined
  /** Share of new flows, relative to the other backends' weights; 0 = as state drain. */
  readonly weight: number
  readonly state: BackendState
  /** undefined: not resolved (live), or not asked for yet (as the file says it): gets no traffic. */
  readonly nextHop: NextHop | undefined
}

/** Source addresses of encapsulated packets: a prefix; the bits after it follow the flow, for receive-side scaling. */
export interface OuterSource {
  /** IPv4 prefix as words and length, 8 to 32. */
  readonly v4: { readonly address: Address; readonly length: number }
  /** The first 64 bits count; the length is 64. */
  readonly v6: Address
}

export interface Service {
  /** Unique; 1 to 39 characters as names of lists. */
  readonly name: string
  readonly vip: Address
  /** 0 to 65535 = any port. */
  readonly ports: PortRange
  readonly protocol: 'tcp' | 'udp'
  readonly forwarding: Forwarding
  readonly scheduler: Scheduler
  readonly hash: FlowHash
  /** What becomes of packets while no backend takes them. */
  readonly onEmpty: 'drop' | 'pass'
  /** Source pool of full NAT: sorted, distinct, of the backends' family; empty = backends see the client's address. */
  readonly snatPool: readonly Address[]
  /** UDP destination port of GUE. */
  readonly guePort: number
  readonly outerSource: OuterSource
  /** Seconds after which an idle flow of UDP is forgotten. */
  readonly udpTimeout: number
  /**
   * Seconds for which a drained or removed backend keeps its flows. undefined: a drained one while it is in the file, a
   * removed one for DRAIN_TIMEOUT.
   */
  readonly drainTimeout: number | undefined
  /** Takes flows when health says that too few others do (`fallback: sorry`); in no ring. */
  readonly sorry: Backend | undefined
  /** Sorted by address (IPv4 first), then port; distinct. */
  readonly backends: readonly Backend[]
}

/** Seconds for which a removed backend keeps its flows, where the file does not say. */
export const DRAIN_TIMEOUT = 300
export const UDP_TIMEOUT = 30
/** As Katran's: private and discard-only addresses (RFC 1918, RFC 6666), which nobody answers to. */
export const DEFAULT_OUTER_SOURCE: OuterSource = {
  v4: { address: { family: 4, words: Uint32Array.of(0xac100000) }, length: 16 },
  v6: { family: 6, words: Uint32Array.of(0x01000000, 0, 0, 0) },
}
/** IANA: gue, what `ip link add … type ipip encap gue` and Katran use. */
export const GUE_PORT = 6080

export const ANY_PORT: PortRange = { first: 0, last: 0xffff }
export const isAnyPort = ({ ports }: Service): boolean => ports.first === 0 && ports.last === 0xffff

/** An address with its port, if it has one. */
export const withPort = (address: string, port: number | undefined): string =>
  port === undefined ? address : address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

/** What a backend is known by among those of its service: `10.0.0.11:80`, `[2001:db8::1]:80`, without a port where it has none. */
export function backendKey({ address: { family, words }, port }: Pick<Backend, 'address' | 'port'>): string {
  return withPort(formatAddress(family, words), port)
}

/** What a backend is known by among all: `web/10.0.0.11:80`. */
export const backendSlotKey = (service: string, backend: Pick<Backend, 'address' | 'port'>): string =>
  `${service}/${backendKey(backend)}`

/** Backends of a service and its sorry backend. */
export const everyBackend = ({ backends, sorry }: Service): readonly Backend[] =>
  sorry === undefined ? backends : [...backends, sorry]

/** What is made of a service, once: services do not change, and there may be thousands of backends to format. */
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

/** Whether the backend takes new flows, as far as the file goes. */
export const takesFlows = ({ weight, state }: Backend): boolean => weight > 0 && state === 'active'

/** A backend that left the file (or whose service did not, while it did) and keeps its flows until a time. */
export interface LeavingBackend {
  /** Name of its service. */
  readonly service: string
  readonly backend: Backend
  /** Monotonic time in seconds. */
  readonly deadline: number
}
