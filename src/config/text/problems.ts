// The errors that the schema can find, in words: one function per kind, with the place and a hint.

import type { Location } from '../../diagnostics.ts'
import { nearest } from '../../model/nearest.ts'
import { parseRange } from '../../model/text.ts'
import type { Words } from '../generated/words.js'
import type { Report } from './report.ts'
import { listed, quote, show } from './show.ts'
import type { Source } from './source.ts'
import { at, type Placed } from './tree.ts'
import { aliased, homesOf, keysOf, wordsOf } from './words.ts'

/** Keys and indexes from the root of the file to a value. */
export type Path = readonly string[]

/** Context of all problems of one file. */
export interface Context {
  readonly root: Placed
  readonly source: Source
  readonly report: Report
}

const LARGEST_INTERFACE_COUNT = 63

const place = ({ root, source }: Context, path: Path): Location => {
  const { from, to, key } = at(root, path)
  return from === to && key ? source.locate(key.from, key.to) : source.locate(from, to)
}

function keyPlace({ root, source }: Context, path: Path): Location {
  const { key, from, to } = at(root, path)
  return key ? source.locate(key.from, key.to) : source.locate(from, to)
}

/** YAML reads an unquoted `2001:db8::` as the mapping `{ "2001:db8:": null }`. Returns the intended address, if any. */
function unquotedAddress(key: string): string | undefined {
  return [`${key}:`, key].find((text) => text.includes(':') && parseRange(text) !== undefined)
}

export function unknownKey(context: Context, path: Path, key: string): void {
  const keys = keysOf(path)
  const where = keyPlace(context, [...path, key])
  const address = unquotedAddress(key)
  if (address !== undefined && path[0] !== 'interfaces') {
    const message = `${address} is an IPv6 address, but YAML reads it as a mapping`
    context.report.error('E015', where, message, `quote it: "${address}"`)
    return
  }
  const isTime = ['ttl', 'timeout', 'expires', 'duration'].includes(key)
  const meant = nearest(key, keys) ?? aliased(path, key)
  const homes = homesOf(key)
  const hints = [
    meant !== undefined && `did you mean ${quote(meant)}?`,
    isTime &&
      /^(?:allow|block)list$/.test(path[0] ?? '') &&
      'entries of a file stay until they leave it; `xdp ban ADDRESS --ttl 1h` bans for a time',
    key === '<<' && 'merge keys are not part of YAML 1.2; repeat the values, or a whole value with an alias',
    homes.length > 0 &&
      `${quote(key)} is a key of ${listed(homes, 'and')}: ${homes.length > 1 ? 'write it in one of them' : 'check the indentation'}`,
    `the keys are ${keys.join(', ')}`,
  ]
  const hint = hints.find((text) => typeof text === 'string')
  const owner = path.length === 0 ? 'the top level' : (wordsOf(path)?.what ?? 'this mapping')
  context.report.error('E010', where, `${quote(key)} is not a key of ${owner}`, hint || undefined)
}

/** Whether a misspelt key, or an unquoted address, is why `key` is missing; that is an error already. */
export function isMistaken({ root }: Context, path: Path, key: string): boolean {
  const known = keysOf(path)
  const others = [...(at(root, path).fields?.keys() ?? [])].filter((other) => !known.includes(other))
  return others.some(
    (other) =>
      nearest(other, [key]) !== undefined || aliased(path, other) === key || unquotedAddress(other) !== undefined,
  )
}

export function missingKey(context: Context, path: Path, key: string): void {
  const hint = wordsOf([...path, key])?.whenMissing
  const { source } = context
  const where = path.length === 0 ? source.locate(context.root.from, context.root.from) : place(context, path)
  context.report.error('E011', where, `the key ${quote(key)} is missing`, hint)
}

/** Keys of an entry that say where its addresses are; it has exactly one of them. */
const SOURCES = ['cidr', 'cidrs', 'file', 'url', 'host', 'country', 'asn'] as const

