// Compiles the services of a state into sections of an image: endpoints, services, backends, pools and rings, each at
// the position of its slot, so that a change moves little. Every number in a section counts from its start.

import {
  BACKEND_SLOTS,
  FRAGMENTS_DROP,
  LINE_SIZE,
  POOL_SLOTS,
  poolCodec,
  poolListCodec,
  serviceCodec,
  serviceRecordCodec,
} from '../../abi/generated.ts'
import { fail } from '../../diagnostics.ts'
import { isPlainNat } from '../../features/forwarding/forwarding.ts'
import type { Address } from '../../model/address.ts'
import { PROTOCOL_NUMBERS } from '../../model/ports.ts'
import { backendSlotKey, isAnyPort, type PoolAddress, type Service } from '../../model/service.ts'
import { compareAddresses, formatAddress } from '../../model/text.ts'
import { serviceDigest } from '../lines/digest.ts'
import { isSameLine, LINE_WORDS, makeLines } from '../lines/lines.ts'
import {
  type CompiledBefore,
  encodeBackends,
  keptBackends,
  type Placed,
  placeBackends,
  type ServiceFacts,
  slotOf,
} from './backends.ts'
import { type Endpoint, type EndpointSections, encodeEndpoints, type Interval } from './endpoints.ts'
import { encodePortLists } from './port-lists.ts'
import { measureRing, placeRings, RingSection, type ServiceRing, usedLines } from './rings.ts'
import { addressBytes, type BackendRole, fourWords, serviceLine } from './service-lines.ts'

/** Sections as whole lines. */
export interface ServiceSections {
  readonly endpoints: EndpointSections
  readonly services: Uint32Array
  readonly records: Uint32Array
  readonly backends: Uint32Array
  readonly pools: Uint32Array
  readonly rings: RingSection
  /** Some endpoint is the source of replies, or an address of a source pool. */
  readonly hasReplies: boolean
  readonly hasPools: boolean
  /** Number of lines of `pools` that are addresses. */
  readonly poolLines: number
}

const linesOf = (slots: Iterable<number>): number => Math.max(-1, ...slots) + 1

/** Whether later fragments, which carry no ports, can follow the first one. */
const takesFragments = (service: Service): boolean =>
  isAnyPort(service) && service.hash === 'source' && service.snatPool.length === 0

/** Precedence if several backends claim the same ports of an address: the lowest number, then the lowest slot. */
const claim = ({ backend, role }: Placed): number => (backend.state === 'disabled' ? 2 : role.leaving ? 1 : 0)

/** The intervals of ports that lead to a slot, in each protocol of the service. */
const intervalsOf = ({ protocols }: Service, ports: Service['ports'], slot: number): Interval[] =>
  protocols.flatMap((protocol) =>
    ports.map((range) => ({ protocol: PROTOCOL_NUMBERS[protocol], ...range, value: slot + 1 })),
  )

function collectEndpoints(
  services: readonly (readonly [number, Service])[],
  placed: readonly Placed[],
  pools: readonly (readonly [number, PoolAddress])[],
): Endpoint[] {
  const endpoints = new Map<string, Endpoint>()
  const at = (address: Address): Endpoint => {
    const words = fourWords(address)
    const key = words.join()
    const known = endpoints.get(key)
    if (known) return known
    const made = { address: words, destinations: [], sources: [], pool: 0, fragmentsTcp: 0, fragmentsUdp: 0 }
    endpoints.set(key, made)
    return made
  }
  for (const [slot, service] of services) {
    const endpoint = at(service.vip)
    endpoint.destinations.push(...intervalsOf(service, service.ports, slot))
    for (const protocol of service.protocols) {
      const which = protocol === 'udp' ? 'fragmentsUdp' : 'fragmentsTcp'
      const isTaken = endpoint[which] !== 0 && endpoint[which] !== FRAGMENTS_DROP
      if (!isTaken) endpoint[which] = takesFragments(service) ? slot + 1 : FRAGMENTS_DROP
    }
  }
  const replying = placed
    .filter(({ service }) => isPlainNat(service))
    .sort((a, b) => claim(a) - claim(b) || a.slot - b.slot)
  for (const { slot, service, backend } of replying) {
    const ports = backend.port === undefined ? service.ports : [{ first: backend.port, last: backend.port }]
    at(backend.address).sources.push(...intervalsOf(service, ports, slot))
  }
  for (const [slot, address] of pools) at(address).pool = slot + 1
  if (endpoints.size >= BACKEND_SLOTS) {
    const what = `the services have ${endpoints.size} addresses in all, but at most ${BACKEND_SLOTS - 1} fit`
    throw fail('E208', what, 'divide the services among several instances')
  }
  return [...endpoints.values()].sort((a, b) => compareAddresses(a.address, b.address))
}

const poolLine = (address: PoolAddress) => ({
  address: addressBytes(address),
  host_first: address.hostPorts?.first ?? 0,
  host_last: address.hostPorts?.last ?? 0,
})

/** Pool slots and addresses of all services, in the order of slots. */
function collectPools(
  services: Iterable<Service>,
  slots: ReadonlyMap<string, number>,
): (readonly [number, PoolAddress])[] {
  const pools = new Map<number, PoolAddress>()
  for (const { snatPool } of services) {
    for (const address of snatPool) pools.set(slotOf(slots, formatAddress(address.family, address.words)), address)
  }
  return [...pools].sort(([a], [b]) => a - b)
}

