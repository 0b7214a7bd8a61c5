// One `-A` line: its options → the packets it matches and its action. Options: iptables(8), iptables-extensions(8).

import type { AddressSet, Family } from '../model/address.ts'
import { EMPTY4, EMPTY6 } from '../model/ranges.ts'
import { parseAddress } from '../model/text.ts'
import { complement, intersect, parseAddresses } from './addresses.ts'
import type { Action, WrittenRule } from './flatten.ts'
import type { AddressGroup } from './ipset.ts'
import {
  anyTraffic,
  onlyPorts,
  onlyProtocols,
  otherPorts,
  parsePorts,
  portsWithoutProtocol,
  protocolNumber,
  type Traffic,
} from './scopes.ts'
import { lookUp, type Place } from './source.ts'

export interface RuleContext {
  readonly family: Family
  readonly groups: ReadonlyMap<string, AddressGroup>
  readonly interfaces: readonly string[]
}

/** Words of a rule; a quoted word may contain spaces and escaped quotes. */
function words(text: string): string[] {
  return [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain as string) : quoted.replace(/\\(.)/g, '$1'),
  )
}

interface Draft {
  readonly context: RuleContext
  addresses: AddressSet | undefined
  traffic: Traffic
  list: string | undefined
  comment: string | undefined
  action: Action
  /** Whether the rule is for an interface that the config does not have. */
  elsewhere: boolean
}

/** Why an option cannot be imported; undefined if it was. */
type Objection = string | undefined

/** Modules without an effect: they only enable the options below. */
const HARMLESS = new Set([
  'tcp',
  'udp',
  'multiport',
  'comment',
  'set',
  'iprange',
  'icmp',
  'icmp6',
  'sctp',
  'dccp',
  'udplite',
])

const MODULES: Readonly<Record<string, string>> = {
  conntrack: 'it matches the state of connections',
  state: 'it matches the state of connections',
  limit: 'it matches a rate',
  hashlimit: 'it matches a rate',
  connlimit: 'it matches the number of connections',
  recent: 'it matches earlier packets',
}

const both = (a: AddressSet | undefined, b: AddressSet): AddressSet =>
  a === undefined ? b : { v4: intersect(a.v4, b.v4), v6: intersect(a.v6, b.v6) }

const inverse = ({ v4, v6 }: AddressSet): AddressSet => ({ v4: complement(v4), v6: complement(v6) })

/** `10.0.0.0/255.0.0.0` → `10.0.0.0/8`; undefined for a mask with holes. */
function withLength(text: string): string | undefined {
  const [address = '', mask] = text.split('/')
  if (mask === undefined || /^\d+$/.test(mask)) return text
  const bits = parseAddress(mask)
  const digits = [...(bits?.words ?? [])].map((word) => word.toString(2).padStart(32, '0')).join('')
  return /^1*0*$/.test(digits) && digits !== '' ? `${address}/${digits.replace(/0+$/, '').length}` : undefined
}

function takeAddresses(draft: Draft, text: string, negated: boolean): Objection {
  const parts = text.split(',').map((part) => parseAddresses(withLength(part) ?? ''))
  if (parts.length !== 1 || parts[0] === undefined) return 'its source address is not a prefix'
  draft.addresses = both(draft.addresses, negated ? inverse(parts[0]) : parts[0])
  return undefined
}

function takeSet(draft: Draft, name: string, direction: string, negated: boolean): Objection {
  if (direction !== 'src') return `it compares set ${name} with ${direction}, not with the source address alone`
  const group = draft.context.groups.get(name)
  if (group === undefined) return `set ${name} is not in the input (append the output of \`ipset save\`)`
  if (group.objection !== undefined) return `of set ${name}: ${group.objection}`
  draft.addresses = both(draft.addresses, negated ? inverse(group.addresses) : group.addresses)
  if (!negated) draft.list = name
  return undefined
}

function takePorts(draft: Draft, side: 'sourcePorts' | 'destinationPorts', text: string, negated: boolean): Objection {
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

function takeTarget(draft: Draft, target: string): Objection {
  if (target === 'DROP' || target === 'REJECT') draft.action = { do: 'drop' }
  else if (target === 'ACCEPT') draft.action = { do: 'accept' }
  else if (target === 'RETURN') draft.action = { do: 'return' }
  else if (/^(?:LOG|NFLOG|ULOG)$/.test(target)) return 'it writes a log'
  else draft.action = { do: 'jump', target }
  return undefined
}

type Take = (draft: Draft, value: string, negated: boolean) => Objection

const TAKES: Readonly<Record<string, Take>> = {
  '-s': takeAddresses,
  '--source': takeAddresses,
  '-d': () => 'it matches the destination address',
  '--destination': () => 'it matches the destination address',
  '-i': takeInterface,
  '-o': () => 'it matches the outgoing interface',
  '-p': takeProtocol,
  '-m': (_, name) => (HARMLESS.has(name) ? undefined : (lookUp(MODULES, name) ?? `it uses the match ${name}`)),
  '--sport': (draft, value, negated) => takePorts(draft, 'sourcePorts', value, negated),
  '--sports': (draft, value, negated) => takePorts(draft, 'sourcePorts', value, negated),
  '--dport': (draft, value, negated) => takePorts(draft, 'destinationPorts', value, negated),
  '--dports': (draft, value, negated) => takePorts(draft, 'destinationPorts', value, negated),
  '--src-range': takeAddresses,
  '--dst-range': () => 'it matches the destination address',
  '--comment': (draft, value) => {
    draft.comment = value
    return undefined
  },
  '-j': takeTarget,
}

/** Reads the options one by one, up to the first that cannot be imported. */
function takeAll(draft: Draft, list: readonly string[]): Objection {
  let negated = false
  for (let at = 0; at < list.length; at++) {
    const word = list[at] as string
    if (word === '!') {
      negated = true
      continue
    }
    const value = list[at + 1] ?? ''
    let objection: Objection
    if (word === '--match-set') {
      objection = takeSet(draft, value, list[at + 2] ?? '', negated)
      at += 2
    } else {
      const take = lookUp(TAKES, word)
      objection = take === undefined ? `it uses ${word}` : take(draft, value, negated)
      at += 1
    }
    if (objection !== undefined) return objection
    negated = false
    // Options after the target say how to reject, which does not matter to a filter that drops silently.
    if (word === '-j') break
  }
  return portsWithoutProtocol(draft.traffic) ? 'it matches ports of a protocol other than TCP and UDP' : undefined
}

/** The rule of one line; none if it is for an interface that the config does not have. */
export function readRule(place: Place, text: string, context: RuleContext): WrittenRule[] {
  const draft: Draft = {
    context,
    addresses: undefined,
    traffic: anyTraffic([context.family]),
    list: undefined,
    comment: undefined,
    action: { do: 'nothing' },
    elsewhere: false,
  }
  const objection = takeAll(draft, words(text))
  if (draft.elsewhere) return []
  const { addresses, traffic, list, comment, action } = draft
  const known = addresses && {
    v4: context.family === 4 ? addresses.v4 : EMPTY4,
    v6: context.family === 6 ? addresses.v6 : EMPTY6,
  }
  return [{ place, text, match: { addresses: known, traffic, list }, action, comment, objection, remarks: [] }]
}
