// The matches in a rule of `nft -j list ruleset`: the packets that it applies to. Format: libnftables-json(5).
//
// A match that a list cannot express narrows the packets as far as a list can: `icmp type` to ICMP.

import type { AddressSet, Family } from '../model/address.ts'
import type { PortRange } from '../model/ports.ts'
import { complement, intersect, RangeCollector } from './addresses.ts'
import type { Match } from './rules.ts'
import {
  anyTraffic,
  onlyFamily,
  onlyPorts,
  onlyProtocols,
  otherPorts,
  portsWithoutProtocol,
  protocolNumber,
  type Traffic,
} from './scopes.ts'
import { type Ignorable, lookUp } from './source.ts'

export type Json = unknown
type Fields = Readonly<Record<string, Json>>

/** A set or map of addresses or ports. */
export interface NftSet {
  readonly name: string
  readonly type: Json
  readonly elements: readonly Json[]
  readonly expires: boolean
}

export interface MatchContext {
  readonly sets: ReadonlyMap<string, NftSet>
  readonly families: readonly Family[]
  readonly interfaces: readonly string[]
  readonly ignore: readonly Ignorable[]
  /** Whether a rule changes destinations. */
  readonly translates: boolean
  /** Whether a rule assigns helpers, which let the kernel expect connections of others. */
  readonly helps: boolean
}

/** The packets of a rule, as far as its expressions were read. */
export interface Packets {
  readonly context: MatchContext
  addresses: AddressSet | undefined
  traffic: Traffic
  list: string | undefined
  /** The rule matches only packets of any of these: the elements of a concatenation. */
  alternatives: readonly Match[] | undefined
  /** Whether it matches no packet on the interfaces of the config. */
  elsewhere: boolean
  /** Whether it matches known connections, and the user chose to leave out what accepts them. */
  ignored: boolean
  /** Whether it matches known connections, and all of them, as far as its matches of states say; undefined: it has none. */
  established: boolean | undefined
  remarks: string[]
}

export const everyPacket = (context: MatchContext): Packets => ({
  context,
  addresses: undefined,
  traffic: anyTraffic(context.families),
  list: undefined,
  alternatives: undefined,
  elsewhere: false,
  ignored: false,
  established: undefined,
  remarks: [],
})

export const fieldsOf = (value: Json): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}

/** The single key of an expression, and its content. */
export function only(value: Json): readonly [key: string, content: Json] {
  const [entry] = Object.entries(fieldsOf(value))
  return entry ?? ['', undefined]
}

/** An element without its timeout, comment and counter. */
export function bare(element: Json): Json {
  const { elem } = fieldsOf(element)
  return elem === undefined ? element : fieldsOf(elem)['val']
}

const encoder = new TextEncoder()

function addAddress(element: Json, into: RangeCollector): boolean {
  const value = bare(element)
  const [key, content] = only(value)
  let text: string | undefined
  if (typeof value === 'string') text = value
  else if (key === 'prefix') text = `${fieldsOf(content)['addr']}/${fieldsOf(content)['len']}`
  else if (key === 'range' && Array.isArray(content)) text = content.join('-')
  const bytes = encoder.encode(text ?? '')
  return into.read(bytes, 0, bytes.length)
}

/** Elements as addresses; undefined if any of them is not an address. */
export function readAddresses(elements: readonly Json[]): AddressSet | undefined {
  const found = new RangeCollector()
  return elements.every((element) => addAddress(element, found)) ? found.finish() : undefined
}

/** The elements of a match: one value, `{ set: […] }`, or a named set. */
export function elementsOf(
  right: Json,
  { sets }: MatchContext,
): { elements: readonly Json[]; set: NftSet | undefined } | undefined {
  if (typeof right === 'string' && right.startsWith('@')) {
    const set = sets.get(right.slice(1))
    return set && { elements: set.elements, set }
  }
  const [key, content] = only(right)
  if (key === 'set') return { elements: Array.isArray(content) ? content : [content], set: undefined }
  return { elements: Array.isArray(right) ? right : [right], set: undefined }
}

function readPort(element: Json): PortRange | undefined {
  const value = bare(element)
  const [key, content] = only(value)
  const [first, last] = key === 'range' && Array.isArray(content) ? content : [value, value]
  const valid = [first, last].every((port) => typeof port === 'number' && port >= 0 && port <= 65_535)
  return valid ? { first, last } : undefined
}

export type Objection = string | undefined

