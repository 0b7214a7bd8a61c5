// Shapes of the objects of the model in an exported state, and the JSON that they are written as. Names are in snake case;
// addresses, prefixes and ranges are texts; fields without a value are absent.

import { bad, between, flag, list, optional, record, type Shape } from '../abi/answer.ts'
import { FORWARDING_MODES } from '../features/forwarding/forwarding.ts'
import type { Address, AddressSet, Family, Ranges } from '../model/address.ts'
import { ANOMALY_NAMES, parseAnomaly } from '../model/anomaly.ts'
import type { IcmpKind } from '../model/packet-match.ts'
import { ESSENTIAL_GROUPS, type Policy } from '../model/policy.ts'
import { parseProtect, protectText } from '../model/protect.ts'
import { normalize, WIDTH } from '../model/ranges.ts'
import type { RateLimit } from '../model/rate-limit.ts'
import type { Backend, NextHop, Service } from '../model/service.ts'
import type { Attachment, ChainedProgram, List, Program, Scope } from '../model/state.ts'
import { parseSyn, synText } from '../model/syn-protection.ts'
import { formatAddress, parseAddress, parseRange, rangeTexts } from '../model/text.ts'

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

type Fields<T> = { readonly [K in keyof T]-?: Shape<T[K]> }

/** An object of the model. Fields without a value are undefined. */
export function object<T>(fields: Fields<T>): Shape<T> {
  const entries = Object.entries(fields).map(([name, shape]) => [name, snake(name), shape as Shape<unknown>] as const)
  return (value, at = '') => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return bad(at, 'an object', value)
    const own: Record<string, unknown> = {}
    for (const [name, written, shape] of entries) {
      const field = shape(Object.hasOwn(value, written) ? value[written as never] : undefined, `${at}.${written}`)
      if (field !== undefined) own[name] = field
    }
    // The loop has read each field by its shape.
    return own as T
  }
}

/** A text of one line: no name of the kernel has a line break, and one could forge lines of a report. */
export const text: Shape<string> = (value, at) =>
  typeof value === 'string' && !/[\n\r\u2028\u2029]/.test(value) ? value : bad(at, 'a text of one line', value)

/** An object whose keys are names. */
export const named =
  <T>(shape: Shape<T>): Shape<ReadonlyMap<string, T>> =>
  (value, at = '') => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return bad(at, 'an object', value)
    return new Map(Object.entries(value).map(([name, one]) => [text(name, at), shape(one, `${at}.${name}`)]))
  }

export const oneOf =
  <T extends string>(...words: readonly T[]): Shape<T> =>
  (value, at) =>
    words.find((word) => word === value) ?? bad(at, `one of ${words.join(', ')}`, value)

export const number = between(0, Number.MAX_SAFE_INTEGER)
const port = between(0, 0xffff)
export const portRange = object<{ first: number; last: number }>({ first: port, last: port })

/** A whole number of any size, as digits. */
export const digits: Shape<bigint> = (value, at) =>
  typeof value === 'string' && /^\d{1,20}$/.test(value) ? BigInt(value) : bad(at, 'digits', value)

export const address: Shape<Address> = (value, at) =>
  (typeof value === 'string' ? parseAddress(value) : undefined) ?? bad(at, 'an address', value)

const ranges =
  (family: Family): Shape<Ranges> =>
  (value, at = '') => {
    if (!Array.isArray(value)) return bad(at, 'a list', value)
    const width = WIDTH[family]
    const [start, end] = [new Uint32Array(value.length * width), new Uint32Array(value.length * width)]
    for (let i = 0; i < value.length; i++) {
      const range = typeof value[i] === 'string' ? parseRange(value[i]) : undefined
      if (range?.family !== family) return bad(`${at}[${i}]`, `an IPv${family} address, prefix or range`, value[i])
      start.set(range.start, i * width)
      end.set(range.end, i * width)
    }
    return normalize(family, start, end)
  }

export const addressSet = object<AddressSet>({ v4: ranges(4), v6: ranges(6) })

const byte = between(0, 255)

const icmpFields = object<IcmpKind>({
  v4: optional(byte),
  code4: optional(byte),
  v6: optional(byte),
  code6: optional(byte),
} as Fields<IcmpKind>)

const icmpKind: Shape<IcmpKind> = (value, at) => {
  const kind = icmpFields(value, at)
  return kind.v4 === undefined && kind.v6 === undefined ? bad(at, 'a type of ICMP or ICMPv6', value) : kind
}

const scope: Shape<Scope> = object<Scope>({
  protocol: (value, at) => (value === 'any' || value === 'icmp' ? value : between(0, 255)(value, at)),
  sourcePorts: list(portRange),
  destinationPorts: list(portRange),
  interfaces: optional(list(text)),
  established: optional(oneOf('pass', 'judge')),
  socket: optional(oneOf('none')),
  action: optional(oneOf('observe')),
  match: optional(
    object<NonNullable<Scope['match']>>({
      tcpFlags: optional(object({ mask: between(1, 255), value: between(0, 255) })),
      icmp: optional(list(icmpKind)),
      length: optional(portRange),
      ttl: optional(portRange),
      dscp: optional(list(between(0, 63))),
      fragments: optional(oneOf('none', 'first', 'later', 'any')),
      vlan: optional(portRange),
      destinations: optional(addressSet),
    } as Fields<NonNullable<Scope['match']>>),
  ),
} as Fields<Scope>)

