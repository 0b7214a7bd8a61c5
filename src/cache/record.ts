// Records of a cache: a few facts as JSON, and columns of numbers in their in-memory form, so that reading a million of
// them takes no longer than copying them.

import type { Cache } from './none.ts'

const encoder = new TextEncoder()

/** Alignment of columns in bytes. */
const ALIGNMENT = 8

const bytesOf = (column: Uint32Array): Uint8Array => new Uint8Array(column.buffer, column.byteOffset, column.byteLength)

const paddingFor = (size: number): Uint8Array => new Uint8Array((ALIGNMENT - (size % ALIGNMENT)) % ALIGNMENT)

/** A record as pieces of bytes. `facts` must survive JSON. */
export function packRecord(facts: unknown, columns: readonly Uint32Array[]): Uint8Array[] {
  const text = encoder.encode(JSON.stringify({ facts, lengths: columns.map(({ length }) => length) }))
  const size = new Uint8Array(Uint32Array.of(text.length, 0).buffer)
  return [
    size,
    text,
    paddingFor(text.length),
    ...columns.flatMap((column) => [bytesOf(column), paddingFor(column.byteLength)]),
  ]
}

/** The content of a record; the facts are as untyped as any JSON. */
export interface CachedRecord {
  readonly facts: unknown
  readonly columns: readonly Uint32Array[]
}

/**
 * The value of the record that a cache has under a name; undefined without a usable one. `decode` throws if the record is
 * not what it expects, so that a cache of any content costs time and never fails a command.
 */
export function recallRecord<T>(
  cache: Cache | undefined,
  name: string,
  decode: (record: CachedRecord) => T,
): T | undefined {
  const bytes = cache?.read(name)
  const record = bytes && unpackRecord(bytes)
  if (!record) return undefined
  try {
    return decode(record)
  } catch {
    return undefined
  }
}

/** The reverse of packRecord; the columns are views of the bytes, which are aligned to 8. undefined: not a record. */
export function unpackRecord(bytes: Uint8Array): CachedRecord | undefined {
  try {
    const [size = 0] = new Uint32Array(bytes.buffer, bytes.byteOffset, 1)
    const text = new TextDecoder().decode(bytes.subarray(8, 8 + size))
    const { facts, lengths } = JSON.parse(text) as { facts: unknown; lengths: number[] }
    let at = 8 + size + paddingFor(size).length
    const columns = lengths.map((length) => {
      const column = new Uint32Array(bytes.buffer, bytes.byteOffset + at, length)
      at += length * 4 + paddingFor(length * 4).length
      return column
    })
    return { facts, columns }
  } catch {
    return undefined
  }
}
