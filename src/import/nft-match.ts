// The expressions of one rule of `nft -j list ruleset`: the packets it matches and its action.
// Format: libnftables-json(5).

import type { AddressSet, Family } from '../model/address.ts'
import type { PortRange } from '../model/ports.ts'
import { complement, intersect, RangeCollector } from './addresses.ts'
import type { Action } from './flatten.ts'
import {
  onlyFamily,
  onlyPorts,
  onlyProtocols,
  otherPorts,
  portsWithoutProtocol,
  protocolNumber,
  type Traffic,
} from './scopes.ts'
import { lookUp } from './source.ts'

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
  readonly interfaces: readonly string[]
}

/** Data collected from the expressions of a rule. */
export interface Draft {
  readonly context: MatchContext
  addresses: AddressSet | undefined
  traffic: Traffic
  list: string | undefined
  /** One action, or one per verdict of a map. */
  outcomes: {
    readonly addresses: AddressSet | undefined
    readonly action: Action
    readonly objection: string | undefined
  }[]
  elsewhere: boolean
  remarks: string[]
}

export const fieldsOf = (value: Json): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}

/** The single key of an expression, and its content. */
export function only(value: Json): readonly [key: string, content: Json] {
  const [entry] = Object.entries(fieldsOf(value))
  return entry ?? ['', undefined]
}

