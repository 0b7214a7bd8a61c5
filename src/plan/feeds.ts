// Feeds that apply should not trust: a file that has not been updated for too long, or one that lost most of the live
// prefixes. Such a list keeps its live content until the user accepts the file, because a broken download looks like a
// feed that really became shorter.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired, Feed } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import { formatCount } from '../model/numbers.ts'
import { EMPTY_SET, equals, subtract, union } from '../model/ranges.ts'
import { type List, listPrefixes, type ScopedSet, scopeKey } from '../model/state.ts'
import { addressesByScope, prefixCount } from './delta.ts'

/** Inputs of a plan besides the file and the live state. */
export interface Terms {
  /** Unix time in seconds; 0 = unknown, and then no feed is stale. */
  readonly now: number
  /** Accept every feed as it is, stale or shrunken. */
  readonly acceptShrink: boolean
}

export const PLAIN_TERMS: Terms = { now: 0, acceptShrink: false }

export interface Settled {
  /** The lists of the file, with live content for feeds that are not trusted. */
  readonly lists: ReadonlyMap<string, List>
  readonly warnings: readonly Diagnostic[]
}

/** `90 minutes`, `52 hours`, `3 days`. */
function span(seconds: number): string {
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)} minutes`
  return seconds < 72 * 3600 ? `${Math.floor(seconds / 3600)} hours` : `${Math.floor(seconds / 86_400)} days`
}

function same(left: List, right: List): boolean {
  if (left.sets.length !== right.sets.length) return false
  return left.sets.every(({ scope, addresses }, index) => {
    const other = right.sets[index] as ScopedSet
    const equal = equals(addresses.v4, other.addresses.v4) && equals(addresses.v6, other.addresses.v6)
    return equal && scopeKey(scope) === scopeKey(other.scope)
  })
}

/** The addresses of a list under all scopes together. */
const everyAddress = ({ sets }: List) =>
  sets.reduce((all, { addresses: { v4, v6 } }) => ({ v4: union(all.v4, v4), v6: union(all.v6, v6) }), EMPTY_SET)

/** Number of prefixes that only the first list has. Ignores scopes: moving a prefix to a different scope is no loss. */
function missing(current: List, wanted: List): number {
  const [before, after] = [everyAddress(current), everyAddress(wanted)]
  return prefixCount({ v4: subtract(before.v4, after.v4), v6: subtract(before.v6, after.v6) })
}

/** The warning for the oldest file beyond `max_age`, if any. */
function stale(feeds: readonly Feed[], now: number): Diagnostic | undefined {
  for (const { list, files, maxAge, at } of feeds) {
    if (maxAge === undefined) continue
    const oldest = files.toSorted((left, right) => left.updatedAt - right.updatedAt)[0]
    if (oldest === undefined || now - oldest.updatedAt <= maxAge) continue
    const message = `${oldest.path} is ${span(now - oldest.updatedAt)} old, but max_age is ${span(maxAge)}`
    return { code: 'W209', severity: 'warning', message: `${message}: list ${list} `, at }
  }
  return undefined
}

/** The warning for a list that would shrink too much: in the number of prefixes, and in addresses that are gone. */
function shrunken(feeds: readonly Feed[], current: List, wanted: List): Diagnostic | undefined {
  const feed = feeds.toSorted((left, right) => left.maxShrink - right.maxShrink)[0]
  if (feed === undefined || feed.maxShrink >= 1 || same(current, wanted)) return undefined
  const [before, after] = [listPrefixes(current), listPrefixes(wanted)]
  if (before - after <= before * feed.maxShrink) return undefined
  // A feed that covers the same addresses with fewer, wider prefixes has lost nothing.
  if (missing(current, wanted) <= before * feed.maxShrink) return undefined
  const lost = Math.floor(((before - after) / before) * 100)
  const message =
    `list ${feed.list} would go from ${formatCount(before)} to ${formatCount(after)} prefixes, ${lost}% fewer, ` +
    `but max_shrink is ${Math.round(feed.maxShrink * 100)}%: it `
  return { code: 'W210', severity: 'warning', message, at: feed.at }
}

/** The live content with the kind of the file and, if both have just one, the scope of the file. */
function held(wanted: List, current: List, inline: readonly ScopedSet[]): List {
  const [only, ...more] = wanted.sets
  const [live, ...others] = current.sets
  const sets = only && live && more.length + others.length === 0 ? [{ ...live, scope: only.scope }] : current.sets
  const scopes = new Map([...sets, ...inline].map(({ scope }) => [scopeKey(scope), scope]))
  const [kept, own] = [addressesByScope({ ...current, sets }), addressesByScope({ ...current, sets: inline })]
  const merged = [...scopes]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, scope]): ScopedSet => {
      const [left, right] = [kept.get(key) ?? EMPTY_SET, own.get(key) ?? EMPTY_SET]
      return { scope, addresses: { v4: union(left.v4, right.v4), v6: union(left.v6, right.v6) } }
    })
  return { ...wanted, sets: merged }
}

const TAKE = 'check the source of the file; to apply it anyway, run `xdp apply --accept-shrink`'

/**
 * Decides for each list with a feed whether it takes the content of its files or keeps the live content. A list that is
 * not live yet, or was of the other kind, takes the files whatever their age.
 */
export function settle(desired: Desired, live: Live, { now, acceptShrink }: Terms): Settled {
  const { lists } = desired.state
  if (acceptShrink || desired.feeds.length === 0) return { lists, warnings: [] }
  const settled = new Map(lists)
  const warnings: Diagnostic[] = []
  for (const name of new Set(desired.feeds.map(({ list }) => list))) {
    const wanted = lists.get(name)
    if (wanted === undefined) continue
    const feeds = desired.feeds.filter(({ list }) => list === name)
    const known = live.state.lists.get(name)
    const current = known?.kind === wanted.kind && listPrefixes(known) > 0 ? known : undefined
    const warning = stale(feeds, now) ?? (current && shrunken(feeds, current, wanted))
    if (warning === undefined) continue
    if (current === undefined) {
      const hint = 'the list has no live content to keep; check why the file is not updated'
      warnings.push({ ...warning, message: `${warning.message}takes it anyway`, hint })
      continue
    }
    const inline = feeds[0]?.inline ?? []
    settled.set(name, held(wanted, current, inline))
    const besides = inline.length > 0 ? ' and the entries of the config' : ''
    warnings.push({ ...warning, message: `${warning.message}keeps its live content${besides}`, hint: TAKE })
  }
  return { lists: settled, warnings }
}
