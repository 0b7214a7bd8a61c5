// A second implementation of the address tables, slow and simple: a reader of the image's bytes that follows
// bpf/include/abi_tables.h with big integers, and a model that searches every list. Tests compare the compiler and the
// kernel's reader with both.

import fc from 'fast-check'
import {
  BLOCK_32,
  BLOCK_48,
  BLOCK_64,
  BLOCK_PROBES,
  blockLineCodec,
  classCodec,
  deepLineCodec,
  HOST_PROBES,
  hostLineCodec,
  LINE_SIZE,
  lineCodec,
  rangeLineCodec,
  ruleCodec,
  runLineCodec,
  settingsCodec,
  TABLE_FLAG,
  TREE_DEPTH,
  table6Codec,
  VALUE_MASK,
  VALUE_TREE,
} from '../../src/abi/generated.ts'
import type { AddressSet, Family, Ranges } from '../../src/model/address.ts'
import type { Slots } from '../../src/model/live.ts'
import { DEFAULT_POLICY } from '../../src/model/policy.ts'
import { contains, EMPTY4, EMPTY6, normalize } from '../../src/model/ranges.ts'
import {
  type Attachment,
  EMPTY_STATE,
  EVERY_ROLE,
  type List,
  type Scope,
  type State,
  scopeKey,
} from '../../src/model/state.ts'
import { slotsFor } from './slots.ts'

export const ALL4 = 0xffffffffn
export const ALL6 = (1n << 128n) - 1n
export const ANY: Scope = { protocol: 'any', sourcePorts: [], destinationPorts: [] }

/** An inclusive range of addresses as numbers. */
export type BigRange = readonly [bigint, bigint]

export const bitsOf = (family: Family): bigint => (family === 4 ? 32n : 128n)
export const lastOf = (family: Family): bigint => (family === 4 ? ALL4 : ALL6)

export const wordsFrom = (family: Family, value: bigint): Uint32Array =>
  family === 4
    ? Uint32Array.of(Number(value))
    : Uint32Array.from([96n, 64n, 32n, 0n], (shift) => Number((value >> shift) & 0xffffffffn))

export function ranges(family: Family, pairs: readonly BigRange[]): Ranges {
  const words = (pick: 0 | 1): Uint32Array =>
    Uint32Array.from(pairs.flatMap((pair) => [...wordsFrom(family, pair[pick])]))
  return normalize(family, words(0), words(1))
}

/** The prefix of `length` bits that contains `value`, as a range. */
export function prefix(family: Family, value: bigint, length: number): BigRange {
  const host = (1n << (bitsOf(family) - BigInt(length))) - 1n
  return [value & ~host, value | host]
}

export const addresses = (v4: readonly BigRange[], v6: readonly BigRange[] = []): AddressSet => ({
  v4: v4.length > 0 ? ranges(4, v4) : EMPTY4,
  v6: v6.length > 0 ? ranges(6, v6) : EMPTY6,
})

/** A canonical list: sets sorted by scope, none empty. */
export function listOf(kind: List['kind'], name: string, sets: readonly (readonly [Scope, AddressSet])[]): List {
  const kept = sets
    .filter(([, { v4, v6 }]) => v4.length > 0 || v6.length > 0)
    .map(([scope, set]) => ({ scope, addresses: set }))
    .sort((a, b) => (scopeKey(a.scope) < scopeKey(b.scope) ? -1 : 1))
  return { kind, name, sets: kept }
}

/** Interfaces of test states; scopes also name `eth9`, which the host does not have. */
const INTERFACES: readonly Attachment[] = ['eth0', 'eth1', 'eth2'].map((name) => ({
  interface: name,
  modes: ['native'],
  roles: EVERY_ROLE,
}))

export const stateOf = (lists: readonly List[], verdict: 'pass' | 'drop' = 'pass'): State => ({
  ...EMPTY_STATE,
  interfaces: new Map(INTERFACES.map((attachment) => [attachment.interface, attachment])),
  policy: { ...DEFAULT_POLICY, default: verdict, unparsed: verdict },
  lists: new Map(lists.map((list) => [list.name, list])),
})

export const slotsOf = (state: State): Slots => slotsFor(state, (n) => (n * 7 + 3) % 1024)

/** Numbers of the parts (lists in order of name, then scopes in order) that cover an address, by a search of each. */
export function modelParts(state: State, family: Family, address: bigint): number[] {
  const words = wordsFrom(family, address)
  return [...state.lists.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ sets }) => sets)
    .flatMap(({ addresses: { v4, v6 } }, part) => (contains(family === 4 ? v4 : v6, words) >= 0 ? [part] : []))
}

/** First and last address of every range. */
function bounds({ family, length, start, end }: Ranges): bigint[] {
  const width = family === 4 ? 1 : 4
  const value = (words: Uint32Array, i: number): bigint =>
    words.subarray(i * width, (i + 1) * width).reduce((sum: bigint, word) => (sum << 32n) | BigInt(word), 0n)
  return Array.from({ length }, (_, i) => [value(start, i), value(end, i)]).flat()
}