/** An element without its timeout, comment and counter. */
function bare(element: Json): Json {
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
function elementsOf(
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

type Objection = string | undefined

const both = (a: AddressSet | undefined, b: AddressSet): AddressSet =>
  a === undefined ? b : { v4: intersect(a.v4, b.v4), v6: intersect(a.v6, b.v6) }

function takeSource(draft: Draft, family: Family, right: Json, negated: boolean): Objection {
  const found = elementsOf(right, draft.context)
  const read = found && readAddresses(found.elements)
  if (found === undefined || read === undefined) return 'the input has no set with its source addresses'
  const addresses = negated ? { v4: complement(read.v4), v6: complement(read.v6) } : read
  draft.traffic = onlyFamily(draft.traffic, family)
  draft.addresses = both(draft.addresses, addresses)
  if (found.set === undefined) return undefined
  if (!negated) draft.list = found.set.name
  if (found.set.expires)
    draft.remarks.push(`the entries of set ${found.set.name} have a timeout; in the list they do not expire`)
  return undefined
}

function takePorts(draft: Draft, side: 'sourcePorts' | 'destinationPorts', right: Json, negated: boolean): Objection {
  const ports = elementsOf(right, draft.context)?.elements.map(readPort) ?? [undefined]
  if (ports.includes(undefined)) return 'its ports are not numbers'
  const ranges = ports.filter((range) => range !== undefined)
  draft.traffic = onlyPorts(draft.traffic, side, negated ? otherPorts(ranges) : ranges)
  return undefined
}

function takeProtocols(draft: Draft, right: Json, negated: boolean): Objection {
  const found = elementsOf(right, draft.context)?.elements.map((one) => {
    const value = bare(one)
    return typeof value === 'string' || typeof value === 'number' ? protocolNumber(value) : undefined
  })
  const numbers = (found ?? [undefined]).filter((number) => number !== undefined)
  if (negated || found?.length !== numbers.length) return 'a list cannot express its protocol'
  draft.traffic = onlyProtocols(draft.traffic, numbers)
  return undefined
}

function takeInterface(draft: Draft, right: Json, negated: boolean): Objection {
  const names = elementsOf(right, draft.context)?.elements.map(bare) ?? []
  const { interfaces } = draft.context
  const matches = (name: string): boolean =>
    negated !== names.some((one) => one === name || (`${one}`.endsWith('*') && name.startsWith(`${one}`.slice(0, -1))))
  const onlyLoopback = !negated && names.length === 1 && names[0] === 'lo'
  const hits = interfaces.filter(matches).length
  if (interfaces.length === 0 ? onlyLoopback : hits === 0) {
    draft.elsewhere = true
    return undefined
  }
  return interfaces.length > 0 && hits === interfaces.length ? undefined : 'it applies to some of the interfaces only'
}

const FAMILY_WORDS: Readonly<Record<string, Family>> = { ipv4: 4, ip: 4, ipv6: 6, ip6: 6 }

function takeMeta(draft: Draft, key: Json, right: Json, negated: boolean): Objection {
  if (key === 'l4proto') return takeProtocols(draft, right, negated)
  if (key === 'iif' || key === 'iifname') return takeInterface(draft, right, negated)
  const family = lookUp(FAMILY_WORDS, `${right}`)
  if ((key !== 'nfproto' && key !== 'protocol') || family === undefined) return `it matches meta ${key}`
  draft.traffic = onlyFamily(draft.traffic, negated ? (family === 4 ? 6 : 4) : family)
  return undefined
}

const SIDES: Readonly<Record<string, 'sourcePorts' | 'destinationPorts'>> = {
  sport: 'sourcePorts',
  dport: 'destinationPorts',
}

function takePayload(draft: Draft, left: Fields, right: Json, negated: boolean): Objection {
  const { protocol, field } = left
  if (protocol === 'ip' && field === 'saddr') return takeSource(draft, 4, right, negated)
  if (protocol === 'ip6' && field === 'saddr') return takeSource(draft, 6, right, negated)
  if (field === 'daddr') return 'it matches the destination address'
  if (protocol === 'ip' && field === 'protocol') {
    draft.traffic = onlyFamily(draft.traffic, 4)
    return takeProtocols(draft, right, negated)
  }
  const side = lookUp(SIDES, `${field}`)
  if (side === undefined || !['tcp', 'udp', 'th'].includes(`${protocol}`)) return `it matches ${protocol} ${field}`
  if (protocol !== 'th') draft.traffic = onlyProtocols(draft.traffic, [protocolNumber(`${protocol}`) ?? 0])
  return takePorts(draft, side, right, negated)
}

function takeMatch(draft: Draft, content: Json): Objection {
  const { op, left, right } = fieldsOf(content)
  const [key, subject] = only(left)
  if (key === 'ct') return 'it matches the state of connections'
  if (op !== '==' && op !== '!=') return `it uses the operator ${op}`
  const negated = op === '!='
  if (key === 'payload') return takePayload(draft, fieldsOf(subject), right, negated)
  if (key === 'meta') return takeMeta(draft, fieldsOf(subject)['key'], right, negated)
  return `it matches ${key === 'concat' ? 'a combination of fields' : key === '&' ? 'an address under a mask' : key || 'a flag'}`
}

/** A verdict as an action; undefined for any other expression. */
function verdict(key: string, content: Json): Action | undefined {
  if (key === 'drop' || key === 'reject') return { do: 'drop' }
  if (key === 'accept' || key === 'return') return { do: key }
  if (key === 'continue') return { do: 'nothing' }
  return key === 'jump' ? { do: 'jump', target: `${fieldsOf(content)['target']}` } : undefined
}

function takeMap(draft: Draft, content: Json): Objection {
  const { key, data } = fieldsOf(content)
  const { protocol, field } = fieldsOf(fieldsOf(key)['payload'])
  if (field !== 'saddr') return 'its map is not keyed by the source address alone'
  const found = elementsOf(data, draft.context)
  if (found === undefined) return 'its map is not in the input'
  if (found.set?.expires)
    draft.remarks.push(`the entries of map ${found.set.name} have a timeout; in the list they do not expire`)
  draft.traffic = onlyFamily(draft.traffic, protocol === 'ip6' ? 6 : 4)
  for (const element of found.elements) {
    const [source, outcome] = Array.isArray(element) ? element : [undefined, undefined]
    const action = verdict(...only(outcome))
    const addresses = readAddresses([source])
    const objection = action && addresses ? undefined : 'an element of its map is not a verdict for addresses'
    const narrowed = addresses && both(draft.addresses, addresses)
    draft.outcomes.push({ addresses: narrowed, action: action ?? { do: 'nothing' }, objection })
  }
  return undefined
}

const REASONS: Readonly<Record<string, string>> = {
  limit: 'it matches a rate',
  quota: 'it matches a quota',
  'ct count': 'it matches the number of connections',
  set: 'it changes a set',
  queue: 'it passes packets to another program',
  xt: 'it uses an extension of iptables; import it with --from iptables',
  goto: 'it goes to a chain without returning',
}

/** Reads one expression. Returns why it cannot be imported, or undefined. */
export function takeExpression(draft: Draft, expression: Json): Objection {
  const [key, content] = only(expression)
  if (key === 'match') return takeMatch(draft, content)
  if (key === 'vmap') return takeMap(draft, content)
  if (key === 'counter') return undefined
  if (key === 'log') {
    draft.remarks.push('imported without its log')
    return undefined
  }
  const action = verdict(key, content)
  if (action === undefined) return lookUp(REASONS, key) ?? `it uses ${key}`
  draft.outcomes.push({ addresses: draft.addresses, action, objection: undefined })
  return undefined
}

export const portsObjection = (draft: Draft): Objection =>
  portsWithoutProtocol(draft.traffic) ? 'it matches ports of a protocol other than TCP and UDP' : undefined
