// The blast radius of a plan: how much it removes from lists, how much of the address space its blocklists block, and how
// wide their entries are. A limit is one of the config, so each guard has a flag that exceeds it once.

import type { Diagnostic, Location } from '../diagnostics.ts'
import type { AddressSet, Family } from '../model/address.ts'
import type { Desired, Entries } from '../model/desired.ts'
import { formatCount, percent } from '../model/numbers.ts'
import { countTouched } from '../model/prefixes.ts'
import type { Amount } from '../model/radius.ts'
import { EMPTY_SET, subtract, union, WIDTH } from '../model/ranges.ts'
import { decides } from '../model/rate-sources.ts'
import { decidesAlone } from '../model/scope.ts'
import { covered, SPACE } from '../model/share.ts'
import { type List, listPrefixes, type Scope, type State } from '../model/state.ts'
import { formatRange, prefixLength } from '../model/text.ts'
import type { Change, Plan } from './change.ts'
import { everyAddress, missing, prefixCount } from './delta.ts'
import type { Accepted } from './feeds.ts'

const FAMILIES: readonly Family[] = [4, 6]

/** A share of fewer live prefixes says little: one of two is half of them. */
const FEWEST = 10

const MOST_NAMED = 3

type ListChange = Extract<Change, { kind: 'list' }>

/** Changes of lists by an edit of the config or of a file. A repair of drift brings back what was accepted before. */
const editsOf = ({ changes }: Pick<Plan, 'changes'>): ListChange[] =>
  changes.flatMap((change) => (change.kind === 'list' && change.reason !== 'drift' ? [change] : []))

interface Removal {
  readonly of: string
  readonly removed: number
  readonly live: number
}

/** Counts what a list loses: quickly, at least as much as exactly. */
type Count = (before: List, rest: List) => number

const quickly: Count = (before, rest) => prefixCount(missing(before, rest))

/** A prefix that loses a part of its addresses counts once, not each prefix of that part. */
const exactly: Count = (before, rest) => {
  const [had, lost] = [everyAddress(before), missing(before, rest)]
  return Math.min(prefixCount(lost), countTouched(had.v4, lost.v4) + countTouched(had.v6, lost.v6))
}

function removalOf({ before, after }: ListChange, count: Count): Removal | undefined {
  if (before === undefined || !decides(before)) return undefined
  const rest = after?.kind === before.kind ? after : { ...before, sets: [] }
  return { of: `list ${before.name}`, removed: count(before, rest), live: listPrefixes(before) }
}

function exceeds({ removed, live }: Removal, limit: Amount): boolean {
  if ('count' in limit) return removed > limit.count
  return live >= FEWEST && removed > live * limit.share
}

/** `12.5%`, as in the config. */
const limitText = (share: number): string => `${Number((share * 100).toFixed(3))}%`

const amountText = (limit: Amount): string => ('count' in limit ? formatCount(limit.count) : limitText(limit.share))

const refusal = (code: Diagnostic['code'], message: string, hint: string, at: Location): Diagnostic => ({
  code,
  severity: 'error',
  message,
  hint,
  at,
})

/** Names of the first few, and the number of the others. */
function named(texts: readonly string[]): string {
  const more = texts.length > MOST_NAMED ? [`and ${texts.length - MOST_NAMED} more`] : []
  return [...texts.slice(0, MOST_NAMED), ...more].join('; ')
}

function guardRemoved({ radius: { maxRemoved } }: Desired, edits: readonly ListChange[], live: State): Diagnostic[] {
  if (maxRemoved === undefined) return []
  const { value, at } = maxRemoved
  const deciding = [...live.lists.values()].filter(decides)
  const foundBy = (count: Count): readonly Removal[] => {
    const removals = edits.flatMap((change) => removalOf(change, count) ?? [])
    const all: Removal = {
      of: 'all lists together',
      removed: removals.reduce((sum, { removed }) => sum + removed, 0),
      live: deciding.reduce((sum, list) => sum + listPrefixes(list), 0),
    }
    return [...removals, ...(deciding.length > 1 ? [all] : [])].filter((one) => exceeds(one, value))
  }
  const found = foundBy(quickly).length === 0 ? [] : foundBy(exactly)
  if (found.length === 0) return []
  const texts = found.map(({ of, removed, live: before }) => {
    const share = before > 0 ? ` (${percent(removed / before)})` : ''
    return `${formatCount(removed)} of ${formatCount(before)} prefixes of ${of}${share}`
  })
  const message = `this would remove ${named(texts)}, but limits.max_removed is ${amountText(value)}`
  return [refusal('E245', message, 'if they are meant to go, add `--accept-removed`', at)]
}

/** The addresses of all lists of a kind under scopes that count. */
function addressesOf(lists: Iterable<List>, kind: List['kind'], counts: (scope: Scope) => boolean): AddressSet {
  let all = EMPTY_SET
  for (const list of lists) {
    for (const { scope, addresses } of list.kind === kind ? list.sets : []) {
      if (counts(scope)) all = { v4: union(all.v4, addresses.v4), v6: union(all.v6, addresses.v6) }
    }
  }
  return all
}

/** Addresses from which no packet passes, on some interface at least, because a blocklist has them. */
export function blockedBy({ lists }: Pick<State, 'lists'>): AddressSet {
  const blocked = addressesOf(lists.values(), 'blocklist', decidesAlone)
  const spared = addressesOf(
    lists.values(),
    'allowlist',
    (scope) => decidesAlone(scope) && scope.interfaces === undefined,
  )
  return { v4: subtract(blocked.v4, spared.v4), v6: subtract(blocked.v6, spared.v6) }
}

