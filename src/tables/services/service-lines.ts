// One service or backend as a line of the image (struct service, struct service_record, struct backend), and back.

import {
  BACKEND_FLAG,
  type Backend as BackendLine,
  backendCodec,
  FORWARDING,
  LINE_SIZE,
  NO_SLOT,
  SERVICE_FLAG,
  SERVICE_OPTION,
  type Service as ServiceLine,
  type ServiceRecord,
} from '../../abi/generated.ts'
import type { Forwarding } from '../../features/forwarding/forwarding.ts'
import type { Address } from '../../model/address.ts'
import type { PortRange } from '../../model/ports.ts'
import { type Backend, type BackendState, isAnyPort, type NextHop, type Service } from '../../model/service.ts'
import { corrupt } from '../lines/lines.ts'

const IPV4_MAPPED = 0xffff

/** An address as four words: IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2). */
export const fourWords = ({ family, words }: Address): Uint32Array =>
  family === 6 ? words : Uint32Array.of(0, 0, IPV4_MAPPED, words[0] as number)

/** The four words as bytes in network order. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = new Uint8Array(16)
  const words = fourWords(address)
  for (let i = 0; i < 4; i++) {
    const word = words[i] as number
    bytes[i * 4] = word >>> 24
    bytes[i * 4 + 1] = word >>> 16
    bytes[i * 4 + 2] = word >>> 8
    bytes[i * 4 + 3] = word
  }
  return bytes
}

const wordAt = (bytes: Uint8Array, at: number): number =>
  (((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)) >>>
  0

/** The reverse of addressBytes. */
export function addressOf(bytes: Uint8Array): Address {
  const [first, second, third, fourth] = [wordAt(bytes, 0), wordAt(bytes, 4), wordAt(bytes, 8), wordAt(bytes, 12)]
  if (first === 0 && second === 0 && third === IPV4_MAPPED) return { family: 4, words: Uint32Array.of(fourth) }
  return { family: 6, words: Uint32Array.of(first, second, third, fourth) }
}

type Numbered = keyof typeof FORWARDING

/** Number in the image by mode. Does not compile if a mode of src/features/forwarding has no number. */
const NUMBERS: Readonly<Record<Uppercase<Forwarding>, number>> = FORWARDING

/** Mode by its number. Does not compile if a number has no mode in src/features/forwarding. */
const FORWARDINGS: Readonly<Record<number, Forwarding>> = Object.fromEntries(
  Object.entries(FORWARDING).map(([name, number]) => [number, name.toLowerCase() as Lowercase<Numbered>]),
)

/** Positions of the service's ring and source pool, and the slot of its sorry backend. */
export interface Places {
  readonly ring: number
  readonly ringSize: number
  readonly takers: number
  readonly backups: number
  readonly poolList: number
  /** undefined: no sorry backend. */
  readonly sorry: number | undefined
}

export function serviceLine(
  service: Service,
  { ring, ringSize, takers, backups, poolList, sorry }: Places,
): ServiceLine {
  const { vip, ports, protocols, forwarding, scheduler, hash, onEmpty, snatPool, outerSource } = service
  const flags =
    (hash === 'source' ? SERVICE_FLAG.SOURCE_HASH : 0) |
    (scheduler === 'random' ? SERVICE_FLAG.RANDOM : 0) |
    (onEmpty === 'pass' ? SERVICE_FLAG.EMPTY_PASS : 0) |
    (snatPool.length > 0 ? SERVICE_FLAG.SNAT : 0) |
    (isAnyPort(service) ? SERVICE_FLAG.ANY_PORT : 0) |
    (protocols[0] === 'udp' ? SERVICE_FLAG.UDP : 0) |
    (sorry !== undefined ? SERVICE_FLAG.SORRY : 0) |
    (service.drainTimeout !== undefined ? SERVICE_FLAG.DRAIN_TIMEOUT : 0)
  return {
    vip: addressBytes(vip),
    ring,
    ring_size: ringSize,
    takers,
    first_port: ports[0]?.first ?? 0,
    last_port: ports.at(-1)?.last ?? 0,
    forwarding: NUMBERS[forwarding.toUpperCase() as Uppercase<Forwarding>],
    flags,
    sorry: sorry ?? NO_SLOT,
    gue_port: service.guePort,
    udp_timeout: service.udpTimeout,
    pool_list: poolList,
    pools: snatPool.length,
    outer4_length: outerSource.v4.length,
    outer4: addressBytes(outerSource.v4.address).subarray(12),
    outer6: addressBytes(outerSource.v6).subarray(0, 8),
    options:
      (onEmpty === 'reject' ? SERVICE_OPTION.REJECT : 0) |
      (protocols.length > 1 ? SERVICE_OPTION.BOTH : 0) |
      (service.repliesFrom === 'anywhere' ? SERVICE_OPTION.REPLIES_ANYWHERE : 0),
    backups,
    ranges: rangesOf(service),
  }
}

/** Number of ranges in a service's list of ports; 0: its line has its only one. */
export const rangesOf = ({ ports }: Pick<Service, 'ports'>): number => (ports.length > 1 ? ports.length : 0)

/**
 * The service of its lines, without data in other lines: backends and the addresses of the source pool.
 *
 * @param ports its ranges, if it has several
 */
