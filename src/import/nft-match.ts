// The matches in a rule of `nft -j list ruleset`: the packets that it applies to. Format: libnftables-json(5).
//
// A match that a list cannot express narrows the packets as far as a list can: `icmp type` to ICMP.

import type { AddressSet, Family } from '../model/address.ts'
import { complement, RangeCollector } from './addresses.ts'
import { lengthObjection } from './fragments.ts'
import { fewCodes } from './icmp-types.ts'
import { type FieldMatch, isField, readField, readFlags, readFragments } from './nft-fields.ts'
import { bare, type Fields, fieldsOf, type Json, only } from './nft-json.ts'
import type { Match } from './rules.ts'
import {
  anyOf,
  anyTraffic,
  both,
  onlyDestinations,
  onlyFamily,
  onlyField,
  onlyProtocols,
  portsWithoutProtocol,
  protocolNumber,
  type Traffic,
} from './scopes.ts'
import { type Ignorable, lookUp } from './source.ts'

/** A set or map of addresses or ports. */
export interface NftSet {
  readonly name: string
  readonly type: Json
  readonly elements: readonly Json[]
  readonly expires: boolean
  /** Seconds; undefined: elements stay. */
  readonly timeout: number | undefined
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
  /** Whether a rule changes fields of packets, so that another rule may see other values than XDP. */
  readonly rewrites: boolean
  /** Whether the table is for a device, in front of the stack. */
  readonly device: boolean
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
  /** Whether it matches the first packets of connections, as far as its matches of states say; undefined: it has none. */
  opening: boolean | undefined
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
  opening: undefined,
  remarks: [],
})

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

export type Objection = string | undefined

/** Most ranges of destinations of a rule; 64 of them make an entry. */
const DESTINATIONS = 1024

function takeAddresses(
  packets: Packets,
  side: 'source' | 'destination',
  family: Family,
  right: Json,
  negated: boolean,
): Objection {
  packets.traffic = onlyFamily(packets.traffic, family)
  const found = elementsOf(right, packets.context)
  const read = found && readAddresses(found.elements)
  if (found === undefined || read === undefined) return `the input has no set with its ${side} addresses`
  const addresses = negated ? { v4: complement(read.v4), v6: complement(read.v6) } : read
  if (side === 'source') packets.addresses = both(packets.addresses, addresses)
  else if (packets.context.rewrites) return REWRITTEN
  else if (addresses.v4.length + addresses.v6.length > DESTINATIONS)
    return 'it matches too many destinations for entries'
  else packets.traffic = onlyDestinations(packets.traffic, addresses)
  if (found.set === undefined) return undefined
  if (!negated && side === 'source') packets.list = found.set.name
  noteExpiry(packets, found.set)
  return undefined
}

const REWRITTEN = 'another rule changes fields of packets'

/** Narrows to a field that was read. */
function narrowTo(packets: Packets, found: FieldMatch | undefined, objection: string): Objection {
  if (found === undefined) return objection
  if (packets.context.rewrites && !found.field.endsWith('Ports')) return REWRITTEN
  packets.traffic = onlyField(packets.traffic, found.field, found.spans)
  return undefined
}

