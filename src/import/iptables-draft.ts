// A rule of iptables while its options are read, and the options for addresses: iptables(8).

import type { AddressSet, Family } from '../model/address.ts'
import { parseAddress } from '../model/text.ts'
import { complement, parseAddresses } from './addresses.ts'
import type { Action } from './flatten.ts'
import type { AddressGroup, PortGroup } from './ipset.ts'
import { both, type Field, onlyDestinations, type Traffic } from './scopes.ts'
import { type Ignorable, lookUp } from './source.ts'

export interface RuleContext {
  readonly family: Family
  readonly groups: ReadonlyMap<string, AddressGroup>
  readonly interfaces: readonly string[]
  readonly ignore: readonly Ignorable[]
  /** Whether a rule changes destinations, so that the state DNAT says more than ESTABLISHED. */
  readonly translates: boolean
  /** Whether a rule assigns helpers, which let the kernel expect connections of others. */
  readonly helps: boolean
  /** Fields that a rule changes, so that another rule may see other values than XDP. */
  readonly rewritten: readonly Field[]
}

export interface Draft {
  readonly context: RuleContext
  addresses: AddressSet | undefined
  /** Addresses with a protocol and ports; the rule matches the packets of any of them. */
  ports: { readonly groups: readonly PortGroup[]; readonly side: Side } | undefined
  traffic: Traffic
  list: string | undefined
  comment: string | undefined
  action: Action
  /** Whether it matches known connections, and all of them; undefined: it matches no state. */
  established: boolean | undefined
  /** Whether it matches the first packets of connections, and no others; undefined: it matches no state. */
  opening: boolean | undefined
  /** The match by rates, its options, and whether other matches are behind it. */
  rate: { readonly module: string; readonly options: Map<string, string>; late: boolean } | undefined
  /** Whether the rule is left out at the user's wish. */
  ignored: boolean
  /** Whether it has another condition that a list cannot express. */
  narrowed: boolean
  /** Whether the rule is for an interface that the config does not have. */
  elsewhere: boolean
}

export type Side = 'sourcePorts' | 'destinationPorts'

/** Why an option cannot be imported; undefined if it was. */
export type Objection = string | undefined

const inverse = ({ v4, v6 }: AddressSet): AddressSet => ({ v4: complement(v4), v6: complement(v6) })

/** `10.0.0.0/255.0.0.0` → `10.0.0.0/8`; undefined for a mask with holes. */
function withLength(text: string): string | undefined {
  const [address = '', mask] = text.split('/')
  if (mask === undefined || /^\d+$/.test(mask)) return text
  const bits = parseAddress(mask)
  const digits = [...(bits?.words ?? [])].map((word) => word.toString(2).padStart(32, '0')).join('')
  return /^1*0*$/.test(digits) && digits !== '' ? `${address}/${digits.replace(/0+$/, '').length}` : undefined
}

/** Most ranges of destinations of a rule; 64 of them make an entry. */
const DESTINATIONS = 1024

function narrowAddresses(draft: Draft, side: 'source' | 'destination', set: AddressSet, negated: boolean): Objection {
  const own = negated ? inverse(set) : set
  if (side === 'source') draft.addresses = both(draft.addresses, own)
  else if (own.v4.length + own.v6.length > DESTINATIONS) return 'it matches too many destinations for entries'
  else draft.traffic = onlyDestinations(draft.traffic, own)
  return undefined
}

export const takeAddresses =
  (side: 'source' | 'destination') =>
  (draft: Draft, text: string, negated: boolean): Objection => {
    const parts = text.split(',').map((part) => parseAddresses(withLength(part) ?? ''))
    if (parts.length !== 1 || parts[0] === undefined) return `its ${side} address is not a prefix`
    return narrowAddresses(draft, side, parts[0], negated)
  }

const PORT_DIRECTIONS: Readonly<Record<string, Side>> = { 'src,src': 'sourcePorts', 'src,dst': 'destinationPorts' }

/** A set of addresses with ports: `--match-set NAME src,dst`. */
function takePortSet(draft: Draft, group: AddressGroup, direction: string, negated: boolean): Objection {
  const side = lookUp(PORT_DIRECTIONS, direction)
  if (side === undefined) return `it compares set ${group.name} with ${direction}`
  if (negated || draft.ports !== undefined) return `it compares set ${group.name} in a way that a list cannot express`
  draft.ports = { groups: group.ports ?? [], side }
  draft.list = group.name
  return group.losses === 0 ? undefined : `set ${group.name} has entries that a list cannot express`
}

export function takeSet(draft: Draft, name: string, direction: string, negated: boolean): Objection {
  const group = draft.context.groups.get(name)
  if (group === undefined) return `set ${name} is not in the input (append the output of \`ipset save\`)`
  if (group.objection !== undefined) return `of set ${name}: ${group.objection}`
  if (group.ports !== undefined) return takePortSet(draft, group, direction, negated)
  if (direction === 'dst') return narrowAddresses(draft, 'destination', group.addresses, negated)
  if (direction !== 'src') return `it compares set ${name} with ${direction}, not with one address`
  if (!negated) draft.list = name
  return narrowAddresses(draft, 'source', group.addresses, negated)
}
