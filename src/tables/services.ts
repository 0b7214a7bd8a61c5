// The services of a state as sections of an image: endpoints, services, backends, pools and rings, each at a place that
// its slot says, so that little moves when one of them changes. Every number in them counts from the start of a section.

import {
  BACKEND_SLOTS,
  backendCodec,
  FRAGMENTS_DROP,
  LINE_SIZE,
  NO_SLOT,
  POOL_SLOTS,
  poolCodec,
  poolListCodec,
  serviceCodec,
  serviceRecordCodec,
} from '../abi/generated.ts'
import { fail } from '../diagnostics.ts'
import type { Address } from '../model/address.ts'
import type { Slots } from '../model/live.ts'
import {
  type Backend,
  backendSlotKey,
  isAnyPort,
  type LeavingBackend,
  type Service,
  slotKeysOf,
} from '../model/service.ts'
import { compareAddresses, formatAddress } from '../model/text.ts'
import { serviceDigest } from './digest.ts'
import { type Endpoint, type EndpointSections, encodeEndpoints } from './endpoints.ts'
import { LINE_WORDS, makeLines } from './lines.ts'
import { measureRing, placeRings, RingSection, type ServiceRing } from './rings.ts'
import { addressBytes, type BackendRole, backendLine, fourWords, serviceLine } from './service-lines.ts'

/** What is known of services besides the state. */
export interface ServiceFacts {
  readonly slots: Pick<Slots, 'services' | 'backends' | 'pools'>
  readonly leaving: readonly LeavingBackend[]
  /** Of backends that are drained, by backendSlotKey. */
  readonly deadlines: ReadonlyMap<string, number>
}

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
  /** Lines of `pools` that are addresses. */
  readonly poolLines: number
}

/** Services that were compiled before, and the lines that they became. */
export interface CompiledBefore extends ServiceFacts {
  readonly services: ReadonlyMap<string, Service>
  readonly lines: Pick<ServiceSections, 'services' | 'records' | 'backends'>
}

/** A backend with its slot and what it is. */
interface Placed {
  readonly slot: number
  readonly service: Service
  readonly backend: Backend
  readonly role: BackendRole
}

const TCP = 6
const UDP = 17

/** Throws RangeError where something has no slot: the planner forgot it. */
function slotOf(slots: ReadonlyMap<string, number>, key: string): number {
  const slot = slots.get(key)
  if (slot === undefined) throw new RangeError(`${key} has no slot`)
  return slot
}

const linesOf = (slots: Iterable<number>): number => Math.max(-1, ...slots) + 1

/** Highest of many slots + 1; too many for the arguments of one call. */
function endOf(slots: Iterable<number>): number {
  let end = 0
  for (const slot of slots) if (slot >= end) end = slot + 1
  return end
}

/** Every backend of the services, in use, in reserve and leaving; and the slots of those in use, in order, by service slot. */
function placeBackends(
  services: readonly (readonly [number, Service])[],
  { slots, leaving, deadlines }: ServiceFacts,
): { readonly placed: readonly Placed[]; readonly inUse: ReadonlyMap<number, Uint16Array> } {
  const placed: Placed[] = []
  const add = (at: number, service: Service, backend: Backend, role: Omit<BackendRole, 'service'>): number => {
    const key = backendSlotKey(service.name, backend)
    const slot = slotOf(slots.backends, key)
    if (slot >= NO_SLOT) throw new RangeError(`backend slot ${slot}`)
    const deadline = role.leaving || role.sorry ? role.deadline : (deadlines.get(key) ?? 0)
    placed.push({ slot, service, backend, role: { service: at, leaving: role.leaving, sorry: role.sorry, deadline } })
    return slot
  }
  const used = { leaving: false, sorry: false, deadline: 0 }
  const inUse = new Map<number, Uint16Array>()
  for (const [at, service] of services) {
    const own = service.backends.map((backend) => add(at, service, backend, used))
    inUse.set(at, Uint16Array.from(own))
    if (service.sorry) add(at, service, service.sorry, { ...used, sorry: true })
  }
  const byName = new Map(services.map(([at, service]) => [service.name, [at, service] as const]))
  for (const { service: name, backend, deadline } of leaving) {
    const [at, service] = byName.get(name) ?? []
    if (at !== undefined && service) add(at, service, backend, { leaving: true, sorry: false, deadline })
  }
  return { placed, inUse }
}

