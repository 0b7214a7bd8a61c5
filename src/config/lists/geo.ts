// Entries with `country` or `asn`: their networks from the databases that `geo` names, which are read once, for all codes of
// the config together.

import { createHash } from 'node:crypto'
import { dirname, isAbsolute, join } from 'node:path'
import { packRecord, recallRecord } from '../../cache/record.ts'
import type { Location } from '../../diagnostics.ts'
import type { Feed, FeedFile } from '../../model/desired.ts'
import { nearest } from '../../model/nearest.ts'
import type { EntryColumns } from '../entries/entries.ts'
import { type GeoDatabase, type GeoKind, type GeoNetworks, readGeo } from '../feed/mmdb.ts'
import { fileNumber } from '../text/file-number.ts'
import type { Part } from '../text/part.ts'
import { soundField } from '../text/part.ts'
import type { Report } from '../text/report.ts'
import { listed, quote } from '../text/show.ts'
import { isUnusable, LIST_LIMIT, readSource, type Source, sha256 } from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenEntry } from '../text/written.ts'
import { type Library, limitsOf } from './feeds.ts'
import { columnsOf, fromColumns, LIST_COLUMNS } from './shelf.ts'

export const GEO_KINDS = ['country', 'asn'] as const satisfies readonly GeoKind[]

/** A database that the config names. */
interface Named {
  readonly path: string
  readonly at: Location
}

/** The databases of a config, read so far. */
export interface Geo {
  readonly named: ReadonlyMap<GeoKind, Named>
  /** All codes of the config, by the kind of database. */
  readonly wanted: ReadonlyMap<GeoKind, ReadonlySet<string>>
  /** undefined for one that was reported as unusable. */
  readonly read: Map<GeoKind, GeoDatabase | undefined>
}

const asList = (written: unknown): readonly (string | number)[] =>
  (Array.isArray(written) ? written : [written]) as readonly (string | number)[]

/** The databases that the top file names, and the codes that entries choose. */
export function readGeoNames(top: Part | undefined, entries: readonly { readonly placed: Placed }[]): Geo {
  const named = new Map<GeoKind, Named>()
  const wanted = new Map<GeoKind, Set<string>>()
  for (const kind of GEO_KINDS) {
    const placed = top && soundField(top, 'geo', kind)
    if (top && placed) {
      const written = placed.value as string
      const path = isAbsolute(written) ? written : join(dirname(top.source.path), written)
      named.set(kind, { path, at: top.source.locate(placed.from, placed.to) })
    }
    const codes = entries.flatMap(({ placed: { value } }) =>
      typeof value === 'object' ? asList((value as WrittenEntry)[kind] ?? []) : [],
    )
    wanted.set(kind, new Set(codes.map(String)))
  }
  return { named, wanted, read: new Map() }
}

/** An entry with `country` or `asn`, and its context. */
interface Mention {
  readonly list: string
  readonly entry: WrittenEntry
  readonly placed: Placed
  readonly source: Source
  readonly library: Library
  readonly geo: Geo
  readonly report: Report
}

const BY: Readonly<Record<GeoKind, { readonly what: string; readonly example: string }>> = {
  country: { what: 'countries', example: '/usr/share/GeoIP/GeoLite2-Country.mmdb' },
  asn: { what: 'autonomous systems', example: '/usr/share/GeoIP/GeoLite2-ASN.mmdb' },
}

/** Networks from the cache, or from the database. Throws an Error that says why it cannot be read. */
function networksIn(bytes: Buffer, digest: string, kind: GeoKind, { geo, library: { shelf } }: Mention): GeoDatabase {
  const wanted = geo.wanted.get(kind) ?? new Set()
  const name = `geo-${createHash('sha256')
    .update(JSON.stringify([kind, digest, [...wanted].sort()]))
    .digest('hex')}`
  const known = recallRecord(shelf.cache, name, ({ facts, columns }) => {
    const { found, ...rest } = facts as Pick<GeoDatabase, 'type' | 'builtAt' | 'codes'> & { found: string[] }
    if (columns.length !== found.length * 2 * LIST_COLUMNS) throw new RangeError('the record is not of a database')
    const networks = found.map((code, index): readonly [string, GeoNetworks] => {
      const from = index * 2 * LIST_COLUMNS
      const v4 = fromColumns(4, columns.slice(from, from + LIST_COLUMNS))
      const v6 = fromColumns(6, columns.slice(from + LIST_COLUMNS, from + 2 * LIST_COLUMNS))
      return [code, { entries: { v4: v4.entries, v6: v6.entries }, v4: v4.ranges, v6: v6.ranges }]
    })
    return { ...rest, networks: new Map(networks) }
  })
  if (known) return known
  const database = readGeo(bytes, kind, wanted)
  const { type, builtAt, codes, networks } = database
  const columns = [...networks.values()].flatMap(({ entries, v4, v6 }) => [
    ...columnsOf(entries.v4 as EntryColumns, v4),
    ...columnsOf(entries.v6 as EntryColumns, v6),
  ])
  shelf.cache?.write(name, packRecord({ type, builtAt, codes, found: [...networks.keys()] }, columns))
  return database
}

