// Imported lists and services → the text of a config, and a list file for each list too long for the config. Keeps the
// order of keys, lists and services, so that importing twice gives equal text.

import { Document, isMap, type Scalar, type YAMLMap, YAMLSeq } from 'yaml'
import type { Diagnostic } from '../diagnostics.ts'
import type { AddressSet, Ranges } from '../model/address.ts'
import { countPrefixes } from '../model/prefixes.ts'
import { EMPTY6, equals, subtract } from '../model/ranges.ts'
import type { ListKind } from '../model/state.ts'
import { compareAddresses } from '../model/text.ts'
import { EVERY, MAPPED } from './addresses.ts'
import { type LimitSummary, namedLimits, sourceRanges, styleLimits, suggestionText, synFields } from './limit-text.ts'
import { listText } from './list-text.ts'
import { modeline } from './modeline.ts'
import { assignNames, uniqueNames } from './names.ts'
import { FLOWING, scopeFields } from './scope-text.ts'
import { type NamedService, serviceFields, styleServices } from './service-text.ts'
import { type Imported, type ImportedInterface, type ImportedList, leftOut, type SourceName } from './source.ts'
import { addressTexts } from './written-scope.ts'

/** Turns off the guards against mistakes in public feeds, because they would change an imported list. */
const AS_WRITTEN = { exclude_private: false, min_prefix: { v4: 0, v6: 0 } } as const

/** Most ranges of a list inside the config; a longer list gets a file. */
const INLINE = 20

/** Most ranges of a config that is printed and not written into a directory. */
export const PRINTABLE = 1000

/** Losses that the config lists in its header. */
const NAMED_LOSSES = 20

export interface ListFile {
  /** Relative to the config: `lists/NAME.txt`. */
  readonly path: string
  readonly content: Uint8Array
}

export interface ListSummary {
  readonly name: string
  readonly kind: ListKind
  readonly prefixes: number
  readonly file: string | null
}

export interface ServiceSummary {
  readonly name: string
  readonly vip: string
  readonly port: number | 'any'
  readonly protocol: 'tcp' | 'udp'
  readonly backends: number
}

export interface Composed {
  readonly config: string
  readonly files: readonly ListFile[]
  readonly lists: readonly ListSummary[]
  readonly services: readonly ServiceSummary[]
  readonly limits: readonly LimitSummary[]
  /** Number of ranges in all lists. */
  readonly ranges: number
  readonly leftOut: readonly Diagnostic[]
}

export interface ComposeOptions {
  readonly from: SourceName
  /** Name of the input, for the comment on top. */
  readonly source: string
  readonly interfaces: readonly ImportedInterface[]
  /** Path of the config's schema for editors, if a file has it. */
  readonly schema: string | undefined
  /** Whether to write list files; if not, all lists are inside the config. */
  readonly files: boolean
}

const within = ({ start, end }: Ranges, index: number): boolean =>
  compareAddresses(start.subarray(index * 4, index * 4 + 4), MAPPED.start) >= 0 &&
  compareAddresses(end.subarray(index * 4, index * 4 + 4), MAPPED.end) <= 0

/** A list without addresses that a config refuses: IPv4 in IPv6 form. */
function acceptable(list: ImportedList, notes: Diagnostic[]): ImportedList {
  const { v4, v6 } = list.addresses
  let mapped = false
  for (let index = 0; index < v6.length && !mapped; index++) mapped = within(v6, index)
  if (!mapped) return list
  const message = 'IPv4 addresses in IPv6 form (::ffff:0:0/96) left out: no packet has such a source'
  notes.push(leftOut({ text: list.places[0] ?? list.name ?? list.kind }, message))
  const rest = subtract(v6, { ...EMPTY6, length: 1, start: MAPPED.start, end: MAPPED.end })
  return { ...list, addresses: { v4, v6: rest } }
}

const rangeCount = ({ v4, v6 }: AddressSet): number => v4.length + v6.length

/** Foreign text for a comment: on one line, without characters that a terminal or YAML would interpret. */
const oneLine = (text: string): string => text.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\ufeff\ufffe\uffff]+/gu, ' ').trim()

