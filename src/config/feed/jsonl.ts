// JSON lines, the format of Spamhaus and others: one object per line, with the entry in one of its fields. A line
// `{"type":"metadata",…}` gives the time and the terms of the feed.

import { type Explanation, explainRange, rangeBuffer, readRange, readRangeText } from '../entries/range.ts'
import { listed, quote, show } from '../text/show.ts'
import { eachLine, findByte, startsWith, trimEnd } from './lines.ts'
import type { Choice, Column, Sink, Text } from './sink.ts'

const QUOTE = 0x22
const OPEN = 0x7b
const BRACE = 0x7d

/** Fields that may hold the entry if the config names no `column`; the first that an object has wins. */
export const FIELDS = ['cidr', 'network', 'prefix', 'range', 'subnet', 'ip', 'address', 'value'] as const

/** Metadata that a feed contains about itself. */
export interface Metadata {
  /** Unix time in seconds. */
  readonly updatedAt: number | undefined
  /** Copyright, terms of use and such. */
  readonly notes: readonly string[]
}

export const NO_METADATA: Metadata = { updatedAt: undefined, notes: [] }

/** Longest line that is parsed, in bytes. */
const LONGEST = 65_536

type Fields = Readonly<Record<string, unknown>>

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
  } catch {
    return undefined
  }
}

/** Whether a field has the value that `where` asks for. */
export const equals = (value: unknown, wanted: string | number | boolean): boolean =>
  typeof value !== 'object' && value !== undefined && String(value) === String(wanted)

const fieldOf = (object: Fields, field: string | undefined): unknown =>
  field !== undefined && Object.hasOwn(object, field) ? object[field] : undefined

function metadataOf({ timestamp, copyright, terms, source }: Fields): Metadata {
  const seconds = typeof timestamp === 'number' ? timestamp : Date.parse(String(timestamp)) / 1000
  const notes = [source, copyright, terms].filter((note) => typeof note === 'string')
  return { updatedAt: Number.isFinite(seconds) ? Math.floor(seconds) : undefined, notes }
}

function explain(text: string, field: string | undefined): Explanation {
  const object = parseObject(text)
  if (object === undefined) {
    const hint = /^[[\]]/.test(text) ? 'write one object per line: jq -c ".[]" FILE' : 'write one JSON object per line'
    return { code: 'E020', message: 'the line is not a JSON object', hint }
  }
  const value = fieldOf(object, field)
  if (typeof value === 'string') return explainRange(value)
  if (field !== undefined && value !== undefined)
    return { code: 'E020', message: `the field ${quote(field)} holds ${show(value, String(value))}, not an address` }
  const named = field === undefined ? `none of the fields ${listed(FIELDS, 'and')}` : `no field ${quote(field)}`
  const keys = Object.keys(object).slice(0, 8).map(quote).join(', ')
  const hint =
    keys === '' ? undefined : `name the field that holds the address: \`column: NAME\`; the fields are ${keys}`
  return { code: 'E020', message: `the object has ${named}`, ...(hint && { hint }) }
}

/** Whether the first line of a file is a whole object with an entry or metadata, and not the start of a document. */
export function isJsonLine(bytes: Buffer, from: number, lineTo: number, column: Column | undefined): boolean {
  const to = trimEnd(bytes, from, lineTo)
  if (bytes[to - 1] !== BRACE || to - from > LONGEST) return false
  const object = parseObject(bytes.toString('utf8', from, to))
  if (object === undefined || (column !== undefined && typeof object[String(column)] === 'string')) return true
  const isNested = Object.values(object).some((value) => typeof value === 'object' && value !== null)
  return !isNested || object['type'] === 'metadata' || FIELDS.some((name) => typeof object[name] === 'string')
}

/**
 * Adds the entry of every object to `sink`.
 *
 * @param choice `column` is the field that holds the entry; default: the first of FIELDS that an object has
 */
export function readJsonLines({ bytes, from: start }: Text, sink: Sink, choice: Choice): Metadata {
  const range = rangeBuffer()
  const column = choice.column === undefined ? undefined : String(choice.column)
  const { where } = choice
  let metadata = NO_METADATA
  // With a condition no line is read by its beginning alone.
  let head = where === undefined ? `{"${column ?? 'cidr'}":"` : '\n'
  const slow = (text: string, line: number): boolean => {
    const object = parseObject(text)
    if (object === undefined) return false
    const field = column ?? FIELDS.find((name) => Object.hasOwn(object, name))
    const value = fieldOf(object, field)
    if (where !== undefined && value !== undefined && !equals(fieldOf(object, String(where.column)), where.equals)) {
      return true
    }
    if (typeof value === 'string' && readRangeText(value, range)) {
      if (where === undefined) head = `{"${field}":"`
      sink.add(range, line)
      return true
    }
    if (value !== undefined || object['type'] !== 'metadata') return false
    metadata = metadataOf(object)
    return true
  }
  eachLine(bytes, start, (line, lineFrom, from, to) => {
    // Most feeds put the entry into the first field of every object: read it there, without parsing the rest.
    if (startsWith(bytes, from, to, head) && bytes[to - 1] === BRACE) {
      const first = from + head.length
      const last = findByte(bytes, QUOTE, first, to)
      if (last > 0 && readRange(bytes, first, last, range)) {
        sink.add(range, line)
        return
      }
    }
    // Checked before parsing, because millions of lines that are not objects would throw as many exceptions.
    const object = bytes[from] === OPEN && bytes[to - 1] === BRACE
    if (object && to - from <= LONGEST && slow(bytes.toString('utf8', from, to), line)) return
    sink.bad(line, lineFrom, from, to, (text) => {
      const fields = column === undefined ? parseObject(text) : undefined
      return explain(text, column ?? FIELDS.find((name) => fields && Object.hasOwn(fields, name)))
    })
  })
  return metadata
}