const both = (a: AddressSet | undefined, b: AddressSet): AddressSet =>
  a === undefined ? b : { v4: intersect(a.v4, b.v4), v6: intersect(a.v6, b.v6) }

function takeSource(packets: Packets, family: Family, right: Json, negated: boolean): Objection {
  packets.traffic = onlyFamily(packets.traffic, family)
  const found = elementsOf(right, packets.context)
  const read = found && readAddresses(found.elements)
  if (found === undefined || read === undefined) return 'the input has no set with its source addresses'
  const addresses = negated ? { v4: complement(read.v4), v6: complement(read.v6) } : read
  packets.addresses = both(packets.addresses, addresses)
  if (found.set === undefined) return undefined
  if (!negated) packets.list = found.set.name
  noteExpiry(packets, found.set)
  return undefined
}

export function noteExpiry({ remarks }: Packets, set: NftSet | undefined): void {
  if (set?.expires) remarks.push(`the entries of set ${set.name} have a timeout; in the list they do not expire`)
}

function takePorts(
  packets: Packets,
  side: 'sourcePorts' | 'destinationPorts',
  right: Json,
  negated: boolean,
): Objection {
  const ports = elementsOf(right, packets.context)?.elements.map(readPort) ?? [undefined]
  if (ports.includes(undefined)) return 'its ports are not numbers'
  const ranges = ports.filter((range) => range !== undefined)
  packets.traffic = onlyPorts(packets.traffic, side, negated ? otherPorts(ranges) : ranges)
  return undefined
}

function takeProtocols(packets: Packets, right: Json, negated: boolean): Objection {
  const found = elementsOf(right, packets.context)?.elements.map((one) => {
    const value = bare(one)
    return typeof value === 'string' || typeof value === 'number' ? protocolNumber(value) : undefined
  })
  const numbers = (found ?? [undefined]).filter((number) => number !== undefined)
  if (negated || found?.length !== numbers.length) return 'a list cannot express its protocol'
  packets.traffic = onlyProtocols(packets.traffic, numbers)
  return undefined
}

function takeInterface(packets: Packets, right: Json, negated: boolean): Objection {
  const names = elementsOf(right, packets.context)?.elements.map(bare) ?? []
  const { interfaces } = packets.context
  const matches = (name: string): boolean =>
    negated !== names.some((one) => one === name || (`${one}`.endsWith('*') && name.startsWith(`${one}`.slice(0, -1))))
  const onlyLoopback = !negated && names.length === 1 && names[0] === 'lo'
  const hits = interfaces.filter(matches).length
  if (interfaces.length === 0 ? onlyLoopback : hits === 0) {
    packets.elsewhere = true
    return undefined
  }
  return interfaces.length > 0 && hits === interfaces.length ? undefined : 'it applies to some of the interfaces only'
}

const FAMILY_WORDS: Readonly<Record<string, Family>> = { ipv4: 4, ip: 4, ipv6: 6, ip6: 6 }

function takeMeta(packets: Packets, key: Json, right: Json, negated: boolean): Objection {
  if (key === 'l4proto') return takeProtocols(packets, right, negated)
  if (key === 'iif' || key === 'iifname') return takeInterface(packets, right, negated)
  const family = lookUp(FAMILY_WORDS, `${right}`)
  if ((key !== 'nfproto' && key !== 'protocol') || family === undefined) return `it matches meta ${key}`
  packets.traffic = onlyFamily(packets.traffic, negated ? (family === 4 ? 6 : 4) : family)
  return undefined
}

const SIDES: Readonly<Record<string, 'sourcePorts' | 'destinationPorts'>> = {
  sport: 'sourcePorts',
  dport: 'destinationPorts',
}

/** Narrows to the packets that have a header at all. */
function onlyHeader(packets: Packets, protocol: string): void {
  const family = lookUp(FAMILY_WORDS, protocol)
  if (family !== undefined) packets.traffic = onlyFamily(packets.traffic, family)
  const number = /^(?:tcp|udp|icmp|icmpv6|sctp|dccp|udplite|esp|ah|comp)$/.test(protocol) && protocolNumber(protocol)
  if (typeof number === 'number') packets.traffic = onlyProtocols(packets.traffic, [number])
}

