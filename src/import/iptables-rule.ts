// One `-A` line: its options → the packets it matches and its action. Options: iptables(8), iptables-extensions(8).

import type { AddressSet } from '../model/address.ts'
import { TCP } from '../model/ports.ts'
import { EMPTY4, EMPTY6 } from '../model/ranges.ts'
import { PROTECTS, protectedPorts } from './extras.ts'
import type { Action, WrittenRule } from './flatten.ts'
import { lengthObjection } from './fragments.ts'
import { fewCodes } from './icmp-types.ts'
import { type Draft, type Objection, type RuleContext, type Side, takeAddresses, takeSet } from './iptables-draft.ts'
import { FIELD_OPTIONS, type FieldOption } from './iptables-fields.ts'
import { RATE_OPTIONS, readRate } from './iptables-rates.ts'
import type { RateSpec } from './rate-spec.ts'
import { RATED, UNORDERED } from './rates.ts'
import type { Match } from './rules.ts'
import {
  anyOf,
  anyTraffic,
  both,
  onlyField,
  onlyPorts,
  onlyProtocols,
  otherNumbers,
  otherPorts,
  parsePorts,
  portsWithoutProtocol,
  protocolNumber,
} from './scopes.ts'
import { lookUp, type Place } from './source.ts'

/** Words of a rule; a quoted word may contain spaces and escaped quotes. */
function words(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain as string) : quoted.replace(/\\(.)/g, '$1'),
  )
}

/** Modules without an effect: they only enable the options below. */
const HARMLESS = new Set([
  'tcp',
  'udp',
  'multiport',
  'comment',
  'set',
  'iprange',
  'length',
  'ttl',
  'hl',
  'dscp',
  'icmp',
  'icmp6',
  'sctp',
  'dccp',
  'udplite',
])

const STATE = 'it matches the state of connections'

const MODULES: Readonly<Record<string, string>> = {
  conntrack: STATE,
  state: STATE,
  limit: 'it matches a rate',
  hashlimit: 'it matches a rate',
  connlimit: 'it matches the number of connections',
  recent: 'it matches earlier packets',
}

/** A match of a header field. */
function takeField(draft: Draft, option: FieldOption, values: readonly string[], negated: boolean): Objection {
  const { family, rewritten } = draft.context
  const read = option.read(values, family)
  if (read === undefined) return negated ? 'it matches no packet' : undefined
  if (typeof read === 'string') return read
  const { field, spans } = read
  if (rewritten.includes(field)) return `another rule changes the field that it matches (${field})`
  const own = field === 'flags' ? [TCP] : field === 'icmp' ? [family === 4 ? 1 : 58] : undefined
  if (own !== undefined) draft.traffic = onlyProtocols(draft.traffic, own)
  draft.traffic = onlyField(draft.traffic, field, negated ? otherNumbers(field, spans) : spans)
  return undefined
}

function takePorts(draft: Draft, side: Side, text: string, negated: boolean): Objection {
  const ranges = text.split(',').map((part) => parsePorts(part.replace(/^:/, '0:').replace(/:$/, ':65535'), ':'))
  if (ranges.some((range) => range === undefined)) return `its ports are not numbers (${text})`
  const ports = ranges.filter((range) => range !== undefined)
  draft.traffic = onlyPorts(draft.traffic, side, negated ? otherPorts(ports) : ports)
  return undefined
}

function takeInterface(draft: Draft, text: string, negated: boolean): Objection {
  const matches = (name: string): boolean =>
    negated !== (text.endsWith('+') ? name.startsWith(text.slice(0, -1)) : name === text)
  const { interfaces } = draft.context
  if (interfaces.length === 0) return text === 'lo' && !negated ? elsewhere(draft) : 'it applies to one interface only'
  const hits = interfaces.filter(matches).length
  if (hits === 0) return elsewhere(draft)
  return hits === interfaces.length ? undefined : 'it applies to some of the interfaces only'
}

function elsewhere(draft: Draft): undefined {
  draft.elsewhere = true
  return undefined
}

function takeProtocol(draft: Draft, text: string, negated: boolean): Objection {
  if (negated) return 'it applies to all protocols except one'
  const number = text === 'all' ? 0 : protocolNumber(text)
  if (number === undefined) return `protocol ${text} is unknown`
  if (number !== 0) draft.traffic = onlyProtocols(draft.traffic, [number])
  return undefined
}

/** Targets after which a packet goes on in the chain: iptables-extensions(8), "TARGET EXTENSIONS". */
const PASSING_BY =
  /^(?:AUDIT|CHECKSUM|CLASSIFY|CONNMARK|CONNSECMARK|CT|DSCP|ECN|HL|HMARK|IDLETIMER|LED|LOG|MARK|NFLOG|NOTRACK|RATEEST|SECMARK|SET|TCPMSS|TCPOPTSTRIP|TEE|TOS|TRACE|TTL|ULOG)$/