export function noteExpiry({ remarks }: Packets, set: NftSet | undefined): void {
  if (set?.expires) remarks.push(`the entries of set ${set.name} have a timeout; in the list they do not expire`)
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

function takeMeta(packets: Packets, key: Json, right: Json, op: string): Objection {
  if (key === 'length') return takeNumbers(packets, 'meta length', right, op)
  if (op !== '==' && op !== '!=') return operatorObjection(op)
  const negated = op === '!='
  if (key === 'l4proto') return takeProtocols(packets, right, negated)
  if (key === 'iif' || key === 'iifname') return takeInterface(packets, right, negated)
  const family = lookUp(FAMILY_WORDS, `${right}`)
  if ((key !== 'nfproto' && key !== 'protocol') || family === undefined) return `it matches meta ${key}`
  packets.traffic = onlyFamily(packets.traffic, negated ? (family === 4 ? 6 : 4) : family)
  return undefined
}

const operatorObjection = (op: string): string => `it uses the operator ${op}`

/** A field with numbers. */
function takeNumbers(packets: Packets, name: string, right: Json, op: string): Objection {
  if (!isField(name, packets.context.device)) return `it matches ${name}`
  const elements = elementsOf(right, packets.context)?.elements ?? [undefined]
  const isPort = / [sd]port$/.test(name)
  const objection = isPort ? 'its ports are not numbers' : `it matches ${name} in a way that a list cannot express`
  return narrowTo(packets, readField(name, op, elements), objection)
}

/** Narrows to the packets that have a header at all. */
function onlyHeader(packets: Packets, protocol: string): void {
  const family = lookUp(FAMILY_WORDS, protocol)
  if (family !== undefined) packets.traffic = onlyFamily(packets.traffic, family)
  const number = /^(?:tcp|udp|icmp|icmpv6|sctp|dccp|udplite|esp|ah|comp)$/.test(protocol) && protocolNumber(protocol)
  if (typeof number === 'number') packets.traffic = onlyProtocols(packets.traffic, [number])
}

function takePayload(packets: Packets, left: Fields, right: Json, op: string): Objection {
  const { protocol, field } = left
  onlyHeader(packets, `${protocol}`)
  if (protocol === 'tcp' && field === 'flags')
    return narrowTo(packets, readFlags(op, undefined, right), 'its flags are unknown')
  if (isField(`${protocol} ${field}`, packets.context.device))
    return takeNumbers(packets, `${protocol} ${field}`, right, op)
  if (op !== '==' && op !== '!=') return operatorObjection(op)
  const negated = op === '!='
  const family = protocol === 'ip' ? 4 : protocol === 'ip6' ? 6 : undefined
  if (family !== undefined && field === 'saddr') return takeAddresses(packets, 'source', family, right, negated)
  if (family !== undefined && field === 'daddr') return takeAddresses(packets, 'destination', family, right, negated)
  if (protocol === 'ip' && field === 'protocol') return takeProtocols(packets, right, negated)
  return `it matches ${protocol} ${field}`
}

/** A field under a mask: flags and fragments. */
function takeMasked(packets: Packets, operands: Json, right: Json, op: string): Objection {
  const [operand, mask] = Array.isArray(operands) ? operands : []
  const { protocol, field } = fieldsOf(fieldsOf(operand)['payload'])
  onlyHeader(packets, `${protocol}`)
  const objection = 'it matches a field under a mask'
  if (protocol === 'tcp' && field === 'flags') return narrowTo(packets, readFlags(op, mask, right), objection)
  const isFragment = protocol === 'ip' && field === 'frag-off'
  return isFragment ? narrowTo(packets, readFragments(op, mask, right), objection) : objection
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
  packets.opening = packets.opening !== false && key === 'state' && !negated && states.join() === 'new'
  packets.established = packets.established !== false && isEstablished
  const known = !negated && (key === 'state' || key === 'status') && KNOWN.test(JSON.stringify(right) ?? '')
  packets.ignored ||= known && packets.context.ignore.includes('state')
  return STATE
}

/** One field of a packet against a value, a set, or a range. */
function takeField(packets: Packets, left: Json, right: Json, op: string): Objection {
  const [key, subject] = only(left)
  if (key === 'ct') return takeState(packets, subject, right, op === '!=')
  if (key === 'payload') return takePayload(packets, fieldsOf(subject), right, op)
  if (key === 'meta') return takeMeta(packets, fieldsOf(subject)['key'], right, op)
  if (key === '&') return takeMasked(packets, subject, right, op)
  if (op !== '==' && op !== '!=') return operatorObjection(op)
  if (key === 'concat') return takeConcatenation(packets, subject, right, op === '!=')
  return `it matches ${key || 'a flag'}`
}

/** One element of a concatenation. */
function takeElement(fields: readonly Json[], element: Json, context: MatchContext): Packets | undefined {
  const values = fieldsOf(bare(element))['concat']
  if (!Array.isArray(values) || values.length !== fields.length) return undefined
  const own = everyPacket(context)
  const exact = fields.every((field, at) => takeField(own, field, values[at], '==') === undefined)
  return exact && !fieldsObjection(own, 'drop') && !own.traffic.fields.vlan ? own : undefined
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
  return takeField(packets, left, right, `${op}`)
}

/** Why lists cannot express the fields of a rule together, and the traffic that holds all of its packets. */
export function fieldsObjection({ traffic }: Pick<Packets, 'traffic'>, action: string): FieldsObjection | undefined {
  const { icmp, vlan } = traffic.fields
  if (portsWithoutProtocol(traffic))
    return {
      why: 'it matches ports of a protocol other than TCP and UDP',
      traffic: anyOf(traffic, 'sourcePorts', 'destinationPorts'),
    }
  const length = lengthObjection(traffic, action)
  if (length !== undefined) return { why: length, traffic: anyOf(traffic, 'length') }
  if (icmp !== undefined && !fewCodes(icmp).exact)
    return { why: 'it matches many codes of ICMP', traffic: anyOf(traffic, 'icmp') }
  if (vlan !== undefined && action !== 'drop')
    return { why: 'an adapter may take the VLAN tag off before XDP', traffic: anyOf(traffic, 'vlan') }
  return undefined
}

export interface FieldsObjection {
  readonly why: string
  readonly traffic: Traffic
}
