// Messages of DNS (RFC 1035 §4): writes a query, reads a response. Bounded by the length of the message, whatever its
// content. Pure.

import type { RecordType, ResponseCode } from '../../../model/health.ts'
import { formatAddress, parseAddress } from '../../../model/text.ts'

/** RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 2782. */
const RECORD_NUMBERS: Readonly<Record<RecordType, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
}
const INTERNET = 1

const RCODES: readonly ResponseCode[] = ['noerror', 'formerr', 'servfail', 'nxdomain', 'notimp', 'refused']

/** Bytes of the header: id, flags and four counts. */
const HEADER = 12
const IS_RESPONSE = 0x8000
const IS_TRUNCATED = 0x0200
const RECURSION_DESIRED = 0x0100

export interface Question {
  /** Without the final dot; empty = the root. */
  readonly query: string
  readonly record: RecordType
}

export interface Response {
  /** A name of ResponseCode, or a number. */
  readonly rcode: string
  readonly isTruncated: boolean
  /** Content of the records of the type that was asked for: addresses, names or texts. Empty if truncated. */
  readonly answers: readonly string[]
}

function encodeName(name: string): Buffer {
  const labels = name === '' ? [] : name.split('.')
  return Buffer.concat([
    ...labels.flatMap((label) => [Buffer.from([label.length]), Buffer.from(label, 'latin1')]),
    Buffer.of(0),
  ])
}

function encodeQuestion({ query, record }: Question): Buffer {
  const tail = Buffer.alloc(4)
  tail.writeUInt16BE(RECORD_NUMBERS[record], 0)
  tail.writeUInt16BE(INTERNET, 2)
  return Buffer.concat([encodeName(query), tail])
}

/** A query. `id`: 16 bits that the response repeats. */
export function encodeQuery(id: number, question: Question): Buffer {
  const header = Buffer.alloc(HEADER)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(RECURSION_DESIRED, 2)
  header.writeUInt16BE(1, 4)
  return Buffer.concat([header, encodeQuestion(question)])
}

/** Reads a message from `at`; reading beyond its end throws a RangeError, as Buffer does. */
class Reader {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  number(): number {
    this.at += 2
    return this.#bytes.readUInt16BE(this.at - 2)
  }

  /** `length` bytes. */
  bytes(length: number): Buffer {
    if (this.at + length > this.#bytes.length) throw new RangeError('the message ends early')
    this.at += length
    return this.#bytes.subarray(this.at - length, this.at)
  }

  /** A name in lower case, without the final dot. Pointers lead backwards only (RFC 1035 §4.1.4), so that all end. */
  name(): string {
    const labels: string[] = []
    let from = this.at
    let end: number | undefined
    let before = from
    for (;;) {
      const length = this.#bytes.readUInt8(from)
      if (length >= 0xc0) {
        end ??= from + 2
        const target = this.#bytes.readUInt16BE(from) & 0x3fff
        if (target >= before) throw new RangeError('a name points forwards')
        before = target
        from = target
        continue
      }
      if (length > 63 || from + 1 + length > this.#bytes.length) throw new RangeError('a label ends early')
      if (length === 0) break
      labels.push(this.#bytes.toString('latin1', from + 1, from + 1 + length))
      from += 1 + length
    }
    this.at = end ?? from + 1
    return labels.join('.').toLowerCase()
  }
}

/** Content of a record as text. */
function contentOf(bytes: Buffer, at: number, length: number, record: RecordType): string {
  const reader = new Reader(bytes, at)
  switch (record) {
    case 'A':
    case 'AAAA': {
      const data = reader.bytes(record === 'A' ? 4 : 16)
      const words = Uint32Array.from({ length: data.length / 4 }, (_, i) => data.readUInt32BE(i * 4))
      return formatAddress(record === 'A' ? 4 : 6, words)
    }
    case 'CNAME':
    case 'NS':
    case 'PTR':
    case 'SOA':
      return reader.name()
    case 'MX':
      reader.bytes(2)
      return reader.name()
    case 'SRV':
      reader.bytes(6)
      return reader.name()
    case 'TXT': {
      const parts: Buffer[] = []
      while (reader.at < at + length) parts.push(reader.bytes(reader.bytes(1).readUInt8()))
      return Buffer.concat(parts).toString()
    }
    default:
      return record satisfies never
  }
}

/** An expected answer in the form of Response.answers. */
export function canonicalAnswer(text: string, record: RecordType): string {
  const address = record === 'A' || record === 'AAAA' ? parseAddress(text) : undefined
  if (address) return formatAddress(address.family, address.words)
  return record === 'TXT' ? text : text.toLowerCase().replace(/\.$/, '')
}

/** Content of those of the next `count` records that have the type. */
function answersIn(bytes: Buffer, reader: Reader, count: number, record: RecordType): string[] {
  const answers: string[] = []
  for (let i = 0; i < count; i++) {
    reader.name()
    const [type, kind] = [reader.number(), reader.number()]
    reader.bytes(4)
    const length = reader.number()
    const { at } = reader
    reader.bytes(length)
    if (type === RECORD_NUMBERS[record] && kind === INTERNET) answers.push(contentOf(bytes, at, length, record))
  }
  return answers
}

function read(bytes: Buffer, id: number, { query, record }: Question): Response | undefined {
  const header = new Reader(bytes, 0)
  if (header.number() !== id) return undefined
  const flags = header.number()
  const [questions, count] = [header.number(), header.number()]
  if ((flags & IS_RESPONSE) === 0) return undefined
  const code = flags & 0xf
  const reader = new Reader(bytes, HEADER)
  // A server that cannot read the query repeats none.
  if (questions > 1 || (questions === 0 && code === 0)) return undefined
  if (questions === 1) {
    const isOurs = reader.name() === query.toLowerCase() && reader.number() === RECORD_NUMBERS[record]
    if (!isOurs || reader.number() !== INTERNET) return undefined
  }
  const isTruncated = (flags & IS_TRUNCATED) !== 0
  // A server may cut off records in the middle.
  const answers = isTruncated ? [] : answersIn(bytes, reader, count, record)
  return { rcode: RCODES[code] ?? `${code}`, isTruncated, answers }
}

/** The response to a query; undefined: the bytes are not, as if none had arrived. */
export function decodeResponse(bytes: Buffer, id: number, question: Question): Response | undefined {
  try {
    return read(bytes, id, question)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}
