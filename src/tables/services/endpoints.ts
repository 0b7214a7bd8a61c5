// The addresses that the balancer knows (struct endpoint), the hash that finds them, and the trees that map (protocol,
// port) to a service or backend. Encoding only: to decode an image, the decoder encodes its services again and
// compares.

import {
  ENDPOINT_CELLS,
  ENDPOINT_CHAIN,
  type Endpoint as EndpointLine,
  EXACT_PORTS,
  endpointCodec,
  LINE_SIZE,
} from '../../abi/generated.ts'
import { bucketOf, hashOf, MULTIPLIERS, type Multiplier } from '../lines/hash.ts'
import { halves, LineWriter, makeLines, multiplyLow } from '../lines/lines.ts'
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
  readonly cells: number
  readonly index: Uint32Array
  readonly endpoints: Uint32Array
  readonly ports: Uint32Array
}

/** Cells for each endpoint: most addresses of no service then end at an empty one. */
const SPARSENESS = 4

/**
 * The hash of an address: the upper half of the low 64 bits of (high half * multiplier ^ low half) * multiplier, which
 * bpf/include/endpoint.h computes too; then its cell, hash * cells >> 32.
 */
function cellOf([a, b, c, d]: Uint32Array | readonly number[], multiplier: Multiplier, cells: number): number {
  const { high, low } = multiplyLow({ high: a as number, low: b as number }, multiplier)
  return bucketOf(hashOf((high ^ (c as number)) >>> 0, (low ^ (d as number)) >>> 0, multiplier), cells)
}

interface Chains {
  readonly multiplier: Multiplier
  readonly cells: number
  /** By cell: number of the first endpoint, from 1; 0 = none. */
  readonly first: Uint16Array
  /** By endpoint: number of the next one in its cell; 0 = none. */
  readonly next: Uint16Array
}

/** Chains of at most ENDPOINT_CHAIN endpoints; undefined if one is longer. */
function tryChain(endpoints: readonly Endpoint[], multiplier: Multiplier, cells: number): Chains | undefined {
  const first = new Uint16Array(cells)
  const next = new Uint16Array(endpoints.length)
  const lengths = new Uint8Array(cells)
  for (const [i, { address }] of endpoints.entries()) {
    const cell = cellOf(address, multiplier, cells)
    if ((lengths[cell] as number) === ENDPOINT_CHAIN) return undefined
    lengths[cell] = (lengths[cell] as number) + 1
    next[i] = first[cell] as number
    first[cell] = i + 1
  }
  return { multiplier, cells, first, next }
}

function chainEndpoints(endpoints: readonly Endpoint[]): Chains {
  let lines = Math.ceil((endpoints.length * SPARSENESS) / ENDPOINT_CELLS)
  while (true) {
    for (const multiplier of MULTIPLIERS) {
      const chains = tryChain(endpoints, multiplier, lines * ENDPOINT_CELLS)
      if (chains) return chains
    }
    lines *= 2
  }
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

/** The cells of single ports, which need no tree. */
function encodeExact(intervals: readonly Interval[]): Pick<EndpointLine, 'exact_key' | 'exact'> {
  const values = new Map<number, number>()
  for (const { protocol, first, last, value } of intervals) {
    const key = keyOf(protocol, first)
    if (first === last && !values.has(key)) values.set(key, value)
  }
  const free = Array.from({ length: EXACT_PORTS }, () => [0, 0] as const)
  const cells = [...values, ...free].slice(0, EXACT_PORTS)
  return { exact_key: cells.map(([key]) => key), exact: cells.map(([, value]) => value) }
}

/** @param endpoints in the order of their addresses, each once, at most 65,535 */
export function encodeEndpoints(endpoints: readonly Endpoint[]): EndpointSections {
  const trees = new LineWriter()
  const write = treeWriter(RUN_NODE, trees)
  const words = makeLines(endpoints.length)
  const view = new DataView(words.buffer)
  const { multiplier, cells, first, next } = chainEndpoints(endpoints)
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
        next: next[i] as number,
        ...encodeExact(destinations),
      },
      view,
      i * LINE_SIZE,
    )
  }
  const index = makeLines(cells / ENDPOINT_CELLS)
  halves(index).set(first)
  return { multiplier, cells, index, endpoints: words, ports: trees.finish() }
}
