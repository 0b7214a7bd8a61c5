// Packets that stand for a protected prefix: if all of them pass, so does every packet that `protect` is about.

import type { Address, Ranges } from '../model/address.ts'
import type { ProtectedPeer } from '../model/contact.ts'
import { TCP, UDP } from '../model/ports.ts'
import type { ProtectedPrefix } from '../model/protect.ts'
import { compareBounds, WIDTH } from '../model/ranges.ts'
import { decides } from '../model/rate-sources.ts'
import type { Scope, State } from '../model/state.ts'
import { type AddressRange, compareAddresses, overlaps } from '../model/text.ts'

/** Witnesses of one prefix: a protected network with more entries inside is judged at this many. */
const MOST = 16_384

/** Stands for "no port in particular"; a new connection's packets may go to any. */
const ANY_PORT = 65_535

/** The next address; undefined at the end of the address space. */
function successor({ family, words }: Address): Address | undefined {
  const next = words.slice()
  for (let word = next.length - 1; word >= 0; word--) {
    next[word] = ((next[word] as number) + 1) >>> 0
    if (next[word] !== 0) return { family, words: next }
  }
  return undefined
}

const isWithin = ({ start, end, family }: ProtectedPrefix['prefix'], { words }: Address): boolean =>
  compareBounds(start, 0, words, 0, WIDTH[family]) <= 0 && compareBounds(words, 0, end, 0, WIDTH[family]) <= 0

/** Index of the first range that ends at an address or behind it. */
function firstFrom({ family, length, end }: Ranges, words: Uint32Array): number {
  const width = WIDTH[family]
  let [low, high] = [0, length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBounds(end, middle * width, words, 0, width) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Bounds of the ranges that meet a prefix: their first addresses, or those behind them. */
function* boundsIn(ranges: Ranges, { start, end }: ProtectedPrefix['prefix'], behind: boolean): Generator<Address> {
  const { family, length } = ranges
  const width = WIDTH[family]
  for (let i = firstFrom(ranges, start); i < length; i++) {
    if (compareBounds(ranges.start, i * width, end, 0, width) > 0) return
    const words = (behind ? ranges.end : ranges.start).slice(i * width, (i + 1) * width)
    const bound = behind ? successor({ family, words }) : { family, words }
    if (bound) yield bound
  }
}

type Lists = Pick<State, 'lists'>

/** The policy before a change, and the one after it. */
export interface Transition {
  readonly before: Lists
  readonly after: Lists
}

/**
 * Bounds at which packets may begin to be cut: those that pass before and do not afterwards. That is where they begin to
 * be dropped afterwards, at the first address of a range in a blocklist and behind one in an allowlist, or where they begin
 * to pass before, the other way round.
 */
function* cutsMayBegin({ prefix }: ProtectedPrefix, { before, after }: Transition): Generator<Address> {
  for (const [{ lists }, beginsBehind] of [
    [after, 'allowlist'],
    [before, 'blocklist'],
  ] as const) {
    for (const { kind, sets } of [...lists.values()].filter(decides)) {
      for (const { addresses } of sets) {
        yield* boundsIn(prefix.family === 4 ? addresses.v4 : addresses.v6, prefix, kind === beginsBehind)
      }
    }
  }
}

/** Addresses of a prefix, so that each stretch that is cut begins with one. */
function addressesOf(element: ProtectedPrefix, transition: Transition): readonly Address[] {
  const { prefix } = element
  const first: Address = { family: prefix.family, words: prefix.start }
  const found = new Map([[first.words.join(), first]])
  for (const bound of cutsMayBegin(element, transition)) {
    if (found.size === MOST) break
    if (isWithin(prefix, bound)) found.set(bound.words.join(), bound)
  }
  return [...found.values()]
}

/** Local ports at which a verdict may change: the first of each range that scopes name, and one that none names. */
function portsOf({ before, after }: Transition, protocol: number): number[] {
  const applies = (scope: Scope): boolean => scope.protocol === 'any' || scope.protocol === protocol
  const lists = [...after.lists.values(), ...before.lists.values()]
  const scopes = lists.flatMap(({ sets }) => sets.map(({ scope }) => scope)).filter(applies)
  const named = scopes.flatMap(({ destinationPorts }) => destinationPorts)
  const behind = named.map(({ last }) => last + 1).filter((port) => port <= ANY_PORT)
  return [...new Set([ANY_PORT, ...named.map(({ first }) => first), ...behind])]
}

function within(element: ProtectedPrefix, { start, end }: AddressRange): ProtectedPrefix {
  const { prefix } = element
  const first = compareAddresses(prefix.start, start) < 0 ? start : prefix.start
  const last = compareAddresses(prefix.end, end) > 0 ? end : prefix.end
  return { ...element, prefix: { family: prefix.family, start: first, end: last } }
}

/** The parts of protected prefixes in these ranges. */
export const protectWithin = (
  protect: readonly ProtectedPrefix[],
  ranges: readonly AddressRange[],
): readonly ProtectedPrefix[] =>
  protect.flatMap((element) =>
    ranges.flatMap((range) => (overlaps(range, element.prefix) ? [within(element, range)] : [])),
  )

type Kind = Pick<ProtectedPeer, 'protocol' | 'port'>
type Protocol = Kind['protocol']

/**
 * The packets to judge. They come from a port of clients, so that entries for source ports, as against amplification, do
 * not count.
 */
export function witnessesOf(protect: readonly ProtectedPrefix[], transition: Transition): ProtectedPeer[] {
  return protect.flatMap((by) => {
    const addresses = addressesOf(by, transition)
    const protocols: readonly Protocol[] = by.protocol === undefined ? [TCP, UDP, 'icmp'] : [by.protocol]
    const kinds = protocols.flatMap((protocol): Kind[] => {
      if (protocol !== TCP && protocol !== UDP) return [{ protocol, port: undefined }]
      return (by.port === undefined ? portsOf(transition, protocol) : [by.port]).map((port) => ({ protocol, port }))
    })
    return addresses.flatMap((peer) =>
      kinds.map((kind): ProtectedPeer => ({ kind: 'protected', peer, local: undefined, by, ...kind })),
    )
  })
}