/** Targets that end the way of a packet through a chain, but do not drop it. */
const TAKING = /^(?:DNAT|MASQUERADE|NETMAP|NFQUEUE|QUEUE|REDIRECT|SNAT|SYNPROXY|TPROXY)$/

function takeTarget(draft: Draft, target: string): Objection {
  if (target === 'DROP' || target === 'REJECT') draft.action = { do: 'drop' }
  else if (target === 'ACCEPT') draft.action = { do: 'accept' }
  else if (target === 'RETURN') draft.action = { do: 'return' }
  else if (/^(?:LOG|NFLOG|ULOG)$/.test(target)) return 'it writes a log'
  else if (PASSING_BY.test(target)) return `it only has the effect ${target}`
  else if (TAKING.test(target)) {
    draft.action = { do: 'unknown' }
    return `it hands packets to ${target}`
  } else draft.action = { do: 'jump', target }
  return undefined
}

/** A match by the state of connections. `--ignore state` leaves out the rules that accept known connections. */
function takeState(draft: Draft, value: string, negated: boolean): Objection {
  draft.ignored ||= !negated && /\b(?:RELATED|ESTABLISHED|DNAT)\b/.test(value) && draft.context.ignore.includes('state')
  draft.opening = draft.opening !== false && !negated && value === 'NEW'
  draft.established = draft.established !== false && !negated && isEstablished(value.split(','), draft.context)
  return STATE
}

/** Whether packets in one of the states are those of known connections. */
function isEstablished(states: readonly string[], { translates, helps }: RuleContext): boolean {
  const others = [...(helps ? [] : ['RELATED']), ...(translates ? [] : ['DNAT'])]
  return states.includes('ESTABLISHED') && states.every((state) => state === 'ESTABLISHED' || others.includes(state))
}

/** Matches by rates. */
const RATES = new Set(['limit', 'hashlimit', 'recent'])

function takeModule(draft: Draft, name: string): Objection {
  if (draft.rate !== undefined && name !== 'comment') draft.rate.late = true
  if (draft.rate === undefined && RATES.has(name)) {
    draft.rate = { module: name, options: new Map(), late: false }
    return undefined
  }
  return HARMLESS.has(name) ? undefined : (lookUp(MODULES, name) ?? `it uses the match ${name}`)
}

/** An option of a match by rates. */
function takeRateOption(draft: Draft, word: string, value: string, negated: boolean): Objection {
  draft.rate?.options.set(word, value)
  return negated || draft.rate === undefined ? RATED : undefined
}

type Take = (draft: Draft, value: string, negated: boolean) => Objection

const TAKES: Readonly<Record<string, Take>> = {
  '-s': takeAddresses('source'),
  '--source': takeAddresses('source'),
  '-d': takeAddresses('destination'),
  '--destination': takeAddresses('destination'),
  '-i': takeInterface,
  '-o': () => 'it matches the outgoing interface',
  '-p': takeProtocol,
  '-m': takeModule,
  '--sport': (draft, value, negated) => takePorts(draft, 'sourcePorts', value, negated),
  '--sports': (draft, value, negated) => takePorts(draft, 'sourcePorts', value, negated),
  '--dport': (draft, value, negated) => takePorts(draft, 'destinationPorts', value, negated),
  '--dports': (draft, value, negated) => takePorts(draft, 'destinationPorts', value, negated),
  '--src-range': takeAddresses('source'),
  '--dst-range': takeAddresses('destination'),
  '--comment': (draft, value) => {
    draft.comment = value
    return undefined
  },
  '--ctstate': takeState,
  '--state': takeState,
  '-j': takeTarget,
  '-g': (draft, target) => {
    draft.action = { do: 'goto', target }
    return undefined
  },
}

/** Reads one option at `at`. Returns the objection and the index after the option. */
function takeOption(
  draft: Draft,
  list: readonly string[],
  at: number,
  negated: boolean,
): { readonly objection: Objection; readonly next: number } {
  const [word, value = '', direction = ''] = list.slice(at, at + 3) as [string, string?, string?]
  if (word === '--match-set') return { objection: takeSet(draft, value, direction, negated), next: at + 3 }
  const rated = lookUp(RATE_OPTIONS, word)
  if (rated !== undefined) return { objection: takeRateOption(draft, word, value, negated), next: at + 1 + rated }
  const option = lookUp(FIELD_OPTIONS, word)
  if (option !== undefined) {
    const next = at + 1 + option.words
    return { objection: takeField(draft, option, list.slice(at + 1, next), negated), next }
  }
  const take = lookUp(TAKES, word)
  if (take !== undefined) return { objection: take(draft, value, negated), next: at + 2 }
  // An unknown option may have any number of values.
  let next = at + 1
  while (next < list.length && !/^(?:!$|-)/.test(list[next] as string)) next++
  return { objection: `it uses ${word}`, next }
}

