// Databases in the format of MaxMind (https://maxmind.github.io/MaxMind-DB/): every network with the country or the number of the
// autonomous system that it belongs to. The library decodes metadata and records; it has no way to list networks, so
// this file walks the tree. A file of any content is refused or read, in bounded time.

import { type CountryResponse, Reader } from 'mmdb-lib'
import type { Family, Ranges } from '../../model/address.ts'
import { formatAddress } from '../../model/text.ts'
import { EntryCollector, type EntryColumns } from '../entries/entries.ts'

/** The attribute that chooses networks. */
export type GeoKind = 'country' | 'asn'

/** The networks of one country or autonomous system. */
export interface GeoNetworks {
  readonly entries: { readonly v4: EntryColumns; readonly v6: EntryColumns }
  readonly v4: Ranges
  readonly v6: Ranges
}

export interface GeoDatabase {
  /** As the database calls itself. */
  readonly type: string
  /** Unix time in seconds. */
  readonly builtAt: number
  /** By code: `DE`, `64496`. Only codes that were asked for and that the database has. */
  readonly networks: ReadonlyMap<string, GeoNetworks>
  /** All codes of the database, sorted. */
  readonly codes: readonly string[]
}

/** Nodes of a tree; the largest known databases have some 50 million. */
const MOST_NODES = 2 ** 28
/** The 16 zero bytes between the tree and the data. */
const SEPARATOR = 16

/** A record of the databases of MaxMind, DB-IP and IPinfo. */
type GeoRecord = Readonly<Record<string, unknown>> | string | null

const CODES: Readonly<Record<GeoKind, (record: Readonly<Record<string, unknown>>) => unknown>> = {
  country: ({ country, country_code: code }) =>
    typeof country === 'object' && country !== null ? (country as { iso_code?: unknown }).iso_code : (code ?? country),
  asn: ({ autonomous_system_number: number, asn }) =>
    number ?? (typeof asn === 'string' ? asn.replace(/^AS/, '') : asn),
}

/** The code of a record; undefined: it has none. */
function codeOf(kind: GeoKind, record: GeoRecord): string | undefined {
  const code = typeof record === 'object' && record !== null ? CODES[kind](record) : undefined
  return typeof code === 'string' || typeof code === 'number' ? String(code) : undefined
}

interface Tree {
  readonly bytes: Buffer
  readonly nodes: number
  /** Bits of one of the two records of a node. */
  readonly bits: number
  readonly family: Family
  readonly dataEnd: number
}

/** Throws for metadata that do not fit the file. */
function treeOf(bytes: Buffer, { metadata }: Reader<CountryResponse>): Tree {
  const { nodeCount, recordSize, ipVersion, searchTreeSize } = metadata
  const isSound =
    Number.isSafeInteger(nodeCount) &&
    nodeCount > 0 &&
    nodeCount <= MOST_NODES &&
    [24, 28, 32].includes(recordSize) &&
    (ipVersion === 4 || ipVersion === 6) &&
    searchTreeSize + SEPARATOR <= bytes.length
  if (!isSound) throw new Error('its metadata do not fit the file')
  const family = ipVersion as Family
  return { bytes, nodes: nodeCount, bits: recordSize, family, dataEnd: nodeCount + bytes.length - searchTreeSize }
}

/** A record of a node: another node, `nodes` for nothing, or a place in the data. */
function child({ bytes, bits }: Tree, node: number, right: number): number {
  const at = (node * bits) / 4
  if (bits === 24) return bytes.readUIntBE(at + right * 3, 3)
  if (bits === 32) return bytes.readUInt32BE(at + right * 4)
  const middle = bytes[at + 3] as number
  return right === 0
    ? ((middle & 0xf0) << 20) | bytes.readUIntBE(at, 3)
    : ((middle & 0x0f) << 24) | bytes.readUIntBE(at + 4, 3)
}

/** The node below which IPv4 addresses lie: 96 zero bits into a tree of IPv6. */
function firstOf4(tree: Tree): number {
  let node = 0
  for (let depth = 0; depth < 96 && node < tree.nodes && tree.family === 6; depth++) node = child(tree, node, 0)
  return node
}

