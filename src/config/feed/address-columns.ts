// Which columns of a CSV file hold addresses, by its first rows: a column of single addresses beside another may be the
// first and last address of ranges, and reading one of the two would lose almost all addresses.

import { compareAddresses, parseAddress } from '../../model/text.ts'
import { fieldsOf, rowOf, separatorOf } from './fields.ts'
import { eachLine } from './lines.ts'
import type { Text } from './sink.ts'

/** Rows that are looked at, besides the header. */
const SAMPLE = 200

/** Bytes that are looked at. */
const SAMPLE_BYTES = 65_536

/** As many rows in which the first address is not above the second are no coincidence. */
const ENOUGH = 8

/** The first rows of a file, split into fields. */
export interface Sample {
  readonly rows: readonly (readonly string[])[]
  /** Whether the file begins with a row that names the columns. */
  readonly header: boolean
}

/** The first rows of a file that hold an address, as fields. */
export function sampleOf({ bytes, from }: Text): Sample {
  const rows: (readonly string[])[] = []
  const end = Math.min(bytes.length, from + SAMPLE_BYTES)
  // Without the last line, which may be cut off.
  const cut = end === bytes.length ? end : bytes.lastIndexOf(0x0a, end)
  let separator = -1
  eachLine(bytes.subarray(0, Math.max(from, cut)), from, (_line, lineFrom, start, to) => {
    if (rows.length > SAMPLE) return
    if (separator < 0) separator = separatorOf(bytes, start, to)
    rows.push(fieldsOf(bytes, ...rowOf(bytes, lineFrom, start, to, separator), separator))
  })
  const isHeader = (rows[0] ?? []).every((field) => parseAddress(field) === undefined)
  return { rows: isHeader ? rows.slice(1) : rows, header: isHeader }
}

/** Indexes (from 0) of the columns that hold one address in every row. */
export function addressColumns({ rows }: Pick<Sample, 'rows'>): readonly number[] {
  const [first = []] = rows
  return first.flatMap((_, index) => (rows.every((row) => parseAddress(row[index] ?? '') !== undefined) ? [index] : []))
}

/** Whether the addresses of two columns are the first and last of ranges in every row, not just by coincidence. */
export function areBounds({ rows }: Sample, first: number, last: number): boolean {
  let wide = 0
  let near = true
  for (const row of rows) {
    const [from, to] = [parseAddress(row[first] ?? ''), parseAddress(row[last] ?? '')]
    if (from === undefined || to === undefined || from.family !== to.family) return false
    const order = compareAddresses(from.words, to.words)
    if (order > 0) return false
    if (order < 0) wide++
    near &&= (from.words[0] as number) >>> 24 === (to.words[0] as number) >>> 24
  }
  return wide > 0 && (near || rows.length >= ENOUGH)
}

/**
 * The two neighbouring columns of ranges, if the file has one such pair and no other column of addresses; `several`: it
 * has more; undefined: it has no two columns of addresses.
 */
export function rangeColumns(sample: Sample): readonly [first: number, last: number] | 'several' | undefined {
  const columns = addressColumns(sample)
  if (columns.length < 2) return undefined
  const [first, last] = columns as [number, number]
  // Two addresses and nothing else on each line may as well be a list that has two entries on each.
  const isTable = sample.header || (sample.rows[0]?.length ?? 0) > 2
  const isPair = columns.length === 2 && last === first + 1
  return isTable && isPair && areBounds(sample, first, last) ? [first, last] : 'several'
}
