// Reference model of the balancer: the service that a packet is for, the backend of a new flow, and the reason if the
// packet cannot go there. It leaves out state that only the kernel has: the flow table, health, and replies of
// backends, which depend on routes or on flows. The caller states what the kernel remembers of a fragment's datagram.
// bpf/include/balance.h implements the rules in C.

import { FORWARDING_MODES, isPlainNat, overheadOf } from '../features/forwarding/forwarding.ts'
import type { Address, Family } from '../model/address.ts'
import { PROTOCOL_NUMBERS, rangeWith, TCP, UDP, widthOf } from '../model/ports.ts'
import {
  type Backend,
  everyBackend,
  isAnyPort,
  isInRing,
  isStandby,
  type NextHop,
  type OnEmpty,
  type Service,
} from '../model/service.ts'
import { compareAddresses } from '../model/text.ts'
import type { ReasonName } from '../report/reason.ts'
import { flowHash, ringSlot } from './flow-hash.ts'
import { backupRingOf, type Ring, ringOf } from './maglev.ts'

/** The packet quoted by an ICMP error. */
export interface Quoted {
  readonly source: Uint32Array
  readonly destination: Uint32Array
  readonly protocol: number
  readonly ports: { readonly source: number; readonly destination: number }
}

/** Packet facts that only the balancer uses, besides source, protocol and ports. */
export interface Transit {
  readonly destination: Uint32Array
  /** The frame is for this host: neither to a group nor to another host. */
  readonly isAddressed: boolean
  /** Length of the IP datagram in bytes, from its header. */
  readonly length: number
  /** The frame is shorter than that, or the header gives no length. */
  readonly isCut: boolean
  readonly ttl: number
  readonly fragment: 'first' | 'later' | undefined
  /** Of a later fragment: protocol and ports in the first one of its datagram, if that came before. */
  readonly first?: Pick<Quoted, 'protocol' | 'ports'> | undefined
  /** The frame has at most one 802.1Q tag. */
  readonly hasPlainLink: boolean
  /** Not TCP, or a SYN without ACK. */
  readonly startsFlow: boolean
  /** The datagram contains a complete TCP header, within this frame. */
  readonly hasWholeTcp: boolean
  /** It is a TCP segment with the flag RST. */
  readonly isReset: boolean
  /** The destination MAC address is that of a group of stations, such as broadcast. */
  readonly isToGroup: boolean
  readonly icmp: { readonly type: number; readonly quoted: Quoted | undefined } | undefined
}

/** Packet facts that the balancer uses. */
interface Facts {
  readonly family: Family
  readonly source: Uint32Array
  readonly protocol: number | undefined
  readonly ports: { readonly source: number; readonly destination: number } | undefined
  readonly transit?: Transit | undefined
}

export interface Balanced {
  readonly reason: ReasonName
  /** undefined: the packet is for a VIP but for no particular service of it. */
  readonly service: Service | undefined
  readonly backend: Backend | undefined
}

const ECHO_REQUEST: Readonly<Record<Family, number>> = { 4: 8, 6: 128 }
/** Number of ring slots to try before the list of all backends. */
const RING_STEPS = 256

const isVip = ({ vip }: Service, family: Family, words: Uint32Array): boolean =>
  vip.family === family && compareAddresses(vip.words, words) === 0

const takesProtocol = ({ protocols }: Service, protocol: number | undefined): boolean =>
  protocols.some((name) => PROTOCOL_NUMBERS[name] === protocol)

/** The service on a port of a VIP; of several, the one whose range around the port is the narrowest. */
export function serviceAt(
  services: Iterable<Service>,
  family: Family,
  vip: Uint32Array,
  protocol: number,
  port: number,
): Service | undefined {
  let found: { readonly service: Service; readonly width: number } | undefined
  for (const service of services) {
    const range = takesProtocol(service, protocol) ? rangeWith(service.ports, port) : undefined
    if (!range || !isVip(service, family, vip)) continue
    const width = widthOf(range)
    if (!found || width < found.width) found = { service, width }
  }
  return found?.service
}

/** Next hop of packets to a backend; undefined: it gets none. */
const hopOf = (backend: Backend | undefined): NextHop | undefined => backend?.nextHop

/**
 * Whether a TCP packet may be one of services: to a service or a source pool, from a backend of plain NAT, or from a VIP,
 * as the answers to health checks.
 */
