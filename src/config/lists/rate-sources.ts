// The sources of rate limits. A few ranges are part of the limit; more of them, and those from outside of the config, are
// read as a list is.

import type { AddressSet, Ranges } from '../../model/address.ts'
import { RATE } from '../../model/rate-limit.ts'
import { EntryCollector } from '../entries/entries.ts'
import { explainRange, rangeBuffer, readRangeText } from '../entries/range.ts'
import type { Part } from '../text/part.ts'
import { fieldOf, type Reading, reportAt } from '../text/place.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenRateLimit } from '../text/written.ts'
import type { PlacedEntry } from './lists.ts'

/** Keys that name sources. A limit has one of them at most. */
export const SOURCE_KEYS = ['cidr', 'cidrs', 'file', 'url', 'host', 'country', 'asn'] as const

const OUTSIDE = ['file', 'url', 'host', 'country', 'asn'] as const satisfies readonly (typeof SOURCE_KEYS)[number][]

/** A word for every source, in place of a range. */
const EVERY = 'any'
const LIKE_EVERY = /^(?:any|all|every|world|\*|0\/0)$/i

const range = rangeBuffer()

/** The ranges that texts name. `refuse` gets every text that is none, by its index. */
function rangesOf(texts: readonly string[], refuse: (text: string, index: number) => void = () => {}): AddressSet {
  const [v4, v6] = [new EntryCollector(4), new EntryCollector(6)]
  for (const [index, text] of texts.entries()) {
    if (text === EVERY) continue
    if (readRangeText(text, range)) (range.family === 4 ? v4 : v6).add(range.start, range.end, 1)
    else refuse(text, index)
  }
  return { v4: v4.ranges, v6: v6.ranges }
}

const textsOf = ({ cidr, cidrs = [] }: WrittenRateLimit): readonly string[] => [
  ...(cidr === undefined ? [] : [cidr]),
  ...cidrs,
]

/** Whether the sources of a limit are read as a list. */
export function hasSourceList(written: WrittenRateLimit): boolean {
  if (OUTSIDE.some((key) => written[key] !== undefined)) return true
  const texts = textsOf(written)
  if (texts.length <= RATE.sources || texts.includes(EVERY)) return false
  const { v4, v6 } = rangesOf(texts)
  return v4.length + v6.length > RATE.sources
}

/** The limits without an error in them whose sources are read as a list. */
export const sourceEntries = (parts: readonly Part[]): PlacedEntry[] =>
  parts.flatMap(({ root, source, wrong }) =>
    (root.fields?.get('rate_limits')?.items ?? []).flatMap((placed, index) =>
      wrong.has(`rate_limits/${index}`) || !hasSourceList(placed.value as WrittenRateLimit)
        ? []
        : [{ kind: 'sources' as const, placed, source }],
    ),
  )

const isEverything = ({ length, start, end }: Ranges): boolean =>
  length === 1 && start.every((word) => word === 0) && end.every((word) => word === 0xffffffff)

/** The sources that a limit names; undefined: every source. */
export function readSources(
  placed: Placed,
  written: WrittenRateLimit,
  reading: Reading,
): AddressSet | 'list' | undefined {
  if (hasSourceList(written)) return 'list'
  const texts = textsOf(written)
  const list = fieldOf(placed, 'cidrs')
  const own = written.cidr === undefined ? 0 : 1
  const sources = rangesOf(texts, (text, index) => {
    const at = index < own ? fieldOf(placed, 'cidr') : (list.items?.[index - own] ?? list)
    const { code, message, hint } = explainRange(text)
    reportAt(reading, at, code, message, LIKE_EVERY.test(text) ? 'for every source write any' : hint)
  })
  if (texts.length === 0 || texts.includes(EVERY)) return undefined
  return isEverything(sources.v4) && isEverything(sources.v6) ? undefined : sources
}
