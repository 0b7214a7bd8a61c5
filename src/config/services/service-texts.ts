// Parses a config with thousands of lines of services one service at a time, so that a process that reads the config
// again parses only the services whose text changed. This is safe because in a block mapping an entry ends where the
// next one starts, and an open quote or bracket there is an error of that entry: entries that parse alone also parse
// together. In any doubtful case the file is parsed as a whole, which also produces the error messages.

import { validate } from '../generated/validate.js'
import { parse } from '../text/parse.ts'
import { createReport } from '../text/report.ts'
import { createSource, type Source, sha256 } from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { ReadService } from './read-service.ts'

/** The parsed text of one service. */
export interface KnownService {
  readonly name: string
  /** Offsets are relative to the text of the service, after PREFIX. */
  readonly placed: Placed
  /** Set once the service was read without an error or warning. */
  read?: Omit<ReadService, 'reading'>
}

/** Services by path of the file, then by digest of their text; grows by one per file. */
export type KnownServices = Map<string, ReadonlyMap<string, KnownService>>

/** A service of a file, with the text that its offsets refer to. */
export interface PlacedService {
  readonly name: string
  readonly placed: Placed
  readonly source: Source
  readonly known?: KnownService
}

/** A file split into its services and the rest. */
export interface ServiceTexts {
  /** The file with an empty mapping in place of the services; everything else keeps its offset. */
  readonly rest: string
  /** Start and end of the text of each service: ascending, without gaps. */
  readonly extents: readonly (readonly [from: number, to: number])[]
}

const KEY = 'services:'
const HEAD = /^services:(?: +#[^\n]*| *)\n/m
const PREFIX = `${KEY}\n`
const NOTHING = ' {} #'

/** Starts of matches of a pattern in `text[from, to)`. */
function startsOf(pattern: RegExp, text: string, from: number, to: number): number[] {
  const starts: number[] = []
  pattern.lastIndex = from
  for (let found = pattern.exec(text); found && found.index < to; found = pattern.exec(text)) starts.push(found.index)
  return starts
}

/** Splits a file into its services by the indentation of lines; undefined if that is not certain to be right. */
export function splitServices(text: string): ServiceTexts | undefined {
  // Patterns and YAML disagree about the end of lines with these characters.
  if (/[\r\u2028\u2029]/.test(text)) return undefined
  const head = HEAD.exec(text)
  if (!head) return undefined
  const from = head.index + head[0].length
  const [to = text.length] = startsOf(/^[^ #\n]/gm, text, from, text.length)
  const region = text.slice(from, to)
  // Anchors and aliases connect services; a tab is an error in some places.
  if (/[&*\t]/.test(region)) return undefined
  const indent = /^( +)[A-Za-z0-9]/m.exec(region)?.[1]?.length
  if (indent === undefined) return undefined
  const starts = startsOf(new RegExp(`^ {${indent}}(?=[A-Za-z0-9])`, 'gm'), text, from, to)
  const extents = starts.map((start, i) => [i === 0 ? from : start, starts[i + 1] ?? to] as const)
  const room = to - head.index - KEY.length - NOTHING.length - 1
  if (room < 0) return undefined
  const before = text.slice(0, head.index + KEY.length)
  // A directive changes the meaning of tags in the whole file.
  if (/^%/m.test(before)) return undefined
  return { rest: `${before}${NOTHING}${'-'.repeat(room)}\n${text.slice(to)}`, extents }
}

/** The text of `source` from `base` on, with unchanged places. */
const textFrom = (source: Source, base: number): Source => ({
  path: source.path,
  text: source.text.slice(base),
  lineOf: (from) => source.lineOf(base + from),
  locate: (from, to) => source.locate(base + from, base + to),
})

/** The content of a text; undefined if it has an error. */
function parseAlone(path: string, text: string): Placed | undefined {
  const report = createReport([path])
  return parse(createSource(path, text), report)
}

/** Parses the text of one service; undefined if it has an error or holds more than one service. */
function serviceIn(path: string, text: string): KnownService | undefined {
  const services = parseAlone(path, PREFIX + text)?.fields?.get('services')?.fields
  const [entry, other] = services ?? []
  if (entry === undefined || other !== undefined) return undefined
  const [name, placed] = entry
  // The other keys only make the file valid.
  const isSound = validate({ version: 1, interfaces: { eth0: null }, services: { [name]: placed.value } })
  return isSound ? { name, placed } : undefined
}

/**
 * Parses a file service by service; undefined if the file must be parsed as a whole.
 *
 * @param known parsed services of the earlier edition; updated to those of this one
 */
export function parseServices(
  source: Source,
  known?: KnownServices,
): { readonly root: Placed; readonly services: readonly PlacedService[] } | undefined {
  const { path, text } = source
  const split = splitServices(text)
  if (!split) return undefined
  const root = parseAlone(path, split.rest)
  // The rules inside braces differ.
  if (root?.fields?.get('services')?.fields?.size !== 0 || text[root.from] === '{') return undefined
  const before = known?.get(path)
  const now = new Map<string, KnownService>()
  const services = new Map<string, PlacedService>()
  for (const [from, to] of split.extents) {
    const own = text.slice(from, to)
    const digest = known && sha256(Buffer.from(own))
    const found = (digest && before?.get(digest)) ?? serviceIn(path, own)
    if (!found || services.has(found.name)) return undefined
    if (digest) now.set(digest, found)
    const { name, placed } = found
    services.set(name, { name, placed, source: textFrom(source, from - PREFIX.length), known: found })
  }
  known?.set(path, now)
  return { root, services: [...services.values()] }
}