export function isServed(services: ReadonlyMap<string, Service>, { family, source, ports, transit }: Facts): boolean {
  if (!transit || !ports) return false
  const { destination } = transit
  const all = [...services.values()]
  const is = (address: Address, words: Uint32Array): boolean =>
    address.family === family && compareAddresses(address.words, words) === 0
  return (
    serviceAt(all, family, destination, TCP, ports.destination) !== undefined ||
    all.some(({ snatPool }) => snatPool.some((address) => is(address, destination))) ||
    all.some(
      (service) =>
        is(service.vip, source) ||
        (isPlainNat(service) && everyBackend(service).some(({ address }) => is(address, source))),
    )
  )
}

/** Picks a backend with a next hop from a table: the hash's own slot, else the next one along the table, else any. */
function along(
  ring: Ring,
  { backends }: Service,
  isIn: (backend: Backend) => boolean,
  hash: bigint,
): Backend | undefined {
  if (ring.length === 0) return undefined
  const first = ringSlot(hash, ring.length)
  for (let step = 0; step < Math.min(RING_STEPS, ring.length); step++) {
    const backend = backends[ring[(first + step) % ring.length] as number]
    if (hopOf(backend)) return backend
  }
  const takers = backends.filter(isIn)
  const start = ringSlot(hash >> 16n, takers.length)
  return [...takers.slice(start), ...takers.slice(0, start)].find((backend) => hopOf(backend))
}

/** Picks the backend of a new flow while all backends are healthy; undefined: none takes it. */
export function backendFor(service: Service, hash: bigint): Backend | undefined {
  const { backends, sorry } = service
  return (
    along(ringOf(backends), service, isInRing, hash) ??
    along(backupRingOf(backends), service, isStandby, hash) ??
    (hopOf(sorry) ? sorry : undefined)
  )
}

/** Whether the service can forward a fragment: NAT writes the checksum of TCP, which a first one may lack. */
const takesFragment = (
  { forwarding }: Service,
  protocol: number | undefined,
  { fragment, hasWholeTcp }: Transit,
): boolean => !FORWARDING_MODES[forwarding].translatesReplies || protocol === UDP || fragment === 'later' || hasWholeTcp

/** RFC 1122 §3.2.2, RFC 4443 §2.4 (e.6): no answer goes to an address that does not belong to one host. */
function isOneHost(family: Family, words: Uint32Array): boolean {
  const [first = 0, second, third, fourth = 0] = words
  if (family === 4) return first >>> 24 !== 0 && first >>> 24 !== 127 && first >>> 24 < 224
  return first >>> 24 !== 0xff && (first !== 0 || second !== 0 || third !== 0 || fourth > 1)
}

/** RFC 4443 §3.2, RFC 8200 §5: the least MTU that may be reported to an IPv6 sender. */
const LEAST_MTU: Readonly<Record<Family, number>> = { 4: 0, 6: 1280 }

/** Decides on a packet with a known backend. */
function send(service: Service, backend: Backend, facts: Facts, transit: Transit, ingress: number): ReasonName {
  const hop = hopOf(backend) as NextHop
  const room = hop.mtu - overheadOf(service, backend.address.family)
  if (transit.length > room) {
    const isReported =
      !transit.icmp &&
      transit.fragment !== 'later' &&
      transit.length > Math.max(room, LEAST_MTU[facts.family]) &&
      isOneHost(facts.family, facts.source)
    return isReported ? 'too-big' : 'oversize'
  }
  if (FORWARDING_MODES[service.forwarding].decrementsTtl && transit.ttl <= 1) return 'expired'
  return hop.ifindex === ingress ? 'balanced' : 'balanced-away'
}

/** Whether an ICMP type is an error. */
const isError = (family: Family, type: number): boolean =>
  family === 4 ? type === 3 || type === 11 || type === 12 : type >= 1 && type <= 4

const OTHER_HOST: Balanced = { reason: 'other-host', service: undefined, backend: undefined }