export function serviceOf(
  line: ServiceLine,
  record: ServiceRecord,
  ports: readonly PortRange[] = [{ first: line.first_port, last: line.last_port }],
): Omit<Service, 'backends' | 'sorry' | 'snatPool'> {
  const has = (flag: keyof typeof SERVICE_FLAG): boolean => (line.flags & SERVICE_FLAG[flag]) !== 0
  const may = (option: keyof typeof SERVICE_OPTION): boolean => (line.options & SERVICE_OPTION[option]) !== 0
  const forwarding = FORWARDINGS[line.forwarding]
  if (!forwarding || record.name === '') throw corrupt('a service')
  const outer6 = new Uint8Array(16)
  outer6.set(line.outer6)
  return {
    name: record.name,
    vip: addressOf(line.vip),
    ports,
    protocols: may('BOTH') ? ['tcp', 'udp'] : [has('UDP') ? 'udp' : 'tcp'],
    forwarding,
    scheduler: has('RANDOM') ? 'random' : 'maglev',
    hash: has('SOURCE_HASH') ? 'source' : 'five_tuple',
    onEmpty: may('REJECT') ? 'reject' : has('EMPTY_PASS') ? 'pass' : 'drop',
    repliesFrom: may('REPLIES_ANYWHERE') ? 'anywhere' : 'route',
    guePort: line.gue_port,
    outerSource: {
      v4: { address: { family: 4, words: wordsOf(line.outer4, 1) }, length: line.outer4_length },
      v6: { family: 6, words: wordsOf(outer6, 4) },
    },
    udpTimeout: line.udp_timeout,
    drainTimeout: has('DRAIN_TIMEOUT') ? record.drain_timeout : undefined,
    mtu: record.mtu === 0 ? undefined : record.mtu,
  }
}

function wordsOf(bytes: Uint8Array, count: number): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(i * 4))
}

/** Role of a backend in an image. */
export interface BackendRole {
  /** Service slot. */
  readonly service: number
  readonly leaving: boolean
  readonly sorry: boolean
  /** 0 = none. */
  readonly deadline: number
}

const STATE_FLAGS: Readonly<Record<BackendState, number>> = {
  active: 0,
  drain: BACKEND_FLAG.DRAIN,
  disabled: BACKEND_FLAG.DISABLED,
}

const NOWHERE: NextHop = { interface: '', ifindex: 0, mac: '0'.repeat(12), sourceMac: '0'.repeat(12), vlan: 0, mtu: 0 }

/** The longest name of an interface: IFNAMSIZ without the final NUL. */
const NAME_BYTES = 15

/** The name of an interface, padded with NUL. It may fill the field. */
function nameBytes(name: string): Uint8Array {
  const bytes = new Uint8Array(NAME_BYTES)
  bytes.set(new TextEncoder().encode(name))
  return bytes
}

const nameOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString().replace(/\0.*$/s, '')

export function backendLine(backend: Backend, { service, leaving, sorry, deadline }: BackendRole): BackendLine {
  const { address, port, weight, state, backup, mtu = 0, nextHop = NOWHERE } = backend
  return {
    address: addressBytes(address),
    mac: Buffer.from(nextHop.mac, 'hex'),
    source_mac: Buffer.from(nextHop.sourceMac, 'hex'),
    vlan: nextHop.vlan,
    mtu: Math.min(nextHop.mtu, 0xffff),
    ifindex: nextHop.ifindex,
    deadline,
    service,
    port: port ?? 0,
    weight,
    flags:
      BACKEND_FLAG.USED |
      (address.family === 6 ? BACKEND_FLAG.IPV6 : 0) |
      (leaving ? BACKEND_FLAG.LEAVING : 0) |
      (sorry ? BACKEND_FLAG.SORRY : 0) |
      (backup ? BACKEND_FLAG.BACKUP : 0) |
      STATE_FLAGS[state],
    own_mtu_high: mtu >>> 8,
    interface: nameBytes(nextHop.interface),
    own_mtu_low: mtu & 0xff,
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The backend of a line and its role; undefined if the slot is free. */
export function backendOf(view: DataView, slot: number): { backend: Backend; role: BackendRole } | undefined {
  const at = slot * LINE_SIZE
  if ((view.getUint8(at + backendCodec.offsets.flags) & BACKEND_FLAG.USED) === 0) return undefined
  const line = backendCodec.decode(view, at)
  const has = (flag: keyof typeof BACKEND_FLAG): boolean => (line.flags & BACKEND_FLAG[flag]) !== 0
  const { vlan, mtu, ifindex } = line
  const own = (line.own_mtu_high << 8) | line.own_mtu_low
  const nextHop = {
    interface: nameOf(line.interface),
    ifindex,
    mac: hex(line.mac),
    sourceMac: hex(line.source_mac),
    vlan,
    mtu,
  }
  return {
    backend: {
      address: addressOf(line.address),
      port: line.port === 0 ? undefined : line.port,
      weight: line.weight,
      state: has('DISABLED') ? 'disabled' : has('DRAIN') ? 'drain' : 'active',
      backup: has('BACKUP'),
      mtu: own === 0 ? undefined : own,
      nextHop: ifindex === 0 ? undefined : nextHop,
    },
    role: { service: line.service, leaving: has('LEAVING'), sorry: has('SORRY'), deadline: line.deadline },
  }
}