/**
 * Addresses by slot, followed by a list of slots for each service with a pool; `lists` maps a service slot to its list.
 */
function encodePools(
  services: readonly (readonly [number, Service])[],
  pools: readonly (readonly [number, PoolAddress])[],
  slots: ReadonlyMap<string, number>,
): { readonly words: Uint32Array; readonly addresses: number; readonly lists: ReadonlyMap<number, number> } {
  const addresses = linesOf(pools.map(([slot]) => slot))
  const pooled = services.filter(([, { snatPool }]) => snatPool.length > 0)
  const words = makeLines(addresses + pooled.length)
  const view = new DataView(words.buffer)
  for (const [slot, address] of pools) poolCodec.encode(poolLine(address), view, slot * LINE_SIZE)
  const lists = new Map<number, number>()
  for (const [i, [service, { snatPool }]] of pooled.entries()) {
    const pool = new Uint8Array(POOL_SLOTS)
    pool.set(snatPool.map(({ family, words: own }) => slotOf(slots, formatAddress(family, own))))
    poolListCodec.encode({ pool }, view, (addresses + i) * LINE_SIZE)
    lists.set(service, addresses + i)
  }
  return { words, addresses, lists }
}

/** Slots of backends, by service slot. */
export function slotsByService(
  backends: Iterable<{ readonly slot: number; readonly role: BackendRole }>,
): ReadonlyMap<number, readonly number[]> {
  const slots = new Map<number, number[]>()
  for (const { slot, role } of backends) {
    const own = slots.get(role.service)
    if (own) own.push(slot)
    else slots.set(role.service, [slot])
  }
  return slots
}

/** The lines that a service's digest covers, besides its name. `own`: slots of its backends. */
export function digestLines(
  services: Uint32Array,
  backends: Uint32Array,
  slot: number,
  own: readonly number[],
): Uint8Array[] {
  const line = (words: Uint32Array, at: number): Uint8Array =>
    new Uint8Array(words.buffer, words.byteOffset + at * LINE_SIZE, LINE_SIZE)
  return [line(services, slot), ...own.toSorted((a, b) => a - b).map((backend) => line(backends, backend))]
}

/**
 * Compiles services.
 *
 * @param before previously compiled services, whose lines may be taken over
 * @throws XdpError E208 if they have more addresses than address numbers
 */
export function compileServices(
  state: ReadonlyMap<string, Service>,
  facts: ServiceFacts,
  before?: CompiledBefore,
): ServiceSections {
  const { slots } = facts
  const services = [...state.values()]
    .map((service) => [slotOf(slots.services, service.name), service] as const)
    .sort(([a], [b]) => a - b)
  const kept = keptBackends(services, facts, before)
  const toPlace = services.filter(([slot, service]) => !kept.has(slot) || isPlainNat(service))
  const { placed, inUse } = placeBackends(toPlace, facts)
  const pools = collectPools(state.values(), slots.pools)
  const encodedPools = encodePools(services, pools, slots.pools)
  const rings = new Map(
    services.map(([slot, { backends }]): [number, ServiceRing] => {
      const own = kept.get(slot)?.subarray(0, backends.length) ?? (inUse.get(slot) as Uint16Array)
      return [slot, measureRing(backends, own)]
    }),
  )
  const { first, lines } = placeRings(rings)
  const serviceWords = makeLines(linesOf(rings.keys()))
  const portLists = encodePortLists(services.map(([, service]) => service))
  const recordWords = makeLines(linesOf(rings.keys()) + portLists.length / LINE_WORDS)
  recordWords.set(portLists, serviceWords.length)
  const changed = placed.filter(({ role }) => !kept.has(role.service))
  const backendWords = encodeBackends(changed, kept, before)
  const ownSlots = slotsByService(changed)
  for (const [slot, service] of services) {
    const ring = rings.get(slot) as ServiceRing
    const at = first.get(slot) as number
    const places = {
      ring: usedLines(ring) === 0 ? 0 : at,
      ringSize: ring.size,
      takers: ring.takers,
      backups: ring.backups,
      poolList: encodedPools.lists.get(slot) ?? 0,
      sorry: service.sorry && slotOf(slots.backends, backendSlotKey(service.name, service.sorry)),
    }
    serviceCodec.encode(serviceLine(service, places), new DataView(serviceWords.buffer), slot * LINE_SIZE)
    const keptSlots = kept.get(slot)
    if (before && keptSlots && isSameLine(serviceWords, before.lines.services, slot)) {
      const at = slot * LINE_WORDS
      recordWords.set(before.lines.records.subarray(at, at + LINE_WORDS), at)
      continue
    }
    const own = digestLines(serviceWords, backendWords, slot, ownSlots.get(slot) ?? [...(keptSlots ?? [])])
    const digest = serviceDigest(service, own)
    const record = { name: service.name, digest, drain_timeout: service.drainTimeout ?? 0, mtu: service.mtu ?? 0 }
    serviceRecordCodec.encode(record, new DataView(recordWords.buffer), slot * LINE_SIZE)
  }
  const endpoints = collectEndpoints(services, placed, pools)
  return {
    endpoints: encodeEndpoints(endpoints),
    services: serviceWords,
    records: recordWords,
    backends: backendWords,
    pools: encodedPools.words,
    rings: new RingSection(rings, first, lines),
    hasReplies: endpoints.some(({ sources }) => sources.length > 0),
    hasPools: pools.length > 0,
    poolLines: encodedPools.addresses,
  }
}