/** Whether a misspelt key, or an unquoted address, is why an entry names no addresses; that is an error already. */
export function hasMistakenSource({ root }: Context, path: Path): boolean {
  const fields = at(root, path).fields ?? new Map<string, Placed>()
  const keys = [...fields.keys()]
  const isSource = (key: string | undefined): boolean => SOURCES.some((source) => source === key)
  const isMisspelt = (): boolean => keys.some((key) => nearest(key, SOURCES) ?? isSource(aliased(path, key)))
  return (!SOURCES.some((key) => fields.has(key)) && isMisspelt()) || keys.some((key) => unquotedAddress(key))
}

/** An entry with none, or several, of the keys that say where its addresses are. */
export function entrySource(context: Context, path: Path): void {
  const fields = at(context.root, path).fields ?? new Map<string, Placed>()
  const present = SOURCES.filter((key) => fields.has(key))
  const second = present[1]
  const where = second === undefined ? place(context, path) : keyPlace(context, [...path, second])
  const message =
    second === undefined
      ? 'the entry names no addresses'
      : `the entry has ${listed(present, 'and')}, but may have only one of them`
  const hint =
    second === undefined
      ? `add ${listed(SOURCES, 'or')}; \`cidr: any\` is every source`
      : 'split it into one entry per key'
  context.report.error('E026', where, message, hint)
}

/** Keys about sources outside of the config, by the definition that says which sources they need. */
const SOURCE_KEYS = {
  has_text: ['format', 'column', 'columns', 'where', 'on_bad_line', 'min_prefix'],
  has_list: ['max_shrink', 'max_growth'],
  has_source: ['exclude_private'],
  has_age: ['max_age'],
  has_remote: ['refresh'],
} as const
const SOURCES_OF: Readonly<Record<keyof typeof SOURCE_KEYS, readonly string[]>> = {
  has_text: ['file', 'url'],
  has_list: ['file', 'url', 'country', 'asn'],
  has_source: ['file', 'url', 'host'],
  has_age: ['file', 'url', 'host', 'country', 'asn'],
  has_remote: ['url', 'host'],
}

export type SourceRule = keyof typeof SOURCE_KEYS
export const SOURCE_RULES = Object.keys(SOURCE_KEYS) as readonly SourceRule[]

/** The keys of an entry that need another source than it has. */
export const keysWithoutSource = ({ root }: Context, path: Path, rule: SourceRule): readonly string[] =>
  SOURCE_KEYS[rule].filter((key) => at(root, path).fields?.has(key))

/** A key about a source outside of the config, in an entry without such a source. */
export function needsSource(context: Context, path: Path, key: string, sources: readonly string[]): void {
  const where = keyPlace(context, [...path, key])
  const hint = 'remove it, or move the addresses into a `file`'
  const kinds = listed(sources, 'or')
  const message = `${key} applies to entries with ${kinds}, but this entry has no ${kinds}`
  context.report.error('E038', where, message, sources.includes('file') ? hint : 'remove it')
}

/** Reports each key that needs another source. */
export function needsSources(context: Context, path: Path, rule: SourceRule): void {
  for (const key of keysWithoutSource(context, path, rule)) needsSource(context, path, key, SOURCES_OF[rule])
}

export function portsWithoutProtocol(context: Context, path: Path): void {
  const { fields } = at(context.root, path)
  const key = fields?.has('source_port') ? 'source_port' : 'destination_port'
  const protocol = fields?.get('protocol')
  const has = protocol === undefined ? 'no protocol' : `protocol ${show(protocol.value, '')}`.replaceAll('"', '')
  const message = `${key} needs protocol tcp or udp, but the entry has ${has}`
  context.report.error('E027', keyPlace(context, [...path, key]), message, 'add `protocol: tcp` or `protocol: udp`')
}

/** A key that is not a valid name of an interface or a service. */
export function badName(context: Context, path: Path, name: string): void {
  const names = wordsOf(path)?.names
  if (names === undefined) throw new Error(`the schema has no words about names at ${path.join('/')}`)
  const { what, expected, code } = names
  context.report.error(code, keyPlace(context, [...path, name]), `${quote(name)} is not a valid ${what}`, expected)
}

export function interfaceCount(context: Context, path: Path): void {
  const count = at(context.root, path).fields?.size ?? 0
  if (count === 0) {
    const hint = 'name one, for example `eth0: {}`; to remove everything, run `xdp destroy`'
    context.report.error('E034', keyPlace(context, path), 'the file names no interface', hint)
    return
  }
  const message = `the file names ${count} interfaces; one instance can have ${LARGEST_INTERFACE_COUNT}`
  context.report.error(
    'E205',
    keyPlace(context, path),
    message,
    'split the interfaces into groups, each with its config file and `--instance NAME`',
  )
}

