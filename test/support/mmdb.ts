// Writes databases in the format of MaxMind (https://maxmind.github.io/MaxMind-DB/), for tests of the reader.

import { type Prefix, parsePrefix } from '../../src/model/text.ts'

type Value = string | number | boolean | { readonly [key: string]: Value } | readonly Value[]

/** Control bytes of a value: its type and size. */
function head(type: number, size: number): Buffer {
  const [first, extended] = type < 8 ? [type << 5, []] : [0, [type - 7]]
  if (size < 29) return Buffer.from([first | size, ...extended])
  if (size < 285) return Buffer.from([first | 29, ...extended, size - 29])
  return Buffer.from([first | 30, ...extended, (size - 285) >>> 8, (size - 285) & 0xff])
}

function uint(type: number, value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Buffer.concat([head(type, bytes.length), Buffer.from(bytes)])
}

/** A value of the data section. */
function encode(value: Value): Buffer {
  if (typeof value === 'string') return Buffer.concat([head(2, Buffer.byteLength(value)), Buffer.from(value)])
  if (typeof value === 'number') return uint(value > 0xffffffff ? 9 : 6, value)
  if (typeof value === 'boolean') return head(14, Number(value))
  if (Array.isArray(value)) return Buffer.concat([head(11, value.length), ...value.map(encode)])
  const fields = Object.entries(value)
  return Buffer.concat([head(7, fields.length), ...fields.flatMap(([key, one]) => [encode(key), encode(one)])])
}

/** `undefined`: nothing there; a number: the record with this index. */
type Branch = Node | number | undefined
interface Node {
  children: [Branch, Branch]
}

const bitOf = ({ start }: Pick<Prefix, 'start'>, at: number): 0 | 1 =>
  (((start[at >>> 5] as number) >>> (31 - (at & 31))) & 1) as 0 | 1

/** Sets a network; one that is inside of another wins. */
function insert(root: Node, bits: readonly (0 | 1)[], record: number): void {
  let node = root
  for (const bit of bits.slice(0, -1)) {
    const next = node.children[bit]
    if (typeof next === 'object') node = next
    else {
      const made: Node = { children: [next, next] }
      node.children[bit] = made
      node = made
    }
  }
  node.children[bits.at(-1) as 0 | 1] = record
}

export interface Database {
  /** Networks with their records, wider ones first. */
  readonly networks: readonly (readonly [prefix: string, record: Value])[]
  readonly type?: string
  readonly recordSize?: 24 | 28 | 32
  readonly ipVersion?: 4 | 6
  /** Unix time in seconds. */
  readonly builtAt?: number
  /** Whether 6to4 addresses lead to the IPv4 ones, as in the databases of MaxMind. */
  readonly aliased?: boolean
  readonly metadata?: Readonly<Record<string, Value>>
}

const lengthOf = (prefix: string): number => Number(/\/(\d+)$/.exec(prefix)?.[1])

function treeOf({ networks, ipVersion = 6, aliased = false }: Database, records: Map<string, number>): Node {
  const root: Node = { children: [undefined, undefined] }
  for (const [text, record] of networks) {
    const prefix = parsePrefix(text)
    if (!prefix) throw new Error(`${text} is not a prefix`)
    const own = Array.from({ length: lengthOf(text) }, (_, at) => bitOf(prefix, at))
    const bits = prefix.family === 4 && ipVersion === 6 ? [...Array<0>(96).fill(0), ...own] : own
    insert(root, bits, records.get(JSON.stringify(record)) as number)
  }
  if (!aliased) return root
  let four: Branch = root
  for (let depth = 0; depth < 96 && typeof four === 'object'; depth++) four = four.children[0]
  const sixToFour = Array.from({ length: 16 }, (_, at) => ((0x2002 >>> (15 - at)) & 1) as 0 | 1)
  insert(root, sixToFour, 0)
  let above: Node = root
  for (const bit of sixToFour.slice(0, -1)) above = above.children[bit] as Node
  above.children[sixToFour.at(-1) as 0 | 1] = four
  return root
}

/** The bytes of a database. */
export function database(options: Database): Buffer {
  const { networks, type = 'Test-Country', recordSize = 28, ipVersion = 6, builtAt = 1_790_000_000 } = options
  const records = new Map<string, number>()
  for (const [, record] of networks) {
    const key = JSON.stringify(record)
    if (!records.has(key)) records.set(key, records.size)
  }
  const nodes: Node[] = []
  const numbers = new Map<Node, number>()
  const number = (branch: Branch): void => {
    if (typeof branch !== 'object' || numbers.has(branch)) return
    numbers.set(branch, nodes.length)
    nodes.push(branch)
    for (const next of branch.children) number(next)
  }
  number(treeOf(options, records))
  const data = [...records.keys()].map((key) => encode(JSON.parse(key) as Value))
  const places: number[] = []
  data.reduce((at, { length }) => {
    places.push(at)
    return at + length
  }, 0)
  const recordOf = (branch: Branch): number => {
    if (branch === undefined) return nodes.length
    return typeof branch === 'number' ? nodes.length + 16 + (places[branch] as number) : (numbers.get(branch) as number)
  }
  const tree = nodes.map(({ children }) => {
    const [left, right] = children.map(recordOf) as [number, number]
    const bytes = Buffer.alloc(recordSize / 4)
    if (recordSize === 32) {
      bytes.writeUInt32BE(left)
      bytes.writeUInt32BE(right, 4)
    } else {
      bytes.writeUIntBE(left & 0xffffff, 0, 3)
      bytes.writeUIntBE(right & 0xffffff, recordSize / 4 - 3, 3)
      if (recordSize === 28) bytes[3] = ((left >>> 24) << 4) | (right >>> 24)
    }
    return bytes
  })
  const metadata = encode({
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: builtAt,
    database_type: type,
    description: { en: 'a test' },
    ip_version: ipVersion,
    languages: ['en'],
    node_count: nodes.length,
    record_size: recordSize,
    ...options.metadata,
  })
  const marker = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1')
  return Buffer.concat([...tree, Buffer.alloc(16), ...data, marker, metadata])
}

/** A record of a database of countries. */
export const country = (code: string): Value => ({ country: { iso_code: code }, continent: { code: 'EU' } })
/** A record of a database of autonomous systems. */
export const system = (number: number): Value => ({
  autonomous_system_number: number,
  autonomous_system_organization: `System ${number}`,
})
