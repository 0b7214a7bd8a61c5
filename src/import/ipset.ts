// `ipset save`: one `create` line per set and one `add` line per entry. A set may have a million entries, so lines are
// read as bytes, and only unusual lines become strings. Format: ipset(8), "ipset save". With `nomatch` the longest
// prefix wins: ipset(8), "hash:net".

import { type Diagnostic, XdpError } from '../diagnostics.ts'
import type { AddressSet } from '../model/address.ts'
import { EMPTY_SET, subtract, union } from '../model/ranges.ts'
import { ANY } from '../model/scope.ts'
import { parseAddress } from '../model/text.ts'
import { RangeCollector } from './addresses.ts'
import { PortEntries, type PortGroup, WITH_PORT } from './ipset-ports.ts'
import {
  bufferOf,
  excerpt,
  type Imported,
  type ImportedList,
  type Input,
  leftOut,
  linePlace,
  type Place,
} from './source.ts'

const NEWLINE = 0x0a
const SPACE = 0x20
const CARRIAGE_RETURN = 0x0d
const HASH = 0x23

/** Types whose entries are source or destination addresses and nothing else. */
const PLAIN = new Set(['hash:ip', 'hash:net', 'bitmap:ip'])

export type { PortGroup }

export interface AddressGroup {
  readonly name: string
  readonly type: string
  readonly place: Place
  /** Why a list cannot hold the set; undefined if it can. */
  readonly objection: string | undefined
  readonly expires: boolean
  readonly entries: number
  /** Number of entries that a list cannot express. */
  readonly losses: number
  /** Empty for a set with ports. */
  readonly addresses: AddressSet
  /** undefined for a set of addresses alone. */
  readonly ports: readonly PortGroup[] | undefined
}

interface Draft {
  readonly name: string
  readonly type: string
  readonly place: Place
  readonly objection: string | undefined
  readonly expires: boolean
  /** Prefix length of an entry that is a bare address. */
  readonly bits: number
  readonly found: RangeCollector
  /** Prefixes and exceptions by length, for a set with exceptions; `found` is then empty. */
  readonly except: Map<number, RangeCollector>
  readonly byLength: Map<number, RangeCollector>
  readonly ports: PortEntries | undefined
  entries: number
}

/** The prefix length of `255.255.255.0`, `24` or `ffff::`; -1 for a mask with holes. */
function maskBits(text: string, family: 4 | 6): number {
  if (/^\d{1,3}$/.test(text)) return Number(text)
  const mask = parseAddress(text)
  if (mask?.family !== family) return -1
  const bits = [...mask.words].map((word) => word.toString(2).padStart(32, '0')).join('')
  return /^1*0*$/.test(bits) ? bits.replace(/0+$/, '').length : -1
}

function createSet(line: string, place: Place): Draft {
  const [, name = '', type = '', ...options] = line.split(' ')
  const option = (key: string): string | undefined => {
    const at = options.indexOf(key)
    return at < 0 ? undefined : options[at + 1]
  }
  const family = option('family') === 'inet6' ? 6 : 4
  const mask = option('netmask') ?? option('bitmask')
  const bits = mask === undefined ? 128 : maskBits(mask, family)
  const known = PLAIN.has(type) || (WITH_PORT.has(type) && mask === undefined)
  const unknown = `its entries (${type}) are not source addresses${WITH_PORT.has(type) ? ' as written' : ' alone'}`
  const objection = known ? (bits < 0 ? `its mask ${mask} is not a prefix length` : undefined) : unknown
  const expires = option('timeout') !== undefined
  const ports = known && WITH_PORT.has(type) ? new PortEntries() : undefined
  const collected = { found: new RangeCollector(), except: new Map(), byLength: new Map(), ports, entries: 0 }
  return { name, type, place, objection, expires, bits, ...collected }
}

function collectorOf(map: Map<number, RangeCollector>, length: number): RangeCollector {
  const known = map.get(length)
  if (known) return known
  const made = new RangeCollector()
  map.set(length, made)
  return made
}

/** The addresses of all entries, without exceptions that no longer prefix overrides. */
function contentOf({ found, except, byLength }: Draft): AddressSet {
  if (byLength.size === 0 && except.size === 0) return found.finish()
  let content = EMPTY_SET
  for (const length of [...new Set([...byLength.keys(), ...except.keys()])].sort((a, b) => a - b)) {
    const more = byLength.get(length)?.finish() ?? EMPTY_SET
    const less = except.get(length)?.finish() ?? EMPTY_SET
    content = {
      v4: subtract(union(content.v4, more.v4), less.v4),
      v6: subtract(union(content.v6, more.v6), less.v6),
    }
  }
  return content
}

/** The error for a line that the tool cannot have printed. */
export function notFrom(tool: string, { file, line, text }: Place, words: string): XdpError {
  const hint = `pass the output of \`${tool}\``
  const message =
    words === '' ? `the input is not the output of ${tool}` : `${tool} prints no such line: ${excerpt(words)}`
  const at = file === undefined || line === undefined ? { file: text, line: 1 } : { file, line }
  return new XdpError([{ code: 'E400', severity: 'error', message, hint, at: { ...at, column: 1, length: 1 } }])
}

/** Calls `visit` with the bounds of every line, without its line end, and its number from 1. */
export function eachLine(bytes: Buffer, visit: (from: number, to: number, line: number) => void): void {
  for (let from = 0, line = 1; from < bytes.length; line++) {
    const newline = bytes.indexOf(NEWLINE, from)
    const end = newline < 0 ? bytes.length : newline
    visit(from, end, line)
    from = end + 1
  }
}

