// A config with thousands of lines of services, parsed service by service, so that a process that reads it again parses
// only those whose text is another. A block mapping ends every entry where the next one begins, and what is open then (a
// quote, a bracket) is an error of the entry: entries that are sound by themselves are so together. Wherever that is in
// any doubt the file is parsed as a whole, which also finds the words for what is wrong.

import { validate } from '../generated/validate.js'
import { parse } from '../text/parse.ts'
import { createReport } from '../text/report.ts'
import { createSource, type Source, sha256 } from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { ReadService } from './read-service.ts'

/** What was made of the text of one service. */
export interface KnownService {
  readonly name: string
  /** Places count from the start of the text, behind PREFIX. */
  readonly placed: Placed
  /** Set once it was read without a complaint. */
  read?: Omit<ReadService, 'reading'>
}

/** Services of files by path, then by digest of their texts; grows by one for each file. */
export type KnownServices = Map<string, ReadonlyMap<string, KnownService>>

/** A service of a file, with the text that its places count in. */
export interface PlacedService {
  readonly name: string
  readonly placed: Placed
  readonly source: Source
  readonly known?: KnownService
}

/** The parts of a file. */
export interface ServiceTexts {
  /** The file with an empty mapping in place of the services; everything else is at its place. */
  readonly rest: string
  /** Where the text of each service begins and ends: ascending, without gaps. */
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

/** Where the services of a file stand; undefined where that cannot be told by looking at the starts of lines. */
export function splitServices(text: string): ServiceTexts | undefined {
  // Lines end here for patterns and not for YAML, or the other way round.
  if (/[\r\u2028\u2029]/.test(text)) return undefined
  const head = HEAD.exec(text)
  if (!head) return undefined
  const from = head.index + head[0].length
  const [to = text.length] = startsOf(/^[^ #\n]/gm, text, from, text.length)
  const region = text.slice(from, to)
  // Anchors and aliases lead from one service to another; tabs are an error in some places.
  if (/[&*\t]/.test(region)) return undefined
  const indent = /^( +)[A-Za-z0-9]/m.exec(region)?.[1]?.length
  if (indent === undefined) return undefined
  const starts = startsOf(new RegExp(`^ {${indent}}(?=[A-Za-z0-9])`, 'gm'), text, from, to)
  const extents = starts.map((start, i) => [i === 0 ? from : start, starts[i + 1] ?? to] as const)
  const room = to - head.index - KEY.length - NOTHING.length - 1
  if (room < 0) return undefined
  const before = text.slice(0, head.index + KEY.length)
  // A directive says what tags mean, in all of the file.
  if (/^%/m.test(before)) return undefined
  return { rest: `${before}${NOTHING}${'-'.repeat(room)}\n${text.slice(to)}`, extents }
}

/** The text of `source` from `base` on, with the same places. */
const textFrom = (source: Source, base: number): Source => ({
  path: source.path,
  text: source.text.slice(base),
  lineOf: (from) => source.lineOf(base + from),
  locate: (from, to) => source.locate(base + from, base + to),
})

/** The content of a text that is right, or undefined. */
function parseAlone(path: string, text: string): Placed | undefined {
  const report = createReport([path])
  return parse(createSource(path, text), report)
}

/** The service that a text is by itself. */
function serviceIn(path: string, text: string): KnownService | undefined {
  const services = parseAlone(path, PREFIX + text)?.fields?.get('services')?.fields
  const [entry, other] = services ?? []
  if (entry === undefined || other !== undefined) return undefined
  const [name, placed] = entry
  // Everything else that the schema asks of a file is there.
  const isSound = validate({ version: 1, interfaces: { eth0: null }, services: { [name]: placed.value } })
  return isSound ? { name, placed } : undefined
}

/**
 * A file parsed service by service. undefined: it is to be parsed as a whole.
 *
 * @param known what was made of the file before; gets what is made of it now
 */
export function parseServices(
  source: Source,
  known?: KnownServices,
): { readonly root: Placed; readonly services: readonly PlacedService[] } | undefined {
  const { path, text } = source
  const split = splitServices(text)
  if (!split) return undefined
  const root = parseAlone(path, split.rest)
  // Between braces other rules hold.
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