/** `input rule 1, input rule 2, input rule 3 and 9 more`. */
function origin(places: readonly string[]): string {
  const shown = places.slice(0, 3).join(', ')
  return oneLine(places.length > 3 ? `${shown} and ${places.length - 3} more` : shown)
}

interface Entry {
  readonly kind: ListKind
  readonly summary: ListSummary
  /** Elements of the YAML list; the comment goes above the first. */
  readonly elements: readonly unknown[]
  readonly comment: string
  readonly file: ListFile | undefined
}

const isEvery = (ranges: Ranges): boolean => equals(ranges, EVERY[ranges.family])

function cidrFields(all: readonly string[], { addresses: { v4, v6 }, scope }: ImportedList): Record<string, unknown> {
  // `any` without a condition would be a mistake in a config.
  if ((scope.protocol !== 'any' || scope.match) && isEvery(v4) && isEvery(v6)) return { cidr: 'any' }
  return all.length === 1 ? { cidr: all[0] } : { cidrs: all }
}

function entryOf(list: ImportedList, name: string, { files, from }: ComposeOptions): Entry {
  const { kind, addresses } = list
  const comment = `from ${origin(list.places)}`
  const path = files && rangeCount(addresses) > INLINE ? `lists/${name}.txt` : undefined
  // A list too long to print gets no lines, because the caller refuses it.
  const all = path === undefined && rangeCount(addresses) <= PRINTABLE ? addressTexts(addresses) : []
  const words = list.comment === undefined ? '' : oneLine(list.comment)
  const fields = {
    ...(list.name !== undefined && { name }),
    ...(path === undefined ? cidrFields(all, list) : { file: path, ...AS_WRITTEN }),
    ...scopeFields(list.scope),
    ...(words !== '' && { comment: words }),
  }
  const plain = Object.keys(fields).every((key) => key === 'cidr' || key === 'cidrs')
  const prefixes = countPrefixes(addresses.v4) + countPrefixes(addresses.v6)
  const head = `# xdp import --from ${from}: ${comment}\n`
  return {
    kind,
    summary: { name: list.name === undefined ? kind : name, kind, prefixes, file: path ?? null },
    elements: plain ? all : [fields],
    comment: ` ${comment}`,
    file: path === undefined ? undefined : { path, content: listText(head, addresses) },
  }
}

/** An interface without a known mode may use either, because the imported rules worked on any interface. */
const interfaceFields = (interfaces: readonly ImportedInterface[]): Record<string, unknown> =>
  Object.fromEntries(interfaces.map(({ name, mode }) => [name, { mode: mode ?? ['native', 'generic'] }]))

function headOf(
  losses: readonly Diagnostic[],
  what: 'list' | 'service',
  { from, source, schema }: ComposeOptions,
): string {
  const lines = losses.slice(0, NAMED_LOSSES).map(({ at, message }) => {
    const place = at === undefined ? '' : `${at.file}:${at.line}: `
    return `#   ${oneLine(`${place}${message}`)}`
  })
  if (losses.length > lines.length) lines.push(`#   and ${losses.length - lines.length} more`)
  return [
    ...modeline(schema),
    '#',
    `# Imported with \`xdp import --from ${from}\` from ${oneLine(source)}.`,
    ...(lines.length > 0 ? [`# Not imported, because a ${what} cannot express it:`, ...lines] : []),
    '',
    '',
  ].join('\n')
}

/** A config passes connections of the host under default drop, unless it says otherwise. */
const policyOf = ({ default: verdict, established }: Imported): Record<string, unknown> => ({
  default: verdict,
  ...(verdict === 'drop' && established !== 'pass' && { established: 'judge' }),
})

