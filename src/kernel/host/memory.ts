// Keeps the last applied image and its lists, so that the next apply can compute changes and edit tables without
// reading them back. The key is the header of the image, which has digests of all its content; the kept copy is used
// only if the kernel proves these digests. It lives in the cache between commands, or in memory within a daemon.

import { createHash } from 'node:crypto'
import type { Meta } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import type { Cache } from '../../cache/cache.ts'
import { type CachedRecord, packRecord, recallRecord } from '../../cache/record.ts'
import type { Family, Ranges } from '../../model/address.ts'
import { packRanges, RANGE_COLUMNS, unpackRanges } from '../../model/columns.ts'
import type { List } from '../../model/state.ts'
import { LARGE_IMAGE } from '../../tables/image/edit.ts'
import { ringsFrom } from '../../tables/image/recognize.ts'
import {
  type Image,
  imageKey,
  readHeader,
  SECTION_NAMES,
  type Sections,
  withRings,
} from '../../tables/layout/layout.ts'
import { LINE_WORDS } from '../../tables/lines/lines.ts'
import type { RecordedServices } from '../../tables/services/decode.ts'
import type { RouteCache } from './next-hops.ts'

export interface KeptImage {
  readonly image: Image
  /** Decoded from the image. */
  readonly lists: ReadonlyMap<string, List>
  /** Decoded from the image; undefined if that has not been done. */
  readonly services: RecordedServices | undefined
}

/** Data that a process keeps between applies. */
export interface Kept {
  /** The last applied image. */
  last?: KeptImage
  /** Routes to backends; set only while the process receives route events, which invalidate them. */
  nextHops?: RouteCache | undefined
  /** Neighbours that did not answer when they were asked last; only of a process that asks them again by itself. */
  readonly silent?: Set<string>
}

/** Where kept data is stored. */
export interface Memory {
  readonly cache?: Cache | undefined
  readonly kept?: Kept | undefined
}

/** A list without its columns. */
type Outline = Pick<List, 'kind' | 'name'> & { readonly scopes: readonly List['sets'][number]['scope'][] }

const columnsOf = ({ sets }: List): Uint32Array[] =>
  sets.flatMap(({ addresses: { v4, v6 } }) => [...packRanges(v4), ...packRanges(v6)])

/** All sections except the rings, which are the largest and follow from the others. */
const STORED = SECTION_NAMES.filter((name) => name !== 'RINGS')

/** One name per instance, because older images are of no use. */
const nameOf = ({ instance }: Pick<Paths, 'instance'>, { netns }: Pick<Meta, 'netns'>): string =>
  `image-${createHash('sha256').update(`${netns} ${instance}`).digest('hex')}`

/** Keeps an applied image. */
export function keepImage(
  { cache, kept }: Memory,
  paths: Pick<Paths, 'instance'>,
  { image, lists, services }: KeptImage,
): void {
  if (kept) kept.last = { image, lists, services }
  if (!cache || image.lines < LARGE_IMAGE) return
  const all = [...lists.values()]
  const outlines: Outline[] = all.map(({ kind, name, sets }) => ({
    kind,
    name,
    scopes: sets.map(({ scope }) => scope),
  }))
  const columns = [...STORED.map((name) => image.sections[name]), ...all.flatMap(columnsOf)]
  cache.write(nameOf(paths, image.meta), packRecord(outlines, [image.header, ...columns]))
}

/** Throws RangeError for columns of other lists. */
function listsFrom(outlines: readonly Outline[], columns: readonly Uint32Array[]): Map<string, List> {
  let next = 0
  const ranges = (family: Family): Ranges => {
    next += RANGE_COLUMNS
    return unpackRanges(family, columns.slice(next - RANGE_COLUMNS, next))
  }
  const lists = outlines.map(({ kind, name, scopes }): List => {
    return { kind, name, sets: scopes.map((scope) => ({ scope, addresses: { v4: ranges(4), v6: ranges(6) } })) }
  })
  if (next !== columns.length) throw new RangeError('the record has columns of no list')
  return new Map(lists.map((list) => [list.name, list]))
}

/** The image with this header, if this process has kept it. */
export const imageInProcess = ({ kept }: Memory, header: Uint32Array): KeptImage | undefined =>
  kept?.last && imageKey(kept.last.image.header) === imageKey(header) ? kept.last : undefined

/** The image of a record. Throws for a record of other content. */
function imageFrom({ facts, columns: all }: CachedRecord): KeptImage {
  const [header, ...columns] = all as readonly [Uint32Array, ...Uint32Array[]]
  const said = readHeader(header)
  const sections = Object.fromEntries(STORED.map((name, i) => [name, columns[i]])) as Omit<Sections, 'RINGS'>
  const isSound = STORED.every((name) => sections[name].length === said.directory[name].lines * LINE_WORDS)
  if (!isSound) throw new RangeError('the record is not of an image')
  const lines = Math.max(...SECTION_NAMES.map((name) => said.directory[name].first + said.directory[name].lines))
  const whole = withRings(sections, () => ringsFrom(said, sections))
  const image: Image = { ...said, header, sections: whole, lines }
  return { image, lists: listsFrom(facts as Outline[], columns.slice(STORED.length)), services: undefined }
}

/** The image with this header, if it is in the cache. */
export function imageInCache(
  { cache }: Memory,
  paths: Pick<Paths, 'instance'>,
  header: Uint32Array,
): KeptImage | undefined {
  const found = recallRecord(cache, nameOf(paths, readHeader(header).meta), imageFrom)
  return found && imageKey(found.image.header) === imageKey(header) ? found : undefined
}
