// A box: packets of one family by protocol, destination and header fields, apart from their source. A box minus another
// is a few boxes.

import type { Family, Ranges } from '../model/address.ts'
import { ICMP_OF, TCP, UDP } from '../model/ports.ts'
import { subtract } from '../model/ranges.ts'
import { complement, EVERY, intersect, overlaps } from './addresses.ts'
import { fewCodes } from './icmp-types.ts'
import {
  FIELD_NAMES,
  FIELDS,
  type Field,
  type FieldSets,
  HEADER_FIELDS,
  narrowField,
  otherNumbers,
  type Traffic,
  WHOLE,
} from './scopes.ts'
import { commonSpans, holdsSpans, type Spans } from './spans.ts'

export interface Box {
  /** IP protocol number; `icmp` = that of the family; `any` = every packet. */
  readonly protocol: 'any' | 'icmp' | number
  /** undefined = any. */
  readonly destinations: Ranges | undefined
  /** Header fields of the protocol only; none is empty. */
  readonly fields: FieldSets
}

export const ANY_BOX: Box = { protocol: 'any', destinations: undefined, fields: {} }

/** Whether packets of a protocol have the fields that the box asks for. */
const hasFields = ({ protocol, fields }: Box): boolean =>
  (fields.flags === undefined || protocol === TCP) && (fields.icmp === undefined || protocol === 'icmp')

/**
 * The boxes of a rule for one family; none if no packet can match. ICMP of the family becomes `icmp`; ICMP of the
 * other family is dropped.
 */
export function boxesOf({ families, protocols, destinations, fields }: Traffic, family: Family): readonly Box[] {
  const to = destinations && (family === 4 ? destinations.v4 : destinations.v6)
  const isEmpty = to?.length === 0 || Object.values(fields).some((spans) => spans.length === 0)
  if (!families.includes(family) || isEmpty) return []
  if (protocols === undefined) return [{ protocol: 'any', destinations: to, fields }]
  return protocols
    .filter((number) => number !== ICMP_OF[family === 4 ? 6 : 4])
    .map((number): Box => {
      return { protocol: number === ICMP_OF[family] ? 'icmp' : number, destinations: to, fields }
    })
    .filter(hasFields)
}

/** Whether the box asks for one of the fields. */
export const asks = ({ fields }: Box, ...names: readonly Field[]): boolean =>
  names.some((name) => fields[name] !== undefined)

/** Whether it asks for a header that later fragments lack. */
export const asksHeader = (box: Box): boolean => asks(box, ...HEADER_FIELDS)

/** Whether it holds every packet of the family. */
export const isAnyBox = ({ protocol, destinations, fields }: Box): boolean =>
  protocol === 'any' && destinations === undefined && Object.keys(fields).length === 0

/** The box without what it asks of some fields. */
export const withoutFields = (box: Box, ...names: readonly Field[]): Box => ({
  ...box,
  fields: Object.fromEntries(Object.entries(box.fields).filter(([name]) => !names.includes(name as Field))),
})

/** The box with a field narrowed. The field must belong to its protocol. */
export const withField = (box: Box, field: Field, spans: Spans): Box => ({
  ...box,
  fields: narrowField(box.fields, field, spans),
})

/** A unique text for each box of a family. */
export const boxKey = ({ protocol, destinations, fields }: Box): string =>
  JSON.stringify([
    protocol,
    destinations && [[...destinations.start], [...destinations.end]],
    FIELD_NAMES.map((name) => fields[name]?.map(({ first, last }) => [first, last]) ?? 0),
  ])

/** Whether `outer` includes every packet of `inner`. */
export const coversBox = (outer: Box, inner: Box): boolean =>
  (outer.protocol === 'any' || outer.protocol === inner.protocol) &&
  (outer.destinations === undefined ||
    (inner.destinations !== undefined && subtract(inner.destinations, outer.destinations).length === 0)) &&
  FIELD_NAMES.every((name) => {
    const [all, some] = [outer.fields[name], inner.fields[name]]
    return all === undefined || (some !== undefined && holdsSpans(all, some))
  })

/** Whether one packet can be in both. */
export const sharesBox = (left: Box, right: Box): boolean =>
  (left.protocol === 'any' || right.protocol === 'any' || left.protocol === right.protocol) &&
  (left.destinations === undefined ||
    right.destinations === undefined ||
    overlaps(left.destinations, right.destinations)) &&
  FIELD_NAMES.every((name) => {
    const [one, other] = [left.fields[name], right.fields[name]]
    return one === undefined || other === undefined || commonSpans(one, other).length > 0
  })

/** The packets in both, of boxes that share some. */
export function commonBox(left: Box, right: Box): Box {
  const { destinations } = left
  const box: Box = {
    protocol: left.protocol === 'any' ? right.protocol : left.protocol,
    destinations:
      destinations && right.destinations
        ? intersect(destinations, right.destinations)
        : (destinations ?? right.destinations),
    fields: left.fields,
  }
  return FIELD_NAMES.reduce((all, name) => {
    const spans = right.fields[name]
    return spans === undefined ? all : withField(all, name, spans)
  }, box)
}

export interface BoxRest {
  readonly boxes: readonly Box[]
  /** Whether the boxes hold every packet of the difference; they never hold another. */
  readonly exact: boolean
}

/** Whether each packet of a box has a header field. A first fragment with ports has flags too, unless it hides them. */
function isThere(field: Field, { protocol, fields }: Box): boolean {
  if (FIELDS[field].always || fields[field] !== undefined) return true
  if (field === 'vlan') return false
  const { fragments, flags, sourcePorts, destinationPorts } = fields
  const isWhole = fragments?.every(({ last }) => last === WHOLE)
  if (isWhole && protocol !== 'any') return field !== 'icmp' ? protocol === TCP || protocol === UDP : true
  return field !== 'icmp' && (flags ?? sourcePorts ?? destinationPorts) !== undefined
}

const BEFORE_PROTOCOL = ['length', 'ttl', 'dscp', 'fragments', 'vlan'] as const

/**
 * The packets of `outer` outside `inner`. Requires that the two share packets. No box can express all protocols but one.
 */
export function boxesWithout(outer: Box, inner: Box, family: Family): BoxRest {
  const boxes: Box[] = []
  let exact = true
  let rest = outer
  if (inner.destinations !== undefined) {
    const { destinations = EVERY[family] } = rest
    const others = intersect(destinations, complement(inner.destinations))
    if (others.length > 0) boxes.push({ ...rest, destinations: others })
    rest = { ...rest, destinations: intersect(destinations, inner.destinations) }
  }
  const cut = (name: Field): void => {
    const spans = inner.fields[name]
    if (spans === undefined) return
    const all = commonSpans(rest.fields[name] ?? [FIELDS[name]], otherNumbers(name, spans))
    const { spans: others, exact: few } = name === 'icmp' ? fewCodes(all) : { spans: all, exact: true }
    exact &&= few && isThere(name, rest)
    if (others.length > 0) boxes.push(withField(rest, name, others))
    rest = withField(rest, name, spans)
  }
  for (const name of BEFORE_PROTOCOL) cut(name)
  if (rest.protocol !== inner.protocol && inner.protocol !== 'any') return { boxes, exact: false }
  for (const name of HEADER_FIELDS) cut(name)
  return { boxes, exact }
}