function takePayload(packets: Packets, left: Fields, right: Json, negated: boolean): Objection {
  const { protocol, field } = left
  onlyHeader(packets, `${protocol}`)
  if (protocol === 'ip' && field === 'saddr') return takeSource(packets, 4, right, negated)
  if (protocol === 'ip6' && field === 'saddr') return takeSource(packets, 6, right, negated)
  if (field === 'daddr') return 'it matches the destination address'
  if (protocol === 'ip' && field === 'protocol') return takeProtocols(packets, right, negated)
  const side = lookUp(SIDES, `${field}`)
  if (side === undefined || !['tcp', 'udp', 'th'].includes(`${protocol}`)) return `it matches ${protocol} ${field}`
  return takePorts(packets, side, right, negated)
}

/** `dnat`: the connection was translated, and so is known. */
const KNOWN = /"(?:established|related|dnat)"/

export const STATE = 'it matches the state of connections'

/** Words of a state: `established`, `{ established, related }`. */
function statesOf(right: Json): readonly Json[] {
  const { set } = fieldsOf(right)
  const all = set ?? right
  return Array.isArray(all) ? all : [all]
}

/** A match by the state of connections. */
export function takeState(packets: Packets, subject: Json, right: Json, negated: boolean): Objection {
  const { key } = fieldsOf(subject)
  const { translates, helps } = packets.context
  const states = statesOf(right)
  if (key === 'status' && !negated && !translates && states.length === 1 && states[0] === 'dnat') {
    packets.elsewhere = true
    return undefined
  }
  const isEstablished =
    key === 'state' &&
    !negated &&
    states.includes('established') &&
    states.every((state) => state === 'established' || (state === 'related' && !helps))
  packets.established = packets.established !== false && isEstablished
  const known = !negated && (key === 'state' || key === 'status') && KNOWN.test(JSON.stringify(right) ?? '')
  packets.ignored ||= known && packets.context.ignore.includes('state')
  return STATE
}

/** One field of a packet against a value, a set, or a range. */
function takeField(packets: Packets, left: Json, right: Json, negated: boolean): Objection {
  const [key, subject] = only(left)
  if (key === 'ct') return takeState(packets, subject, right, negated)
  if (key === 'payload') return takePayload(packets, fieldsOf(subject), right, negated)
  if (key === 'meta') return takeMeta(packets, fieldsOf(subject)['key'], right, negated)
  if (key === 'concat') return takeConcatenation(packets, subject, right, negated)
  if (key !== '&') return `it matches ${key || 'a flag'}`
  const [operand] = Array.isArray(subject) ? subject : []
  onlyHeader(packets, `${fieldsOf(fieldsOf(operand)['payload'])['protocol']}`)
  return 'it matches a field under a mask'
}

/** One element of a concatenation. */
function takeElement(fields: readonly Json[], element: Json, context: MatchContext): Packets | undefined {
  const values = fieldsOf(bare(element))['concat']
  if (!Array.isArray(values) || values.length !== fields.length) return undefined
  const own = everyPacket(context)
  const exact = fields.every((field, at) => takeField(own, field, values[at], false) === undefined)
  return exact && !portsObjection(own) ? own : undefined
}

/** `ip saddr . tcp dport @set`. Negated it has no alternatives. */
function takeConcatenation(packets: Packets, fields: Json, right: Json, negated: boolean): Objection {
  const objection = 'it matches a combination of fields'
  const found = elementsOf(right, packets.context)
  if (negated || !Array.isArray(fields) || found === undefined || packets.alternatives !== undefined) return objection
  const read = found.elements.map((element) => takeElement(fields, element, packets.context))
  if (read.includes(undefined)) return objection
  const list = found.set?.name
  const own = read.filter((one) => one !== undefined && !one.elsewhere)
  packets.alternatives = own.map((one) => ({ addresses: one?.addresses, traffic: (one as Packets).traffic, list }))
  noteExpiry(packets, found.set)
  return undefined
}

export function takeMatch(packets: Packets, content: Json): Objection {
  const { op, left, right } = fieldsOf(content)
  const [key, subject] = only(left)
  if (key === 'ct') return takeState(packets, subject, right, op === '!=')
  if (op === '==' || op === '!=') return takeField(packets, left, right, op === '!=')
  const [, first] = only(subject)
  onlyHeader(packets, `${fieldsOf(key === 'payload' ? subject : first)['protocol']}`)
  return `it uses the operator ${op}`
}

export const portsObjection = (packets: Packets): Objection =>
  portsWithoutProtocol(packets.traffic) ? 'it matches ports of a protocol other than TCP and UDP' : undefined