type Visit = (pointer: number, family: Family, start: Uint32Array, length: number) => void

/**
 * Calls `visit` with each network in ascending order: its place in the data, first address and prefix length. Networks of
 * IPv6 that stand for IPv4 ones (6to4 and others) are the same nodes as these, and are left out. Throws if the nodes are
 * no tree.
 */
function walk(tree: Tree, visit: Visit): void {
  const { nodes, family } = tree
  const seen = new Uint8Array(nodes)
  const four = firstOf4(tree)
  const bound = new Uint32Array(4)
  const leaf = (node: number, family: Family, depth: number): void => {
    if (node === nodes) return
    if (node >= tree.dataEnd) throw new Error('a network points behind the data')
    visit(node, family, bound, depth)
  }
  const enter = (node: number, family: Family, depth: number): void => {
    if (depth >= (family === 4 ? 32 : 128)) throw new Error('the tree is too deep')
    if (seen[node]) throw new Error('two networks share a part of the tree')
    seen[node] = 1
    const [word, bit] = [depth >>> 5, 0x80000000 >>> (depth & 31)]
    const below = (next: number): void => {
      if (family === 4 || next !== four || four >= nodes) descend(next, family, depth + 1)
    }
    below(child(tree, node, 0))
    bound[word] = ((bound[word] as number) | bit) >>> 0
    below(child(tree, node, 1))
    bound[word] = ((bound[word] as number) & ~bit) >>> 0
  }
  const descend = (node: number, family: Family, depth: number): void =>
    node >= nodes ? leaf(node, family, depth) : enter(node, family, depth)
  // A tree of IPv6 whose IPv4 part is one network, or nothing, has a leaf in its place.
  if (family === 6) {
    if (four !== nodes) descend(four, 4, 0)
    descend(0, 6, 0)
  } else descend(0, 4, 0)
}

/** The last address of a network. */
function lastOf(family: Family, start: Uint32Array, length: number, end: Uint32Array): void {
  const width = family === 4 ? 1 : 4
  for (let word = 0; word < width; word++) {
    const bits = Math.min(32, Math.max(0, length - word * 32))
    end[word] = bits === 32 ? (start[word] as number) : ((start[word] as number) | (0xffffffff >>> bits)) >>> 0
  }
}

/** Reads a database. Throws an Error that says why it cannot be read. `wanted`: codes. */
export function readGeo(bytes: Buffer, kind: GeoKind, wanted: ReadonlySet<string>): GeoDatabase {
  const reader = new Reader<CountryResponse>(bytes)
  const tree = treeOf(bytes, reader)
  const codes = new Map<number, string | undefined>()
  const found = new Map<string, { readonly v4: EntryCollector; readonly v6: EntryCollector }>()
  const known = new Set<string>()
  const end = new Uint32Array(4)
  walk(tree, (pointer, family, start, length) => {
    // Records are shared: an address of the first network of each is enough to read it.
    if (!codes.has(pointer)) {
      const code = codeOf(kind, reader.get(formatAddress(family, start)) as GeoRecord)
      codes.set(pointer, code)
      if (code !== undefined) known.add(code)
    }
    const code = codes.get(pointer)
    if (code === undefined || !wanted.has(code)) return
    const into = found.get(code) ?? { v4: new EntryCollector(4), v6: new EntryCollector(6) }
    found.set(code, into)
    lastOf(family, start, length, end)
    into[family === 4 ? 'v4' : 'v6'].add(start, end, 0)
  })
  const { databaseType: type, buildEpoch } = reader.metadata
  return {
    type,
    builtAt: Math.floor(buildEpoch.getTime() / 1000),
    codes: [...known].sort(),
    networks: new Map(
      [...found].map(([code, { v4, v6 }]) => [
        code,
        { entries: { v4: v4.entries, v6: v6.entries }, v4: v4.ranges, v6: v6.ranges },
      ]),
    ),
  }
}