function balanceIcmp(
  services: readonly Service[],
  facts: Facts,
  transit: Transit,
  ingress: number,
  hashKey: string | undefined,
): Balanced | undefined {
  const { family } = facts
  const { type, quoted } = transit.icmp as { type: number; quoted: Quoted | undefined }
  if (transit.fragment || transit.isCut) return undefined
  if (!transit.isAddressed) return type === ECHO_REQUEST[family] ? OTHER_HOST : undefined
  if (type === ECHO_REQUEST[family]) {
    return isOneHost(family, facts.source) ? { reason: 'echo', service: undefined, backend: undefined } : undefined
  }
  if (!quoted || !isError(family, type) || compareAddresses(quoted.source, transit.destination) !== 0) return undefined
  const service = serviceAt(services, family, quoted.source, quoted.protocol, quoted.ports.source)
  // Full NAT looks up its flows, which only the kernel knows.
  if (!service || service.snatPool.length > 0) return undefined
  const [source, destination] = [quoted.destination, quoted.source].map((words): Address => ({ family, words }))
  const { ports, protocol } = quoted
  const hash = flowHash(
    {
      source: source as Address,
      sourcePort: ports.destination,
      destination: destination as Address,
      destinationPort: ports.source,
      protocol,
    },
    service.hash,
    hashKey,
  )
  const backend = backendFor(service, hash)
  const reason = backend ? send(service, backend, facts, transit, ingress) : 'no-backend'
  return { reason, service, backend }
}

/**
 * The service that takes a later fragment without a first one; `drop`: no service takes it, though one of the VIP has its
 * protocol.
 */
function fragmentService(services: readonly Service[], protocol: number | undefined): Service | 'drop' | undefined {
  const own = services.filter((service) => takesProtocol(service, protocol))
  if (own.length === 0) return undefined
  return (
    own.find((service) => isAnyPort(service) && service.hash === 'source' && service.snatPool.length === 0) ?? 'drop'
  )
}

/** The reason of a packet that no backend takes. */
function reasonOf(onEmpty: OnEmpty, { family, source }: Facts, { fragment, isReset, isToGroup }: Transit): ReasonName {
  if (onEmpty === 'pass') return 'no-backend-pass'
  const isAnswered = !fragment && !isReset && !isToGroup && isOneHost(family, source)
  return onEmpty === 'reject' && isAnswered ? 'rejected' : 'no-backend'
}

/** Why full NAT does not take a packet. The model knows no flows. */
const refusalOf = ({ hasPlainLink, startsFlow }: Transit): ReasonName | undefined =>
  hasPlainLink ? (startsFlow ? undefined : 'no-flow') : 'unsupported'

/**
 * Decides on a packet to a VIP; undefined: no service is concerned.
 *
 * @param ingress ifindex of the interface that received it
 * @param hashKey as for flowHash
 */
export function balance(
  services: ReadonlyMap<string, Service>,
  facts: Facts,
  ingress: number,
  hashKey?: string,
): Balanced | undefined {
  const { family, source, transit } = facts
  if (!transit) return undefined
  const { protocol, ports } = transit.first ?? facts
  const own = [...services.values()].filter((service) => isVip(service, family, transit.destination))
  if (own.length === 0) return undefined
  if (transit.icmp) return balanceIcmp(own, facts, transit, ingress, hashKey)
  const nothing = { service: undefined, backend: undefined }
  const service =
    ports && protocol !== undefined
      ? serviceAt(own, family, transit.destination, protocol, ports.destination)
      : transit.fragment === 'later'
        ? fragmentService(own, protocol)
        : undefined
  if (!service) return undefined
  if (!transit.isAddressed) return OTHER_HOST
  if (service === 'drop') return { reason: 'fragment', ...nothing }
  if (transit.isCut) return { reason: 'malformed', ...nothing }
  if (transit.fragment && !takesFragment(service, protocol, transit))
    return { reason: 'fragment', service, backend: undefined }
  const refusal = service.snatPool.length > 0 ? refusalOf(transit) : undefined
  if (refusal) return { reason: refusal, service, backend: undefined }
  const destination: Address = { family, words: transit.destination }
  const flow = { source: { family, words: source }, destination, protocol: protocol as number }
  const hash = flowHash(
    { ...flow, sourcePort: ports?.source ?? 0, destinationPort: ports?.destination ?? 0 },
    service.hash,
    hashKey,
  )
  const backend = backendFor(service, hash)
  if (!backend) return { reason: reasonOf(service.onEmpty, facts, transit), service, backend }
  return { reason: send(service, backend, facts, transit, ingress), service, backend }
}
