// Decodes the services of an image in the form in which they apply to packets. The lines of services and backends are
// taken as they are; everything derived from them (endpoints, port trees, rings) is computed again and compared. A
// service whose derived lines differ is left out: no state describes its behaviour, so the planner must create it
// again.

import {
  type Balance,
  LINE_SIZE,
  NO_SLOT,
  POOL_SLOTS,
  poolCodec,
  poolListCodec,
  type Service as ServiceLine,
  serviceCodec,
  serviceRecordCodec,
} from '../../abi/generated.ts'
import type { Address } from '../../model/address.ts'
import type { Slots } from '../../model/live.ts'
import {
  type Backend,
  backendSlotKey,
  compareBackends,
  type LeavingBackend,
  type PoolAddress,
  type Service,
} from '../../model/service.ts'
import { formatAddress } from '../../model/text.ts'
import { serviceDigest } from '../lines/digest.ts'
import { corrupt, LINE_WORDS, viewOf } from '../lines/lines.ts'
import type { ServiceFacts } from './backends.ts'
import { portsIn } from './port-lists.ts'
import { usedLines } from './rings.ts'
import { addressOf, type BackendRole, backendOf, serviceOf } from './service-lines.ts'
import { compileServices, digestLines, type ServiceSections, slotsByService } from './services.ts'

/** The sections of an image, each with all of its lines. */
export type RawServices = Pick<ServiceSections, 'services' | 'records' | 'backends' | 'pools'> & {
  readonly rings: Uint32Array
  readonly index: Uint32Array
  readonly endpoints: Uint32Array
  readonly ports: Uint32Array
}

/** The lines that define the services; everything else is derived from them. */
type RecordLines = Pick<RawServices, 'services' | 'records' | 'backends' | 'pools'>

export interface DecodedServices extends ServiceFacts {
  /** By name: the services that work as recorded. */
  readonly services: ReadonlyMap<string, Service>
  readonly slots: Pick<Slots, 'services' | 'backends' | 'pools'>
  /** Names of services that differ from the record of the apply that wrote the image. */
  readonly drifted: readonly string[]
}

interface Found {
  readonly slot: number
  readonly backend: Backend
  readonly role: BackendRole
}

/** The content of the records, not compared with anything yet. */
interface Recorded extends ServiceFacts {
  readonly services: ReadonlyMap<string, Service>
  readonly digests: ReadonlyMap<string, bigint>
  readonly backends: readonly Found[]
}

const linesIn = (words: Uint32Array): number => words.length / LINE_WORDS

function readBackends(words: Uint32Array): Found[] {
  const view = viewOf(words)
  const found: Found[] = []
  for (let slot = 0; slot < Math.min(linesIn(words), NO_SLOT); slot++) {
    const decoded = backendOf(view, slot)
    if (decoded) found.push({ slot, ...decoded })
  }
  return found
}

/** Addresses of a service's source pool, in the order of its list. */
function poolOf(line: ServiceLine, pools: DataView, addresses: number): PoolAddress[] {
  if (line.pools === 0) return []
  if (line.pools > POOL_SLOTS || (line.pool_list + 1) * LINE_SIZE > pools.byteLength) throw corrupt('a source pool')
  const { pool } = poolListCodec.decode(pools, line.pool_list * LINE_SIZE)
  return Array.from(pool.subarray(0, line.pools), (slot) => {
    if (slot >= addresses) throw corrupt('a source pool')
    const { address, host_first: first, host_last: last } = poolCodec.decode(pools, slot * LINE_SIZE)
    return last === 0 ? addressOf(address) : { ...addressOf(address), hostPorts: { first, last } }
  })
}

function readPools(services: Iterable<Service>, pools: DataView, lines: number): Map<string, number> {
  const used = new Set([...services].flatMap(({ snatPool }) => snatPool.map(textOf)))
  const slots = new Map<string, number>()
  for (let slot = 0; slot < lines; slot++) {
    const text = textOf(addressOf(poolCodec.decode(pools, slot * LINE_SIZE).address))
    if (used.has(text)) slots.set(text, slot)
  }
  return slots
}

const textOf = ({ family, words }: Address): string => formatAddress(family, words)

/** By service slot. */
function groupBackends(backends: readonly Found[]): Map<number, Found[]> {
  const groups = new Map<number, Found[]>()
  for (const found of backends) {
    const group = groups.get(found.role.service)
    if (group) group.push(found)
    else groups.set(found.role.service, [found])
  }
  return groups
}