export const addressList = object<List>({
  kind: oneOf('allowlist', 'blocklist', 'sources'),
  name: text,
  sets: list(object({ scope, addresses: addressSet })),
})

const rate = object({ perSecond: number, burst: number })

export const rateLimit = object<RateLimit>({
  name: text,
  position: number,
  scope,
  sources: optional((value, at) => (value === 'list' ? value : addressSet(value, at))),
  per: oneOf('source', 'destination', 'service', 'all'),
  prefix: object({ v4: between(0, 32), v6: between(0, 128) }),
  packets: optional(rate),
  bits: optional(rate),
  action: oneOf('drop', 'observe'),
  ban: optional(object({ forMs: number, afterMs: number })),
  buckets: number,
})

export const mac: Shape<string> = (value, at) =>
  typeof value === 'string' && /^([0-9a-f]{12})?$/.test(value) ? value : bad(at, '12 hex digits', value)

export const nextHop = object<NextHop>({
  interface: text,
  ifindex: number,
  mac,
  sourceMac: mac,
  vlan: between(0, 4095),
  mtu: number,
})

export const backend = object<Backend>({
  address,
  port: optional(port),
  weight: number,
  state: oneOf('active', 'drain', 'disabled'),
  backup: flag,
  mtu: optional(number),
  nextHop: optional(nextHop),
})

/** An address of a pool is an object where it has ports. */
const poolAddress: Shape<Service['snatPool'][number]> = (value, at) => {
  if (typeof value === 'string') return address(value, at)
  const { address: own, hostPorts } = object<{ address: Address; hostPorts: Service['snatPool'][number]['hostPorts'] }>(
    {
      address,
      hostPorts: optional(portRange),
    },
  )(value, at)
  return { ...own, ...(hostPorts && { hostPorts }) }
}

export const service = object<Service>({
  name: text,
  vip: address,
  ports: list(portRange),
  protocols: list(oneOf('tcp', 'udp')),
  forwarding: oneOf(...(Object.keys(FORWARDING_MODES) as Service['forwarding'][])),
  scheduler: oneOf('maglev', 'random'),
  hash: oneOf('five_tuple', 'source'),
  onEmpty: oneOf('drop', 'pass', 'reject'),
  snatPool: list(poolAddress),
  repliesFrom: oneOf('route', 'anywhere'),
  guePort: port,
  outerSource: object({ v4: object({ address, length: between(8, 32) }), v6: address }),
  udpTimeout: number,
  drainTimeout: optional(number),
  mtu: optional(number),
  sorry: optional(backend),
  backends: list(backend),
})

export const attachedMode = oneOf('native', 'generic', 'offload')

export const chained = object<ChainedProgram>({ id: number, name: text, tag: text, pin: optional(text) })

export const attachment = object<Attachment>({
  interface: text,
  modes: list(attachedMode),
  roles: list(oneOf('filter', 'balance')),
  chain: optional(chained),
})

export const program = object<Program>({ digest: text, abi: number })

/** A text that a check accepts. */
const form =
  (wanted: string, isOne: (value: string) => boolean): Shape<string> =>
  (value, at) =>
    typeof value === 'string' && isOne(value) ? value : bad(at, wanted, value)

const verdict = oneOf('pass', 'drop')

function isSyn(value: string): boolean {
  const parsed = parseSyn(value)
  return value === '' || (parsed !== undefined && synText(parsed) === value)
}

function isProtect(value: string): boolean {
  const parsed = parseProtect(value)
  return parsed !== undefined && protectText(parsed) === value
}

/** Settings have their own names in the model already. */
const SETTING_SHAPES: { readonly [K in keyof Policy]: Shape<Policy[K]> } = {
  default: verdict,
  unparsed: verdict,
  established: oneOf('pass', 'judge'),
  essential: list(oneOf(...ESSENTIAL_GROUPS)),
  anomalies: list(form('an anomaly', (value) => ANOMALY_NAMES.includes(parseAnomaly(value).name))),
  flows: number,
  bans: number,
  hash_key: form('a fingerprint of 8 hex digits', (value) => /^([0-9a-f]{8})?$/.test(value)),
  protect: list(form('a protected prefix', isProtect)),
  syn_protection: form('a mode, a threshold and ports', isSyn),
}

export const policy: Shape<Policy> = record(SETTING_SHAPES)

const isRanges = (value: object): value is Ranges => 'family' in value && 'start' in value && 'end' in value
const isAddress = (value: object): value is Address => 'family' in value && 'words' in value

/** A value of the model as JSON. */
export function jsonOf(value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}`
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(jsonOf)
  if (value instanceof Set) return [...value].sort().map(jsonOf)
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([name, one]) => [`${name}`, one === undefined ? null : jsonOf(one)]))
  if (isRanges(value)) return rangeTexts(value)
  if (isAddress(value)) {
    const written = formatAddress(value.family, value.words)
    const ports = 'hostPorts' in value ? value.hostPorts : undefined
    return ports === undefined ? written : { address: written, host_ports: ports }
  }
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  return Object.fromEntries(fields.map(([name, field]) => [snake(name), jsonOf(field)]))
}