/** Every address at, just before and just after an edge of any range of the state. */
export function edges(state: State, family: Family): bigint[] {
  const found = [...state.lists.values()]
    .flatMap(({ sets }) => sets)
    .flatMap(({ addresses: { v4, v6 } }) => bounds(family === 4 ? v4 : v6))
    .flatMap((bound) => [bound - 1n, bound, bound + 1n])
  return [...new Set([0n, lastOf(family), ...found.map((address) => address & lastOf(family))])]
}

/** Reads single results from an image. */
export class ImageReader {
  readonly #view: DataView

  constructor(image: Uint8Array) {
    this.#view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  }

  /** Part numbers of a class, ascending. */
  parts(number: number): number[] {
    const { classes, rules } = settingsCodec.decode(this.#view)
    const entry = classCodec.decode(this.#view, classes * LINE_SIZE + number * classCodec.size)
    const scopes = Array.from({ length: entry.rules }, (_, i) => {
      return ruleCodec.decode(this.#view, rules * LINE_SIZE + (entry.first_rule + i) * ruleCodec.size).scope
    })
    return [...new Set(scopes)].sort((a, b) => a - b)
  }

  lookup(family: Family, address: bigint): number {
    return family === 4 ? this.#lookup4(Number(address)) : this.#lookup6(address >> 64n, address & 0xffffffffffffffffn)
  }

  #word(first: number, index: number): bigint {
    return lineCodec.decode(this.#view, (first + (index >>> 3)) * LINE_SIZE).word[index & 7] as bigint
  }

  #bit(first: number, cell: number): boolean {
    return ((this.#word(first, cell >>> 6) >> BigInt(cell & 63)) & 1n) === 1n
  }

  #lookup4(address: number): number {
    const { table4: table } = settingsCodec.decode(this.#view)
    const host = table.flags & TABLE_FLAG.HOSTS && this.#bit(table.host_filter, address >>> table.host_filter_shift)
    const hash = ((BigInt(address) * table.multiplier) & 0xffffffffffffffffn) >> 32n
    const bucket = Number((hash * BigInt(table.host_lines)) >> 32n)
    for (let probe = 0; host && probe < HOST_PROBES; probe++) {
      const line = hostLineCodec.decode(this.#view, (table.hosts + bucket + probe) * LINE_SIZE)
      const slot = line.address.findIndex((held, i) => held === address && line.class[i] !== 0)
      if (slot >= 0) return line.class[slot] as number
      if (line.overflow === 0) break
    }
    const range = table.flags & TABLE_FLAG.RANGES && this.#bit(table.range_filter, address >>> table.range_filter_shift)
    return range ? this.#ranges(table.root, table.ranges, table.root_shift, address) : 0
  }

  #ranges(root: number, ranges: number, shift: number, key: number): number {
    const word = this.#word(root, key >>> shift)
    const lines = Number((word >> 32n) & 0xffffn)
    if (lines === 0) return Number(word >> 48n)
    const first = ranges + Number(word & 0xffffffffn)
    const wanted = key % 2 ** shift
    let found = 0
    for (let line = first; line < first + lines; line++) {
      for (const entry of rangeLineCodec.decode(this.#view, line * LINE_SIZE).entry) {
        if (entry >>> 16 <= wanted) found = entry & 0xffff
      }
    }
    return found
  }

  #lookup6(high: bigint, low: bigint): number {
    const table = table6Codec.decode(this.#view, LINE_SIZE)
    const of64 = table.flags & TABLE_FLAG['64'] ? this.#block(high, BLOCK_64) : 0
    if (of64) return this.#tree(of64, low, (at) => deepLineCodec.decode(this.#view, at))
    const of48 = table.flags & TABLE_FLAG['48'] ? this.#block(high >> 16n, BLOCK_48) : 0
    if (of48) return this.#tree(of48, high & 0xffffn, (at) => this.#run(at))
    const of32 = table.flags & TABLE_FLAG['32'] ? this.#block(high >> 32n, BLOCK_32) : 0
    if (of32) return this.#tree(of32, high & 0xffffffffn, (at) => this.#run(at))
    if (!(table.flags & TABLE_FLAG.RANGES)) return 0
    return this.#ranges(table.root, table.ranges, table.root_shift, Number(high >> 32n))
  }

  #run(at: number): { start: readonly bigint[]; value: readonly number[] } {
    const { entry } = runLineCodec.decode(this.#view, at)
    return { start: entry.map((e) => e >> 32n), value: entry.map((e) => Number(e & 0xffffffffn)) }
  }

  #block(key: bigint, tag: number): number {
    const table = table6Codec.decode(this.#view, LINE_SIZE)
    const hash = ((key * table.multiplier) & 0xffffffffffffffffn) >> 32n
    if (!this.#bit(table.filter, Number(hash >> BigInt(table.filter_shift)))) return 0
    const bucket = Number((hash * BigInt(table.block_lines)) >> 32n)
    for (let probe = 0; probe < BLOCK_PROBES; probe++) {
      const line = blockLineCodec.decode(this.#view, (table.blocks + bucket + probe) * LINE_SIZE)
      const slot = line.prefix.findIndex((held, i) => held === key && ((line.value[i] as number) & BLOCK_64) === tag)
      if (slot >= 0) return line.value[slot] as number
      if (line.overflow === 0) return 0
    }
    return 0
  }

  #tree(
    root: number,
    key: bigint,
    node: (at: number) => { readonly start: readonly bigint[]; readonly value: readonly number[] },
  ): number {
    const { trees } = table6Codec.decode(this.#view, LINE_SIZE)
    let value = root
    for (let level = 0; (value & VALUE_TREE) !== 0; level++) {
      if (level === TREE_DEPTH) throw new Error('tree too deep')
      const line = node((trees + ((value & VALUE_MASK) >>> 0)) * LINE_SIZE)
      value = line.value[line.start.findLastIndex((start) => start <= key)] as number
    }
    return value & VALUE_MASK
  }
}

const min = (a: bigint, b: bigint): bigint => (a < b ? a : b)

const ports = fc.constantFrom<Scope['sourcePorts']>(
  [],
  [{ first: 53, last: 53 }],
  [{ first: 0, last: 65535 }],
  [
    { first: 22, last: 22 },
    { first: 5900, last: 5999 },
  ],
)

const traffic: fc.Arbitrary<Scope> = fc.oneof(
  fc.constant(ANY),
  fc.constantFrom<Scope>(
    { ...ANY, protocol: 'icmp' },
    { ...ANY, protocol: 1 },
    { ...ANY, protocol: 58 },
    { ...ANY, protocol: 47 },
  ),
  fc.record({ protocol: fc.constantFrom(6, 17), sourcePorts: ports, destinationPorts: ports }),
)

const scope: fc.Arbitrary<Scope> = fc
  .tuple(
    traffic,
    fc.option(fc.subarray(['eth0', 'eth1', 'eth2', 'eth9'], { minLength: 1 }), { nil: undefined, freq: 1 }),
    fc.option(fc.constantFrom('pass' as const, 'judge' as const, 'none' as const), { nil: undefined, freq: 1 }),
  )
  .map(([of, interfaces, sockets]) => ({
    ...of,
    ...(interfaces && { interfaces }),
    ...(sockets === 'none' ? of.protocol === 6 && { socket: sockets } : sockets && { established: sockets }),
  }))

/**
 * Ranges that are likely to meet: around a few centres, of all sizes, at the edges of the space, of cells and of lines.
 */
function arbitraryRange(family: Family): fc.Arbitrary<BigRange> {
  const bits = Number(bitsOf(family))
  const last = lastOf(family)
  const centres = (
    family === 4
      ? [0n, 0x0a000000n, 0x0a00ffffn, 0xc0000200n, 0x80000000n, ALL4]
      : [0n, 1n, 0x20010db8n << 96n, (0x20010db8n << 96n) + (1n << 80n), (0x20010db8n << 96n) + (0xffffn << 64n), ALL6]
  ).map((centre) => fc.bigInt({ min: 0n, max: 300n }).map((near) => (centre + near * 5n) & last))
  const value = fc.oneof(...centres, fc.bigInt({ min: 0n, max: last }))
  const lengths =
    family === 4
      ? fc.integer({ min: 0, max: 32 })
      : fc.constantFrom(0, 3, 20, 31, 32, 33, 48, 49, 56, 63, 64, 65, 112, 127)
  return fc.oneof(
    value.map((address): BigRange => [address, address]),
    fc.tuple(value, lengths).map(([address, length]) => prefix(family, address, length)),
    fc.tuple(value, fc.bigInt({ min: 0n, max: 40n })).map(([from, size]): BigRange => [from, min(from + size, last)]),
    fc.tuple(value, fc.nat(bits - 1)).map(([from, shift]): BigRange => {
      const to = from + (1n << BigInt(shift)) - 3n
      return [from, min(to < from ? from : to, last)]
    }),
  )
}

const set: fc.Arbitrary<AddressSet> = fc
  .record({
    v4: fc.array(arbitraryRange(4), { maxLength: 25 }),
    v6: fc.array(arbitraryRange(6), { maxLength: 25 }),
  })
  .map(({ v4, v6 }) => addresses(v4, v6))

/** Canonical states of up to five lists with up to three scopes each. */
export const arbitraryState: fc.Arbitrary<State> = fc
  .tuple(
    fc.array(
      fc.tuple(
        fc.constantFrom<List['kind']>('allowlist', 'blocklist'),
        fc.uniqueArray(fc.tuple(scope, set), { maxLength: 3, selector: ([one]) => scopeKey(one) }),
      ),
      { maxLength: 5 },
    ),
    fc.constantFrom<'pass' | 'drop'>('pass', 'drop'),
  )
  .map(([lists, verdict]) =>
    stateOf(
      lists.map(([kind, sets], i) => listOf(kind, `list-${(i * 3) % 5}`, sets)),
      verdict,
    ),
  )