/** By slot of the service: the slots of its backends and its sorry backend, in order. */
type KeptBackends = ReadonlyMap<number, Uint16Array>

/** Names of services with a backend whose line says a time, or that it leaves. */
const timedServices = ({ leaving, deadlines }: ServiceFacts): string[] => [
  ...leaving.map(({ service }) => service),
  // Names of services have no slash in them.
  ...[...deadlines.keys()].map((key) => key.slice(0, key.indexOf('/'))),
]

/** Services whose backends have the lines that they had before. */
function keptBackends(
  services: readonly (readonly [number, Service])[],
  facts: ServiceFacts,
  before: CompiledBefore | undefined,
): KeptBackends {
  const kept = new Map<number, Uint16Array>()
  if (before === undefined) return kept
  const timed = new Set([...timedServices(facts), ...timedServices(before)])
  const [now, was] = [facts.slots.backends, before.slots.backends]
  for (const [slot, service] of services) {
    const { name } = service
    if (before.services.get(name) !== service || before.slots.services.get(name) !== slot || timed.has(name)) continue
    const keys = slotKeysOf(service)
    const slots = new Uint16Array(keys.length)
    const isSame = keys.every((key, i) => {
      slots[i] = slotOf(now, key)
      return slots[i] === was.get(key)
    })
    if (isSame) kept.set(slot, slots)
  }
  return kept
}

/** The lines of backends before, without those of services that are not kept. */
function takeOver(words: Uint32Array, kept: KeptBackends, { lines, slots, services, leaving }: CompiledBefore): void {
  words.set(lines.backends.subarray(0, words.length))
  const clear = (key: string): void => {
    const at = slotOf(slots.backends, key) * LINE_WORDS
    words.fill(0, at, at + LINE_WORDS)
  }
  for (const service of services.values()) {
    if (!kept.has(slotOf(slots.services, service.name))) slotKeysOf(service).forEach(clear)
  }
  for (const { service, backend } of leaving) clear(backendSlotKey(service, backend))
}

function encodeBackends(
  placed: readonly Placed[],
  kept: KeptBackends,
  before: CompiledBefore | undefined,
): Uint32Array {
  const end = endOf(placed.map(({ slot }) => slot))
  const words = makeLines([...kept.values()].reduce((most, slots) => Math.max(most, endOf(slots)), end))
  if (before !== undefined && kept.size > 0) takeOver(words, kept, before)
  const view = new DataView(words.buffer)
  for (const { slot, backend, role } of placed) backendCodec.encode(backendLine(backend, role), view, slot * LINE_SIZE)
  return words
}

const isSameLine = (a: Uint32Array, b: Uint32Array, line: number): boolean => {
  for (let word = line * LINE_WORDS; word < (line + 1) * LINE_WORDS; word++) if (a[word] !== b[word]) return false
  return true
}

/** Whether replies of the backend are told by its address and port: of NAT that leaves the client's address. */
const repliesPlainly = ({ forwarding, snatPool }: Service): boolean => forwarding === 'nat' && snatPool.length === 0

const protocolOf = ({ protocol }: Service): number => (protocol === 'udp' ? UDP : TCP)

/** Whether later fragments, which tell no port, can go where the first one went. */
const takesFragments = (service: Service): boolean =>
  isAnyPort(service) && service.hash === 'source' && service.snatPool.length === 0

/** Who decides where several claim the same ports of an address: the least of these, and of equals the lowest slot. */
const claim = ({ backend, role }: Placed): number => (backend.state === 'disabled' ? 2 : role.leaving ? 1 : 0)