/** An entry of a blocklist that decides about every packet of its sources, with its place. */
interface Entry {
  readonly list: string
  readonly entries: Entries
  readonly index: number
  readonly at: Location
}

function* wholeEntries({ state, provenance }: Desired, family: Family): Generator<Entry> {
  for (const list of state.lists.values()) {
    if (list.kind !== 'blocklist') continue
    for (const source of provenance.lists.get(list.name) ?? []) {
      const scope = list.sets[source.set]?.scope
      if (scope === undefined || !decidesAlone(scope)) continue
      const entries = source[family === 4 ? 'v4' : 'v6']
      const file = provenance.files[source.file] ?? ''
      for (let index = 0; index < entries.length; index++) {
        yield { list: list.name, entries, index, at: { file, line: entries.line[index] || 1, column: 1, length: 1 } }
      }
    }
  }
}

/** Number of leading bits in which the bounds of an entry agree: it has more addresses than a longer prefix. */
function commonBits({ entries: { family, start, end }, index }: Entry): number {
  const width = WIDTH[family]
  for (let word = 0; word < width; word++) {
    const differing = ((start[index * width + word] as number) ^ (end[index * width + word] as number)) >>> 0
    if (differing !== 0) return word * 32 + Math.clz32(differing)
  }
  return width * 32
}

/** Number of addresses. */
function sizeOf({ entries: { family, start, end }, index }: Entry): bigint {
  const width = WIDTH[family]
  const numberOf = (bounds: Uint32Array): bigint =>
    bounds.slice(index * width, (index + 1) * width).reduce((sum, word) => (sum << 32n) | BigInt(word), 0n)
  return numberOf(end) - numberOf(start) + 1n
}

/** The entry as a set. */
function alone({ entries: { family, start, end }, index }: Entry): AddressSet {
  const [from, to] = [index * WIDTH[family], (index + 1) * WIDTH[family]]
  const range = { family, length: 1, start: start.slice(from, to), end: end.slice(from, to) }
  return family === 4 ? { ...EMPTY_SET, v4: range } : { ...EMPTY_SET, v6: range }
}

function entryText({ entries: { family, start, end }, index, list, at }: Entry): string {
  return `${formatRange(family, start, end, index * WIDTH[family])} of list ${list} (${at.file}:${at.line}:${at.column})`
}

const SPACES: Readonly<Record<Family, string>> = { 4: 'IPv4 addresses', 6: 'networks of 64 bits in 2000::/3' }

function guardBlocked(desired: Desired, state: State): Diagnostic[] {
  const { maxBlocked } = desired.radius
  if (maxBlocked === undefined) return []
  const { value, at } = maxBlocked
  const blocked = blockedBy(state)
  return FAMILIES.flatMap((family): Diagnostic[] => {
    const [count, space] = [covered(blocked, family), SPACE[family]]
    if (count <= space * value) return []
    let largest: Entry | undefined
    let most = 0
    for (const entry of wholeEntries(desired, family)) {
      const size = covered(alone(entry), family)
      if (size > most) [largest, most] = [entry, size]
    }
    const guilty = largest === undefined ? '' : `; the widest entry is ${entryText(largest)}`
    const message =
      `the blocklists would block ${percent(count / space)} of all ${SPACES[family]} (${formatCount(count)} of ${formatCount(space)}), ` +
      `but limits.max_blocked is ${limitText(value)}${guilty}`
    const hint =
      'if they are meant to be blocked, add `--accept-blocked`, or raise the limit: the flag holds for one apply'
    return [refusal('E246', message, hint, largest?.at ?? at)]
  })
}

function guardWidest(desired: Desired): Diagnostic[] {
  const { widest } = desired.radius
  if (widest === undefined) return []
  const found: Entry[] = []
  for (const family of FAMILIES) {
    const least = widest.value[family === 4 ? 'v4' : 'v6']
    const most = 1n << BigInt(WIDTH[family] * 32 - least)
    for (const entry of wholeEntries(desired, family))
      if (commonBits(entry) < least && sizeOf(entry) > most) found.push(entry)
  }
  const [first] = found
  if (first === undefined) return []
  const texts = found.map((entry) => {
    const { entries, index } = entry
    const { family, start, end } = entries
    const least = widest.value[family === 4 ? 'v4' : 'v6']
    const isPrefix = prefixLength(family, start, end, index * WIDTH[family]) >= 0
    const size = family === 4 && !isPrefix ? `, ${formatCount(Number(sizeOf(entry)))} addresses` : ''
    return `${entryText(entry)}${size} is wider than /${least}`
  })
  const message = `limits.widest: ${named(texts)}`
  const hint = 'if it is meant to be so wide, add `--accept-wide`, or change the limit: the flag holds for one apply'
  return [refusal('E247', message, hint, first.at)]
}

/**
 * Errors for a plan that reaches further than the limits of the config, and than the command line accepts. A plan that
 * edits no list is never refused.
 */
export function guardRadius(
  desired: Desired,
  plan: Pick<Plan, 'changes' | 'state'>,
  live: State,
  { acceptRemoved, acceptBlocked, acceptWide }: Pick<Accepted, 'acceptRemoved' | 'acceptBlocked' | 'acceptWide'>,
): Diagnostic[] {
  const edits = editsOf(plan)
  if (edits.length === 0) return []
  return [
    ...(acceptRemoved ? [] : guardRemoved(desired, edits, live)),
    ...(acceptBlocked ? [] : guardBlocked(desired, plan.state)),
    ...(acceptWide ? [] : guardWidest(desired)),
  ]
}