/** Reads the lines of `ipset save`; the caller may mix in lines of other tools. */
export class SaveReader {
  readonly #bytes: Buffer
  readonly #file: string
  /** Whether any entry is an exception; only then are prefixes kept by length. */
  readonly #exceptions: boolean
  readonly #drafts = new Map<string, Draft>()
  #current: Draft | undefined
  /** `add NAME ` of the line before, as bytes. */
  #head = new Uint8Array(0)

  constructor(bytes: Buffer, file: string) {
    this.#bytes = bytes
    this.#file = file
    this.#exceptions = bytes.includes(' nomatch')
  }

  /** Whether the line at `from` adds to the set of the line before. */
  #continues(from: number): boolean {
    const head = this.#head
    for (let at = 0; at < head.length; at++) if (this.#bytes[from + at] !== head[at]) return false
    return head.length > 0
  }

  /** Reads the line `bytes[from, to)`. Returns false if ipset prints no such line. */
  read(from: number, to: number, line: number): boolean {
    if (this.#continues(from)) return this.#add(from + this.#head.length, to)
    const text = this.#bytes.toString('utf8', from, Math.min(to, from + 4096))
    if (/^create \S+ \S+/.test(text)) {
      const draft = createSet(text.trimEnd(), linePlace(this.#file, line))
      this.#drafts.set(draft.name, draft)
      return true
    }
    const name = /^add (\S+) \S/.exec(text)?.[1] ?? ''
    const draft = this.#drafts.get(name)
    if (draft === undefined) return false
    this.#current = draft
    this.#head = Buffer.from(`add ${name} `)
    return this.#add(from + this.#head.length, to)
  }

  #add(from: number, to: number): boolean {
    const bytes = this.#bytes
    const draft = this.#current as Draft
    draft.entries++
    if (draft.objection !== undefined) return true
    let end = from
    while (end < to && bytes[end] !== SPACE && bytes[end] !== CARRIAGE_RETURN) end++
    if (draft.ports !== undefined)
      return draft.ports.read(bytes.toString('latin1', from, end), this.#isException(end, to))
    if (!this.#exceptions || draft.type !== 'hash:net') return draft.found.read(bytes, from, end, draft.bits)
    const map = this.#isException(end, to) ? draft.except : draft.byLength
    const text = bytes.toString('latin1', from, end)
    const length = /\/(\d+)$/.exec(text)?.[1] ?? (text.includes(':') ? 128 : 32)
    return collectorOf(map, Number(length)).read(bytes, from, end, draft.bits)
  }

  #isException(from: number, to: number): boolean {
    if (!this.#exceptions) return false
    const options = this.#bytes.toString('utf8', from, Math.min(to, from + 4096)).replace(/"[^"]*"/g, '')
    return / nomatch\b/.test(options)
  }

  /** The sets, in order of appearance. */
  finish(): AddressGroup[] {
    return [...this.#drafts.values()].map((draft) => ({
      ...draft,
      addresses: contentOf(draft),
      ports: draft.ports?.finish(),
      losses: draft.ports?.losses ?? 0,
    }))
  }
}

const count = (entries: number): string => `${entries} ${entries === 1 ? 'entry' : 'entries'}`

/** Warnings for a set that is left out or imported with a loss. */
export function groupNotes({ name, place, objection, expires, entries, losses }: AddressGroup): Diagnostic[] {
  if (objection !== undefined)
    return [leftOut(place, `set ${name} with ${count(entries)} is left out because ${objection}`)]
  const notes: Diagnostic[] = []
  if (losses > 0) notes.push(leftOut(place, `${count(losses)} of set ${name}: a list cannot express the port`))
  if (expires) notes.push(leftOut(place, `the entries of set ${name} have a timeout; in the list they do not expire`))
  return notes
}

/** The lists of a set that no rule uses. */
function listsOf({ name, place, addresses, ports }: AddressGroup): ImportedList[] {
  const base = { kind: 'blocklist', name, comment: undefined, places: [place.text] } as const
  if (ports === undefined) return [{ ...base, scope: ANY, addresses }]
  return ports.map(({ protocol, ports: destinationPorts, addresses: own }) => ({
    ...base,
    scope: { protocol, sourcePorts: [], destinationPorts },
    addresses: own,
  }))
}

const directionNote = ({ name, place }: AddressGroup): Diagnostic =>
  leftOut(place, `set ${name} does not say whose ports it holds; imported as destination ports, as for \`src,dst\``)

/**
 * Imports every set of addresses as a blocklist with its name, because a set alone does not say whether it passes or
 * drops. Throws E400 for a line that ipset does not print.
 */
export function importIpset(input: Input): Imported {
  const { name } = input
  const buffer = bufferOf(input)
  const reader = new SaveReader(buffer, name)
  eachLine(buffer, (from, to, line) => {
    if (to === from || buffer[from] === HASH || reader.read(from, to, line)) return
    const text = buffer.toString('utf8', from, Math.min(to, from + 400))
    if (text.trim() !== '') throw notFrom('ipset save', linePlace(name, line), text)
  })
  const groups = reader.finish()
  const usable = groups.filter(({ objection }) => objection === undefined)
  const directions = usable.filter(({ ports }) => ports !== undefined && ports.length > 0).map(directionNote)
  const notes = [...groups.flatMap(groupNotes), ...directions]
  return { interfaces: [], default: 'pass', lists: usable.flatMap(listsOf), leftOut: notes }
}