/** The database of a kind; undefined after reporting an error, which is done once. */
function databaseOf(kind: GeoKind, at: Location, mention: Mention): GeoDatabase | undefined {
  const { geo, library, report } = mention
  if (geo.read.has(kind)) return geo.read.get(kind)
  geo.read.set(kind, undefined)
  const named = geo.named.get(kind)
  if (named === undefined) {
    const { what, example } = BY[kind]
    report.error('E267', at, `the config names no database of ${what}`, `write \`geo: { ${kind}: ${example} }\``)
    return undefined
  }
  const { path } = named
  if (fileNumber(library.files, path) < 0) library.files.push(path)
  const content = readSource(path, LIST_LIMIT, library)
  if (isUnusable(content)) {
    const hint = content.code === 'E001' ? 'download it, for example with geoipupdate' : content.hint
    report.error(content.code, named.at, content.message, hint)
    return undefined
  }
  const digest = sha256(content.bytes)
  library.digests.set(path, digest)
  library.found.set(path, { modifiedAt: content.modifiedAt, text: undefined })
  try {
    const database = networksIn(content.bytes, digest, kind, mention)
    if (database.codes.length === 0) {
      const message = `${path} (${database.type}) has no ${BY[kind].what}`
      report.error('E267', named.at, message, `use a database of ${BY[kind].what}`)
      return undefined
    }
    geo.read.set(kind, database)
    return database
  } catch (error) {
    // The library throws errors of every kind for damaged files; RangeError also for a stack that is too deep.
    const why = (error as Error).message
    const message = `${path} is damaged, or no database in the format of MaxMind: ${why}`
    report.error('E267', named.at, message, 'download it again')
    return undefined
  }
}

/** Reports a code that the database does not have. */
function reportUnknown(kind: GeoKind, code: string, placed: Placed, codes: readonly string[], mention: Mention): void {
  const { source, geo, report } = mention
  const at = source.locate(placed.from, placed.to)
  const path = geo.named.get(kind)?.path ?? ''
  if (kind === 'asn') {
    report.warning('W264', at, `${path} has no network of AS${code}`, 'check the number; a system may have ended')
    return
  }
  const meant = code === 'UK' ? 'GB' : nearest(code, codes)
  const hint = meant === undefined ? `it has ${listed(codes.slice(0, 8), 'and')} and others` : `did you mean ${meant}?`
  report.error('E268', at, `${path} has no network of the country ${quote(code)}`, hint)
}

/** Networks of one code, with their origin in words. */
export interface GeoPart {
  readonly file: number
  readonly networks: GeoNetworks
  readonly about: string
}

const day = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 10)

/**
 * Reads the networks of an entry.
 *
 * @param add called for each code
 * @returns facts for the planner; undefined after reporting an error
 */
export function addGeo(
  kind: GeoKind,
  mention: Mention,
  add: (part: GeoPart) => void,
): Omit<Feed, 'inline'> | undefined {
  const { list, entry, placed, source, library, geo, report } = mention
  const value = placed.fields?.get(kind) ?? placed
  const at = source.locate(value.from, value.to)
  const database = databaseOf(kind, at, mention)
  if (database === undefined) return undefined
  const { type, builtAt, networks, codes } = database
  const path = geo.named.get(kind)?.path ?? ''
  const file = fileNumber(library.files, path)
  let entries = 0
  for (const [index, written] of asList(entry[kind]).entries()) {
    const code = String(written)
    const found = networks.get(code)
    if (found === undefined) {
      reportUnknown(kind, code, value.items?.[index] ?? value, codes, mention)
      continue
    }
    entries += found.entries.v4.length + found.entries.v6.length
    const name = kind === 'country' ? `country ${code}` : `AS${code}`
    add({ file, networks: found, about: `${name} of ${type}, built ${day(builtAt)}` })
  }
  if (entries === 0 && !report.failed) {
    report.error('E268', at, `${path} has no network of any of these systems: the entry is empty`, 'check the numbers')
    return undefined
  }
  const counts = { skipped: 0, private: 0, wide: 0 }
  const facts: FeedFile = { path, format: 'mmdb', entries, ...counts, updatedAt: builtAt, notes: [type] }
  return { list, at, files: [facts], ...limitsOf(entry) }
}
