// Chains that see other packets than XDP: the kernel puts the fragments of a datagram together before them, and joins
// segments of a TCP connection (GRO). The pieces are shorter, and only the first of them has ports, flags or a type.

import { inRanges, TCP } from '../model/ports.ts'
import { asks, asksHeader, type Box, withField, withoutFields } from './boxes.ts'
import type { Part } from './parts.ts'
import type { Match } from './rules.ts'
import { anyOf, FIELDS, FIRST, hasFlag, LATER, onlyFamily, type Traffic, WHOLE } from './scopes.ts'
import type { Spans } from './spans.ts'

/** Whether pieces of a packet have at most a length of these if the packet has. */
export const holdsShorter = (lengths: Spans): boolean =>
  lengths.length === 1 && lengths[0]?.first === FIELDS.length.first

/** Whether a packet has a length of these if a piece of it has. */
export const holdsLonger = (lengths: Spans): boolean => lengths.length === 1 && lengths[0]?.last === FIELDS.length.last

/**
 * Why a rule that asks for lengths sees others than XDP; undefined if it does not, or if that does not matter. Segments
 * that open a connection are never joined.
 */
export function lengthObjection({ protocols, fields }: Traffic, action: string): string | undefined {
  const { length, flags } = fields
  if (length === undefined || (protocols !== undefined && !protocols.includes(TCP)) || hasFlag(flags, 'syn'))
    return undefined
  // Jumps and returns lead to drops as well as to accepts.
  const passes = !['drop', 'jump', 'goto', 'return'].includes(action)
  const isSound = passes ? holdsShorter(length) : action === 'drop' && holdsLonger(length)
  return isSound ? undefined : 'it matches the length of TCP segments, which the kernel joins before'
}

/** A match as a chain sees it that gets whole datagrams: no packet is a fragment. */
export function onDatagrams(match: Match): Match {
  const { fragments } = match.traffic.fields
  if (fragments === undefined) return match
  const traffic = anyOf(match.traffic, 'fragments')
  // No packet has both families.
  return { ...match, traffic: inRanges(fragments, WHOLE) ? traffic : onlyFamily(onlyFamily(traffic, 4), 6) }
}

/** Whether a datagram and its fragments may differ in what a drop asks for, so that it must spare fragments. */
const differs = ({ fields: { flags, length, ttl, dscp } }: Box, whole: boolean): boolean =>
  flags !== undefined ||
  (whole && (ttl !== undefined || dscp !== undefined || (length !== undefined && !holdsLonger(length))))

/** Whether a box holds fragments. */
const holdsFragments = ({ fields: { fragments } }: Box): boolean =>
  fragments === undefined || inRanges(fragments, FIRST) || inRanges(fragments, LATER)

/**
 * Parts of a drop, without fragments that it may not be for. A blocklist takes a first fragment that hides its flags for
 * one that has them. `whole`: the chain gets whole datagrams.
 */
export function withoutFragments(parts: readonly Part[], whole: boolean): readonly Part[] {
  return parts.map((part) =>
    differs(part.box, whole) && holdsFragments(part.box)
      ? { ...part, box: withField(part.box, 'fragments', [{ first: WHOLE, last: WHOLE }]) }
      : part,
  )
}

/** The part with all fragments of its datagrams. */
export function withAllFragments(part: Part): Part {
  const { length } = part.box.fields
  const box = withoutFields(part.box, 'sourcePorts', 'destinationPorts', 'flags', 'icmp', 'ttl', 'dscp', 'fragments')
  return { ...part, box: length === undefined || holdsShorter(length) ? box : withoutFields(box, 'length') }
}

/** Whether fragments of a datagram that a part holds may not be in it. `first`: even its first fragment. */
export function losesFragments({ box }: Part, first = false): boolean {
  const { length } = box.fields
  const own = asks(box, 'flags', 'ttl', 'dscp') || (length !== undefined && !holdsShorter(length))
  return own || (!first && asksHeader(box))
}

/** Whether a drop may drop fragments of datagrams that a part holds. `meets`: whether two parts share packets. */
export function dropsFragments(drop: Part, part: Part, meets: (one: Part, other: Part) => boolean): boolean {
  if (!holdsFragments(drop.box) || !(losesFragments(part, true) || !asksHeader(drop.box))) return false
  return meets(drop, { ...part, box: withoutFields(part.box, 'flags', 'length', 'ttl', 'dscp') })
}
