// The addresses that the balancer knows (struct endpoint), the hash that finds them, and the trees that map (protocol,
// port) to a service or backend. Encoding only: to decode an image, the decoder encodes its services again and
// compares.

import { endpointCodec, HOST_PROBES, hostLineCodec, LINE_SIZE } from '../../abi/generated.ts'
import { LOAD, MULTIPLIERS, type Multiplier, type Placement, tryPlace } from '../lines/hash.ts'
import { halves, LINE_WORDS, LineWriter, makeLines, multiplyLow } from '../lines/lines.ts'
import { RUN_NODE, treeWriter } from '../ranges/trees.ts'

/** Ports of one protocol that map to a number. */
export interface Interval {
  /** IP protocol number. */
  readonly protocol: number
  readonly first: number
  readonly last: number
  /** Not 0. */
  readonly value: number
}

/** An address and its intervals. Of overlapping intervals the shortest wins, of equally long ones the first. */
export interface Endpoint {
  /** IPv6, or IPv4 as ::ffff:a.b.c.d: four words. */
  readonly address: Uint32Array
  readonly destinations: Interval[]
  readonly sources: Interval[]
  /** Pool slot + 1; 0 = none. */
  pool: number
  fragmentsTcp: number
  fragmentsUdp: number
}

export interface EndpointSections {
  readonly multiplier: Multiplier
  readonly buckets: number
  readonly hash: Uint32Array
  readonly endpoints: Uint32Array
  readonly ports: Uint32Array
}

const TAG = hostLineCodec.offsets.address / 4
const NUMBER = hostLineCodec.offsets.class / 2
const OVERFLOW = hostLineCodec.offsets.overflow / 4
const SLOTS = (hostLineCodec.offsets.class - hostLineCodec.offsets.address) / 4

/**
 * Hash input of an address: high half * multiplier ^ low half. bpf/include/endpoint.h implements the same fold in C.
 */
export function foldAddress([a, b, c, d]: Uint32Array | readonly number[], multiplier: Multiplier): Multiplier {
  const product = multiplyLow({ high: a as number, low: b as number }, multiplier)
  return { high: (product.high ^ (c as number)) >>> 0, low: (product.low ^ (d as number)) >>> 0 }
}

/** XOR of the folded address's words: distinguishes addresses in a bucket. */
const tagOf = ({ high, low }: Multiplier): number => (high ^ low) >>> 0

interface Placed {
  readonly multiplier: Multiplier
  readonly placement: Placement
  readonly tags: Uint32Array
}

/**
 * A table in which no reader can reach two addresses with one tag: it takes the first equal tag, then compares the
 * whole address.
 */
function placeEndpoints(endpoints: readonly Endpoint[]): Placed {
  const high = new Uint32Array(endpoints.length)
  const low = new Uint32Array(endpoints.length)
  const tags = new Uint32Array(endpoints.length)
  let buckets = Math.max(1, Math.ceil(endpoints.length / (SLOTS * LOAD)))
  while (true) {
    for (const multiplier of MULTIPLIERS) {
      for (const [i, { address }] of endpoints.entries()) {
        const folded = foldAddress(address, multiplier)
        high[i] = folded.high
        low[i] = folded.low
        tags[i] = tagOf(folded)
      }
      const placement = tryPlace({ length: endpoints.length, high, low }, SLOTS, HOST_PROBES, multiplier, buckets)
      if (placement && tagsDiffer(tags, placement)) return { multiplier, placement, tags }
    }
    buckets = Math.ceil(buckets * 1.25)
  }
}

/** Whether addresses with equal tags lie so far apart that no reader reaches both. */
function tagsDiffer(tags: Uint32Array, { places }: Placement): boolean {
  const lineByTag = new Map<number, number>()
  for (let i = 0; i < tags.length; i++) {
    const tag = tags[i] as number
    const line = Math.floor((places[i] as number) / SLOTS)
    const known = lineByTag.get(tag)
    if (known !== undefined && Math.abs(known - line) < HOST_PROBES) return false
    lineByTag.set(tag, line)
  }
  return true
}

function encodeHash({ placement, tags }: Placed): Uint32Array {
  const words = makeLines(placement.lines)
  const numbers = halves(words)
  for (let i = 0; i < tags.length; i++) {
    const place = placement.places[i] as number
    const line = Math.floor(place / SLOTS) * LINE_WORDS
    words[line + TAG + (place % SLOTS)] = tags[i] as number
    numbers[line * 2 + NUMBER + (place % SLOTS)] = i + 1
  }
  for (let line = 0; line < placement.lines; line++)
    words[line * LINE_WORDS + OVERFLOW] = placement.overflow[line] as number
  return words
}

/** Key in the trees. */
const keyOf = (protocol: number, port: number): number => protocol * 0x10000 + port

/**
 * The value of struct endpoint for intervals: 0, or a tree.
 *
 * @param write writes a tree to the section of ports
 */
function encodeIntervals(intervals: readonly Interval[], write: ReturnType<typeof treeWriter>): number {
  if (intervals.length === 0) return 0
  const spans = intervals.map(({ protocol, first, last, value }) => ({
    from: keyOf(protocol, first),
    to: keyOf(protocol, last),
    value,
  }))
  spans.sort((a, b) => a.to - a.from - (b.to - b.from))
  const bounds = [...new Set([0, ...spans.flatMap(({ from, to }) => [from, to + 1])])].sort((a, b) => a - b)
  const starts = new Uint32Array(bounds.length)
  const values = new Uint32Array(bounds.length)
  let length = 0
  for (const bound of bounds) {
    const value = spans.find(({ from, to }) => from <= bound && bound <= to)?.value ?? 0
    if (length > 0 && values[length - 1] === value) continue
    starts[length] = bound
    values[length++] = value
  }
  return write(starts, values, length)
}

/** @param endpoints in the order of their addresses, each once, at most 65,535 */
export function encodeEndpoints(endpoints: readonly Endpoint[]): EndpointSections {
  const trees = new LineWriter()
  const write = treeWriter(RUN_NODE, trees)
  const words = makeLines(endpoints.length)
  const view = new DataView(words.buffer)
  for (const [i, { address, destinations, sources, pool, fragmentsTcp, fragmentsUdp }] of endpoints.entries()) {
    endpointCodec.encode(
      {
        high: (BigInt(address[0] as number) << 32n) | BigInt(address[1] as number),
        low: (BigInt(address[2] as number) << 32n) | BigInt(address[3] as number),
        destination: encodeIntervals(destinations, write),
        source: encodeIntervals(sources, write),
        pool,
        fragments_tcp: fragmentsTcp,
        fragments_udp: fragmentsUdp,
      },
      view,
      i * LINE_SIZE,
    )
  }
  const placed = placeEndpoints(endpoints)
  return {
    multiplier: placed.multiplier,
    buckets: placed.placement.buckets,
    hash: encodeHash(placed),
    endpoints: words,
    ports: trees.finish(),
  }
}
