// What was applied, remembered: the image of a generation and the lists in it, so that the next apply can tell what
// changes and edit what is there without reading it back. It is found by the header of the image, which has the digests
// of all that is in it, and is of use only where the kernel proves these. In the cache for one command after the other,
// or in the process that stays.

import { createHash } from 'node:crypto'
import type { Meta } from '../../abi/generated.ts'
import type { Paths } from '../../abi/paths.ts'
import type { Cache } from '../../cache/cache.ts'
import { packRecord, unpackRecord } from '../../cache/record.ts'
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
import type { RecordedServices } from '../../tables/services/decode.ts'
import type { Ways } from './next-hops.ts'

export interface Remembered {
  readonly image: Image
  /** As the image holds them. */
  readonly lists: ReadonlyMap<string, List>
  /** The same; undefined where they would have to be read out of the image. */
  readonly services: RecordedServices | undefined
}

/** A place for what is of use again, in a process that applies again and again. */
export interface Kept {
  /** What was applied last. */
  last?: Remembered
  /** Ways to backends, where somebody hears of it when routes change, and puts others in their place then. */
  ways?: Ways | undefined
}

/** Where to remember. */
export interface Memory {
  readonly cache?: Cache | undefined
  readonly kept?: Kept | undefined
}

/** A list without its columns. */
type Outline = Pick<List, 'kind' | 'name'> & { readonly scopes: readonly List['sets'][number]['scope'][] }

const columnsOf = ({ sets }: List): Uint32Array[] =>
  sets.flatMap(({ addresses: { v4, v6 } }) => [...packRanges(v4), ...packRanges(v6)])

/** All but the rings, which are the most and follow from the rest. */
const STORED = SECTION_NAMES.filter((name) => name !== 'RINGS')

/** One for each instance: what was applied before is of no use any more. */
const nameOf = ({ instance }: Pick<Paths, 'instance'>, { netns }: Pick<Meta, 'netns'>): string =>
  `image-${createHash('sha256').update(`${netns} ${instance}`).digest('hex')}`

/** Remembers what was applied. */
export function remember(
  { cache, kept }: Memory,
  paths: Pick<Paths, 'instance'>,
  { image, lists, services }: Remembered,
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

function listsFrom(outlines: readonly Outline[], columns: Uint32Array[]): Map<string, List> {
  let next = 0
  const ranges = (family: Family): Ranges => {
    next += RANGE_COLUMNS
    return unpackRanges(family, columns.slice(next - RANGE_COLUMNS, next))
  }
  const lists = outlines.map(({ kind, name, scopes }): List => {
    return { kind, name, sets: scopes.map((scope) => ({ scope, addresses: { v4: ranges(4), v6: ranges(6) } })) }
  })
  return new Map(lists.map((list) => [list.name, list]))
}

/** What this process remembers of the image with this header. */
export const recollectOwn = ({ kept }: Memory, header: Uint32Array): Remembered | undefined =>
  kept?.last && imageKey(kept.last.image.header) === imageKey(header) ? kept.last : undefined

/** What the cache holds of it. */
export function recollect(
  { cache }: Memory,
  paths: Pick<Paths, 'instance'>,
  header: Uint32Array,
): Remembered | undefined {
  const bytes = cache?.read(nameOf(paths, readHeader(header).meta))
  const record = bytes && unpackRecord(bytes)
  if (!record) return undefined
  const [stored, ...columns] = record.columns as [Uint32Array, ...Uint32Array[]]
  if (imageKey(stored) !== imageKey(header)) return undefined
  const found = Object.fromEntries(STORED.map((name, i) => [name, columns[i]])) as Omit<Sections, 'RINGS'>
  const said = readHeader(stored)
  const lines = Math.max(...SECTION_NAMES.map((name) => said.directory[name].first + said.directory[name].lines))
  const sections = withRings(found, () => ringsFrom(said, found))
  const image: Image = { ...said, header: stored, sections, lines }
  return { image, lists: listsFrom(record.facts as Outline[], columns.slice(STORED.length)), services: undefined }
}