/** Reads all options. Returns the first objection; the draft then holds every packet of the rule, and further ones. */
function takeAll(draft: Draft, list: readonly string[]): Objection {
  let negated = false
  let objection: Objection
  for (let at = 0; at < list.length; ) {
    const word = list[at] as string
    if (word === '!') {
      negated = true
      at++
      continue
    }
    const taken = takeOption(draft, list, at, negated)
    objection ??= taken.objection
    if (taken.objection !== undefined && taken.objection !== STATE) draft.narrowed = true
    at = taken.next
    negated = false
    // Options after the target say how to reject, which does not matter to a filter that drops silently.
    if (word === '-j' || word === '-g') break
  }
  const found = fieldsObjection(draft)
  if (found !== undefined) draft.narrowed = true
  return objection ?? found
}

/** Widens the draft where lists cannot express its fields together. */
function fieldsObjection(draft: Draft): Objection {
  const { icmp } = draft.traffic.fields
  const length = lengthObjection(draft.traffic, draft.action.do)
  if (length !== undefined) draft.traffic = anyOf(draft.traffic, 'length')
  const many = icmp !== undefined && !fewCodes(icmp).exact
  if (many) draft.traffic = anyOf(draft.traffic, 'icmp')
  const ports = portsWithoutProtocol(draft.traffic)
  if (ports) draft.traffic = anyOf(draft.traffic, 'sourcePorts', 'destinationPorts')
  if (ports) return 'it matches ports of a protocol other than TCP and UDP'
  return length ?? (many ? 'it matches many codes of ICMP' : undefined)
}

/** The addresses and traffic of a rule: several for a set with ports. */
function matchesOf({ addresses, traffic, ports, list, context }: Draft): Match[] {
  const own = ({ v4, v6 }: AddressSet): AddressSet => ({
    v4: context.family === 4 ? v4 : EMPTY4,
    v6: context.family === 6 ? v6 : EMPTY6,
  })
  if (ports === undefined) return [{ addresses: addresses && own(addresses), traffic, list }]
  return ports.groups.map((group) => {
    const narrowed = onlyProtocols(traffic, [group.protocol])
    return {
      addresses: own(both(addresses, group.addresses)),
      traffic: group.ports.length === 0 ? narrowed : onlyPorts(narrowed, ports.side, group.ports),
      list,
    }
  })
}

/** The rate of a rule; undefined if it has none, or none that a config can have. */
function rateOf({ rate, context }: Draft): RateSpec | undefined {
  const spec = rate && readRate(rate.module, rate.options, context.family)
  return spec && rate.late ? { ...spec, why: UNORDERED } : spec
}

/** The rules of one line; none if it is for an interface that the config does not have. */
export function readRule(place: Place, text: string, context: RuleContext): WrittenRule[] {
  const draft: Draft = {
    context,
    addresses: undefined,
    ports: undefined,
    traffic: anyTraffic([context.family]),
    list: undefined,
    comment: undefined,
    action: { do: 'nothing' },
    ignored: false,
    established: undefined,
    opening: undefined,
    rate: undefined,
    narrowed: false,
    elsewhere: false,
  }
  const read = takeAll(draft, words(text))
  if (draft.elsewhere) return []
  const rate = rateOf(draft)
  if (draft.rate !== undefined) draft.narrowed = true
  const opens = read === STATE && draft.opening === true && rate?.over === true
  const unread = draft.rate !== undefined && rate === undefined ? lookUp(MODULES, draft.rate.module) : undefined
  const objection = (opens ? undefined : read) ?? unread
  const { comment } = draft
  const ignored = draft.ignored && (draft.action.do === 'accept' || draft.action.do === 'return')
  const isExact = draft.established === true && !draft.narrowed && draft.action.do === 'accept'
  const action: Action = isExact ? { do: 'established', icmp: !ignored } : ignored ? { do: 'nothing' } : draft.action
  // A set with entries that a list cannot express matches more than its groups.
  const open = draft.ports !== undefined && objection !== undefined ? { ...draft, ports: undefined } : draft
  const proxies = / -j SYNPROXY\b/.test(text)
  return matchesOf(open).map((match): WrittenRule => {
    const protects = proxies ? protectedPorts(match, draft.established !== true) : undefined
    const why = protects === undefined ? objection : PROTECTS
    const own = { place, text, match, action, comment, objection: why, remarks: [], protects }
    return { ...own, rate: rate && { ...rate, opening: opens } }
  })
}