/** Decodes the lines of services and backends. Throws XdpError E113 if they are invalid. */
function readServices({ pool_lines }: Balance, raw: RecordLines): Recorded {
  const [lines, records, pools] = [raw.services, raw.records, raw.pools].map(viewOf) as [DataView, DataView, DataView]
  if (raw.records.length < raw.services.length || pool_lines > linesIn(raw.pools))
    throw corrupt('services are truncated')
  const backends = readBackends(raw.backends)
  const groups = groupBackends(backends)
  const services = new Map<string, Service>()
  const digests = new Map<string, bigint>()
  const slots = new Map<string, number>()
  let portList = linesIn(raw.services)
  for (let slot = 0; slot < linesIn(raw.services); slot++) {
    const line = serviceCodec.decode(lines, slot * LINE_SIZE)
    if (line.forwarding === 0) continue
    const record = serviceRecordCodec.decode(records, slot * LINE_SIZE)
    const { name } = record
    if (services.has(name)) throw corrupt(`service ${name} occurs twice`)
    const ports = line.ranges === 0 ? undefined : portsIn(records, portList++, line.ranges)
    const service = serviceOf(line, record, ports)
    services.set(name, withBackends(service, poolOf(line, pools, pool_lines), groups.get(slot) ?? []))
    digests.set(name, record.digest)
    slots.set(name, slot)
    groups.delete(slot)
  }
  if (groups.size > 0) throw corrupt('a backend names a service that does not exist')
  const found = recordBackends(backends, new Map([...slots].map(([name, slot]) => [slot, name])))
  const poolSlots = readPools(services.values(), pools, pool_lines)
  const { leaving, deadlines } = found
  return {
    services,
    digests,
    backends,
    leaving,
    deadlines,
    slots: { services: slots, backends: found.slots, pools: poolSlots },
  }
}

function withBackends(service: ReturnType<typeof serviceOf>, snatPool: PoolAddress[], own: readonly Found[]): Service {
  return {
    ...service,
    snatPool,
    sorry: own.find(({ role }) => role.sorry)?.backend,
    backends: own
      .filter(({ role }) => !role.sorry && !role.leaving)
      .map(({ backend }) => backend)
      .sort(compareBackends),
  }
}

/** Slots and deadlines of backends, by service names and slots. */
function recordBackends(backends: readonly Found[], names: ReadonlyMap<number, string>) {
  const slots = new Map<string, number>()
  const leaving: LeavingBackend[] = []
  const deadlines = new Map<string, number>()
  for (const { slot, backend, role } of backends) {
    const service = names.get(role.service) as string
    const key = backendSlotKey(service, backend)
    if (slots.has(key)) throw corrupt(`backend ${key} occurs twice`)
    slots.set(key, slot)
    if (role.leaving) leaving.push({ service, backend, deadline: role.deadline })
    else if (role.deadline > 0) deadlines.set(key, role.deadline)
  }
  return { slots, leaving, deadlines }
}

const isSame = (a: Uint32Array, b: Uint32Array): boolean =>
  a.length === b.length && Buffer.compare(bytesOf(a), bytesOf(b)) === 0

const bytesOf = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, words.byteLength)

/** Whether the lookup from a packet to its service has the expected content. */
const endpointsMatch = (balance: Balance, raw: RawServices, { endpoints }: ServiceSections): boolean =>
  balance.multiplier === (BigInt(endpoints.multiplier.high) << 32n) + BigInt(endpoints.multiplier.low) &&
  balance.cells === endpoints.cells &&
  isSame(raw.index, endpoints.index) &&
  isSame(raw.endpoints, endpoints.endpoints) &&
  isSame(raw.ports, endpoints.ports)

/** Whether the ring of the service in a slot has the expected content, at the position in its line. */
function ringMatches(slot: number, raw: RawServices, compiled: ServiceSections): boolean {
  const line = (words: Uint32Array): Uint32Array => words.subarray(slot * LINE_WORDS, (slot + 1) * LINE_WORDS)
  if (!isSame(line(raw.services), line(compiled.services))) return false
  const { ring, ring_size: size, takers, backups } = serviceCodec.decode(viewOf(compiled.services), slot * LINE_SIZE)
  const words = usedLines({ size, takers, backups }) * LINE_WORDS
  const from = ring * LINE_WORDS
  return isSame(raw.rings.subarray(from, from + words), compiled.rings.linesOf(slot).subarray(0, words))
}

/** Decoded values cannot always be encoded: a name of bytes that are not text, for example. */
function compileAgain(recorded: Recorded): ServiceSections {
  try {
    return compileServices(recorded.services, recorded)
  } catch (error) {
    if (error instanceof RangeError) throw corrupt(`services: ${error.message}`)
    throw error
  }
}

/**
 * Decodes the services of an image.
 *
 * @throws XdpError E113 if the bytes are damaged beyond any valid set of services
 */
export function decodeServices(balance: Balance, raw: RawServices): DecodedServices {
  const recorded = readServices(balance, raw)
  const { slots, leaving, deadlines } = recorded
  const compiled = compileAgain(recorded)
  const isFound = endpointsMatch(balance, raw, compiled) && isSame(raw.pools, compiled.pools)
  const own = slotsByService(recorded.backends)
  const services = new Map<string, Service>()
  const drifted: string[] = []
  for (const [name, service] of recorded.services) {
    const slot = slots.services.get(name) as number
    const isWhole = isFound && ringMatches(slot, raw, compiled)
    if (isWhole) services.set(name, service)
    const digest = serviceDigest(service, digestLines(raw.services, raw.backends, slot, own.get(slot) ?? []))
    if (!isWhole || digest !== recorded.digests.get(name)) drifted.push(name)
  }
  return { services, slots, leaving, deadlines, drifted }
}

/** The recorded services, and the facts around them. */
export type RecordedServices = Pick<DecodedServices, 'services' | 'slots' | 'leaving' | 'deadlines'>

/** decodeServices without the comparison: for lines that are known to be as written. */
export const readRecordedServices = (balance: Balance, raw: RecordLines): RecordedServices => readServices(balance, raw)
