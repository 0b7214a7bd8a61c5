// Feeds that apply should not trust: a file that has not been updated for too long, one that lost most of the live
// prefixes, or one that grew out of proportion. Such a list keeps its live content until the user accepts the file,
// because a broken download looks like a feed that really became shorter, and a broken feed blocks everybody.

import type { Diagnostic } from '../diagnostics.ts'
import { type AllowedCuts, NO_ALLOWED_CUTS } from '../model/contact.ts'
import type { Desired, Feed } from '../model/desired.ts'
import type { Live } from '../model/live.ts'
import { formatCount, percent } from '../model/numbers.ts'
import { EMPTY_SET, equals, union } from '../model/ranges.ts'
import { largestShare } from '../model/share.ts'
import { type List, listPrefixes, type ScopedSet, scopeKey } from '../model/state.ts'
import { addressesByScope, everyAddress, missing, prefixCount } from './delta.ts'

/** Inputs of a plan besides the file and the live state. */
export interface Terms {
  /** Unix time in seconds; 0 = unknown, and then no feed is stale. */
  readonly now: number
  /** Accept stale and shrunken feeds as they are. */
  readonly acceptShrink: boolean
  /** Accept feeds as they are that grew out of proportion. */
  readonly acceptGrowth: boolean
  readonly allowedCuts: AllowedCuts
  /** Exceed `limits.max_removed`, `limits.max_blocked` and `limits.widest`. */
  readonly acceptRemoved: boolean
  readonly acceptBlocked: boolean
  readonly acceptWide: boolean
}

/** The feeds, cuts and reach that a user accepts. */
export type Accepted = Omit<Terms, 'now'>

export const NONE_ACCEPTED: Accepted = {
  acceptShrink: false,
  acceptGrowth: false,
  allowedCuts: NO_ALLOWED_CUTS,
  acceptRemoved: false,
  acceptBlocked: false,
  acceptWide: false,
}

export const PLAIN_TERMS: Terms = { now: 0, ...NONE_ACCEPTED }

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
  if (prefixCount(missing(current, wanted)) <= before * feed.maxShrink) return undefined
  const lost = Math.floor(((before - after) / before) * 100)
  const message =
    `list ${feed.list} would go from ${formatCount(before)} to ${formatCount(after)} prefixes, ${lost}% fewer, ` +
    `but max_shrink is ${Math.round(feed.maxShrink * 100)}%: it `
  return { code: 'W210', severity: 'warning', message, at: feed.at }
}

/** Largest share of IPv4, or of the global unicast addresses of IPv6, that a list may gain at once. */
const MOST_GAINED = 1 / 16

/**
 * The warning for a list that would gain a large share of an address space, or prefixes out of proportion. Without live
 * content only the share counts.
 */
function grown(feeds: readonly Feed[], current: List | undefined, wanted: List): Diagnostic | undefined {
  const feed = feeds.toSorted((left, right) => left.maxGrowth - right.maxGrowth)[0]
  if (feed === undefined || feed.maxGrowth === Number.POSITIVE_INFINITY) return undefined
  if (current && same(current, wanted)) return undefined
  const gained = current ? missing(wanted, current) : everyAddress(wanted)
  const [family, share] = largestShare(gained)
  const warning = (message: string): Diagnostic => ({ code: 'W240', severity: 'warning', message, at: feed.at })
  if (share > MOST_GAINED) {
    const space = family === 4 ? 'all IPv4 addresses' : 'the IPv6 addresses in 2000::/3'
    const most = `a list may gain ${percent(MOST_GAINED)} at once`
    return warning(`list ${feed.list} would cover ${percent(share)} more of ${space}, but ${most}: it `)
  }
  if (current === undefined) return undefined
  const [before, after] = [listPrefixes(current), listPrefixes(wanted)]
  if (after - before <= before * feed.maxGrowth) return undefined
  const times = Math.floor(after / before)
  return warning(
    `list ${feed.list} would go from ${formatCount(before)} to ${formatCount(after)} prefixes, ${formatCount(times)} times as many, ` +
      `but max_growth is ${Math.round(feed.maxGrowth * 100)}%: it `,
  )
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

/** The warning for feeds that the terms do not accept, if any. */
function distrust(
  feeds: readonly Feed[],
  current: List | undefined,
  wanted: List,
  { now, acceptShrink, acceptGrowth }: Terms,
): Diagnostic | undefined {
  const old = acceptShrink ? undefined : (stale(feeds, now) ?? (current && shrunken(feeds, current, wanted)))
  return old ?? (acceptGrowth ? undefined : grown(feeds, current, wanted))
}

/** The hint about a list that keeps its live content. The flags hold for every list, and the keys for one. */
function take({ code }: Diagnostic): string {
  const [flag, which] = code === 'W240' ? ['growth', 'grown'] : ['shrink', 'stale or shrunken']
  return `check the source of the file; to accept it and every other ${which} feed, run \`xdp apply --accept-${flag}\``
}

/**
 * Decides for each list with a feed whether it takes the content of its files or keeps the live content. A list that is
 * not live yet, or was of the other kind, takes the files whatever their age.
 */
export function settle(desired: Desired, live: Pick<Live, 'state'>, terms: Terms): Settled {
  const { lists } = desired.state
  if (desired.feeds.length === 0) return { lists, warnings: [] }
  const settled = new Map(lists)
  const warnings: Diagnostic[] = []
  for (const name of new Set(desired.feeds.map(({ list }) => list))) {
    const wanted = lists.get(name)
    if (wanted === undefined) continue
    const feeds = desired.feeds.filter(({ list }) => list === name)
    const known = live.state.lists.get(name)
    const current = known?.kind === wanted.kind && listPrefixes(known) > 0 ? known : undefined
    const warning = distrust(feeds, current, wanted, terms)
    if (warning === undefined) continue
    if (current === undefined) {
      const why = warning.code === 'W240' ? 'whether it is meant to be so wide' : 'why the file is not updated'
      const hint = `the list has no live content to keep; check ${why}`
      warnings.push({ ...warning, message: `${warning.message}takes it anyway`, hint })
      continue
    }
    const inline = feeds[0]?.inline ?? []
    settled.set(name, held(wanted, current, inline))
    const besides = inline.length > 0 ? ' and the entries of the config' : ''
    warnings.push({ ...warning, message: `${warning.message}keeps its live content${besides}`, hint: take(warning) })
  }
  return { lists: settled, warnings }
}