/** A mapping without keys, of which it needs one. */
export function emptyMapping(context: Context, path: Path): void {
  const { what, expected, whenEmpty } = wordsOf(path) ?? UNKNOWN
  const hint = whenEmpty ?? `write ${expected}, or remove the key`
  context.report.error('E014', place(context, path), `${what} is empty`, hint)
}

export function repeated(context: Context, path: Path, index: number): void {
  const item = [...path, String(index)]
  const { value } = at(context.root, item)
  context.report.error(
    'E013',
    place(context, item),
    `${show(value, '')} appears twice in the list`,
    'remove one of them',
  )
}

const UNKNOWN: Words = { what: 'the value', expected: 'something else' }

/** A value of the wrong type, or outside the permitted values. */
export function badValue(context: Context, path: Path): void {
  const spec = wordsOf(path) ?? UNKNOWN
  const placed = at(context.root, path)
  const where = place(context, path)
  const { value } = placed
  if (value === null || value === '') {
    const hint = spec.whenEmpty ?? `write ${spec.expected}, or remove the key`
    context.report.error('E014', where, `${spec.what} ${value === null ? 'has no value' : 'is empty'}`, hint)
    return
  }
  const [address] = Object.keys(typeof value === 'object' ? value : {}).map(unquotedAddress)
  if (address !== undefined) {
    const message = `${address} is an IPv6 address, but YAML reads it as a mapping`
    context.report.error('E015', where, message, `quote it: "${address}"`)
    return
  }
  const written = context.source.text.slice(placed.from, placed.to)
  if (spec.secret) {
    context.report.error(codeOf(spec, value), where, `${spec.what} must be ${spec.expected}`, spec.hint)
    return
  }
  const message = `${spec.what} must be ${spec.expected}, not ${show(value, written)}`
  context.report.error(codeOf(spec, value), where, message, hintFor(spec, value, written))
}

function codeOf(spec: Words, value: unknown): NonNullable<Words['code']> {
  const scalar = typeof value !== 'object'
  if (scalar && typeof value !== 'string' && spec.kindCode !== undefined) return spec.kindCode
  if (typeof value === 'object' && Object.keys(value ?? {}).length > 0) return spec.code === 'E028' ? 'E028' : 'E012'
  if (spec.code !== undefined) return spec.code
  return spec.words !== undefined || Array.isArray(value) ? 'E013' : 'E012'
}

function hintFor(spec: Words, value: unknown, written: string): string | undefined {
  const { words, kindCode, code, hint } = spec
  if (kindCode !== undefined && (typeof value === 'number' || typeof value === 'boolean'))
    return `quote it: "${written}"`
  if (typeof value === 'string') return hintForText(spec, value)
  if (Array.isArray(value) && value.length === 0)
    return hint?.startsWith('for example') ? `name at least one, ${hint}` : 'name at least one, or remove the key'
  if (Array.isArray(value) && code === 'E029') return 'write one entry for each protocol'
  // Ports may be a word too, but mostly are numbers.
  return hint ?? (words && code !== 'E028' ? `write ${listed(words, 'or')}` : undefined)
}

function hintForText({ words, code, hint }: Words, value: string): string | undefined {
  const meant = words && nearest(value, words)
  if (meant !== undefined) return `did you mean ${meant}?`
  const isNumber = /^\d+$/.test(value)
  if (isNumber && (code === 'E028' || code === 'E029')) return `write it without quotes: ${value}`
  if (code === 'E028' && /^\d+-$/.test(value)) return `write both ends, for example "${value}65535"`
  if (code === 'E028' && value.includes(','))
    return `write a list: [${value
      .split(',')
      .map((port) => port.trim())
      .join(', ')}]`
  if (code === 'E028' && /^(?!(?:any|all)$)[a-z][a-z0-9-]+$/i.test(value))
    return `write its number, which \`getent services ${value}\` shows`
  return hint ?? (words && `write ${listed(words, 'or')}`)
}