function render(
  imported: Imported,
  entries: readonly Entry[],
  losses: readonly Diagnostic[],
  options: ComposeOptions,
): string {
  const head = headOf(losses, 'list', options)
  const of = (kind: ListKind): readonly Entry[] => entries.filter((entry) => entry.kind === kind)
  const elements = (kind: ListKind): unknown[] => of(kind).flatMap((entry) => entry.elements)
  const limits = namedLimits(imported.limits ?? [], options.files)
  const { protects = [], anomalies = [] } = imported
  const document = new Document({
    version: 1,
    interfaces: interfaceFields(options.interfaces),
    policy: policyOf(imported),
    allowlist: elements('allowlist'),
    blocklist: elements('blocklist'),
    ...(anomalies.length > 0 && { anomalies }),
    ...(limits.length > 0 && { rate_limits: limits.map(({ fields }) => fields) }),
    ...(protects.length > 0 && { syn_protection: synFields(protects) }),
  })
  for (const kind of ['allowlist', 'blocklist'] as const) {
    const items = (document.get(kind) as YAMLSeq).items as (Scalar | YAMLMap)[]
    let at = 0
    for (const { comment, elements: own } of of(kind)) {
      const item = items[at]
      if (item) item.commentBefore = comment
      at += own.length
    }
    for (const item of items) flowLists(item)
  }
  if (limits.length > 0) styleLimits(document.get('rate_limits') as YAMLSeq, limits, oneLine)
  if (protects.length > 0) flowLists(document.get('syn_protection') as YAMLMap)
  return head + textOf(document) + suggestionText(imported.suggestions ?? [], oneLine)
}

/** The config of a balancer. */
function renderServices(
  services: readonly NamedService[],
  losses: readonly Diagnostic[],
  options: ComposeOptions,
): string {
  const interfaces = interfaceFields(options.interfaces)
  const document = new Document({ version: 1, interfaces, services: serviceFields(services) })
  styleServices(document.get('services') as YAMLMap, services, oneLine)
  return headOf(losses, 'service', options) + textOf(document)
}

function textOf(document: Document): string {
  for (const pair of (document.contents as unknown as YAMLMap).items.slice(1)) (pair.key as Scalar).spaceBefore = true
  for (const pair of (document.get('interfaces') as YAMLMap).items) flow(pair.value)
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

const flow = (node: unknown): void => {
  if (isMap(node) || node instanceof YAMLSeq) node.flow = true
}

/** Writes short lists on one line. */
function flowLists(item: Scalar | YAMLMap): void {
  if (!isMap(item)) return
  for (const key of FLOWING) flow(item.get(key))
}

/** The config, its list files, and the losses. */
export function compose(imported: Imported, options: ComposeOptions): Composed {
  const notes: Diagnostic[] = []
  const lists = imported.lists
    .map((list) => acceptable(list, notes))
    .filter(({ addresses }) => rangeCount(addresses) > 0)
  const names = assignNames(lists)
  const entries = lists.map((list) => entryOf(list, names.get(list) ?? list.kind, options))
  const losses = [...imported.leftOut, ...notes]
  const serviceNames = uniqueNames((imported.services ?? []).map(({ name }) => name))
  const services = (imported.services ?? []).map((service, i) => ({ name: serviceNames[i] as string, service }))
  return {
    config: imported.services ? renderServices(services, losses, options) : render(imported, entries, losses, options),
    files: [...entries, ...namedLimits(imported.limits ?? [], options.files)].flatMap(({ file }) => file ?? []),
    lists: summaries(entries),
    services: services.map(summaryOf),
    limits: namedLimits(imported.limits ?? []).map(({ summary }) => summary),
    ranges:
      lists.reduce((sum, { addresses }) => sum + rangeCount(addresses), 0) +
      (imported.limits ?? []).reduce((sum, limit) => sum + sourceRanges(limit), 0),
    leftOut: losses,
  }
}

function summaryOf({ name, service: { fields } }: NamedService): ServiceSummary {
  const { vip, port, protocol, backends } = fields as Omit<ServiceSummary, 'name' | 'backends'> & {
    readonly backends: readonly unknown[]
  }
  return { name, vip, port, protocol, backends: backends.length }
}

/** Combines the entries without a name into one list per kind. */
function summaries(entries: readonly Entry[]): ListSummary[] {
  const found = new Map<string, ListSummary>()
  for (const { summary } of entries) {
    const known = found.get(summary.name)
    const both = known && { ...known, prefixes: known.prefixes + summary.prefixes, file: known.file ?? summary.file }
    found.set(summary.name, both ?? summary)
  }
  return [...found.values()]
}