function collectEndpoints(
  services: readonly (readonly [number, Service])[],
  placed: readonly Placed[],
  pools: readonly (readonly [number, Address])[],
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
    endpoint.destinations.push({ protocol: protocolOf(service), ...service.ports, value: slot + 1 })
    const which = service.protocol === 'udp' ? 'fragmentsUdp' : 'fragmentsTcp'
    const isTaken = endpoint[which] !== 0 && endpoint[which] !== FRAGMENTS_DROP
    if (!isTaken) endpoint[which] = takesFragments(service) ? slot + 1 : FRAGMENTS_DROP
  }
  const replying = placed
    .filter(({ service }) => repliesPlainly(service))
    .sort((a, b) => claim(a) - claim(b) || a.slot - b.slot)
  for (const { slot, service, backend } of replying) {
    const ports = backend.port === undefined ? service.ports : { first: backend.port, last: backend.port }
    at(backend.address).sources.push({ protocol: protocolOf(service), ...ports, value: slot + 1 })
  }
  for (const [slot, address] of pools) at(address).pool = slot + 1
  if (endpoints.size >= BACKEND_SLOTS) {
    const what = `the services have ${endpoints.size} addresses in all, but at most ${BACKEND_SLOTS - 1} fit`
    throw fail('E208', what, 'divide the services among several instances')
  }
  return [...endpoints.values()].sort((a, b) => compareAddresses(a.address, b.address))
}

/** Pool slots and addresses of all services, in order of slots. */
function collectPools(services: Iterable<Service>, slots: ReadonlyMap<string, number>): (readonly [number, Address])[] {
  const pools = new Map<number, Address>()
  for (const { snatPool } of services) {
    for (const address of snatPool) pools.set(slotOf(slots, formatAddress(address.family, address.words)), address)
  }
  return [...pools].sort(([a], [b]) => a - b)
}

/** Addresses by slot, then a list of slots for each service that has a pool; `lists` says which, by service slot. */
function encodePools(
  services: readonly (readonly [number, Service])[],
  pools: readonly (readonly [number, Address])[],
  slots: ReadonlyMap<string, number>,
): { readonly words: Uint32Array; readonly addresses: number; readonly lists: ReadonlyMap<number, number> } {
  const addresses = linesOf(pools.map(([slot]) => slot))
  const pooled = services.filter(([, { snatPool }]) => snatPool.length > 0)
  const words = makeLines(addresses + pooled.length)
  const view = new DataView(words.buffer)
  for (const [slot, address] of pools) poolCodec.encode({ address: addressBytes(address) }, view, slot * LINE_SIZE)
  const lists = new Map<number, number>()
  for (const [i, [service, { snatPool }]] of pooled.entries()) {
    const pool = new Uint8Array(POOL_SLOTS)
    pool.set(snatPool.map(({ family, words: own }) => slotOf(slots, formatAddress(family, own))))
    poolListCodec.encode({ pool }, view, (addresses + i) * LINE_SIZE)
    lists.set(service, addresses + i)
  }
  return { words, addresses, lists }
}

/** Slots of backends by the slot of their service. */
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
 * @param before what was compiled before, of which lines may be taken over
 * @throws XdpError E208 where they have more addresses than can be numbered
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
  const toPlace = services.filter(([slot, service]) => !kept.has(slot) || repliesPlainly(service))
  const { placed, inUse } = placeBackends(toPlace, facts)
  const pools = collectPools(state.values(), slots.pools)
  const encodedPools = encodePools(services, pools, slots.pools)
  const rings = new Map(
    services.map(([slot, { backends }]): [number, ServiceRing] => {
      const slots = kept.get(slot)?.subarray(0, backends.length) ?? (inUse.get(slot) as Uint16Array)
      return [slot, measureRing(backends, slots)]
    }),
  )
  const { first, lines } = placeRings(rings)
  const serviceWords = makeLines(linesOf(rings.keys()))
  const recordWords = makeLines(linesOf(rings.keys()))
  const changed = placed.filter(({ role }) => !kept.has(role.service))
  const backendWords = encodeBackends(changed, kept, before)
  const ownSlots = slotsByService(changed)
  for (const [slot, service] of services) {
    const ring = rings.get(slot) as ServiceRing
    const at = first.get(slot) as number
    const places = {
      ring: ring.size === 0 ? 0 : at,
      ringSize: ring.size,
      takers: ring.takers,
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
    const digest = serviceDigest(service.name, own)
    const record = { name: service.name, digest, drain_timeout: service.drainTimeout ?? 0 }
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
