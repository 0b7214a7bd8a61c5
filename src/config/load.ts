// The config room: the text of a config file → the desired state, with the place of every value. Reads the config and
// its list files only: no kernel, no environment, no defaults other than those of schemas/xdp.schema.json. Collects all
// errors and throws them together; any other exception is a bug. An empty, unreadable or missing file is an error and
// never means "remove everything".

import { createHash } from 'node:crypto'
import { accessSync } from 'node:fs'
import { type Diagnostic, fail } from '../diagnostics.ts'
import { anomalyTexts } from '../model/anomaly.ts'
import { CONFIRM } from '../model/confirmation.ts'
import type { Desired } from '../model/desired.ts'
import { formatCount } from '../model/numbers.ts'
import { countPrefixes } from '../model/prefixes.ts'
import { protectTexts } from '../model/protect.ts'
import type { List, ListKind } from '../model/state.ts'
import { readHistory } from './history.ts'
import { readConfig, readIncludes, readTop } from './include.ts'
import { interfaceNames, readInterfaces } from './interfaces.ts'
import { readAnomalies } from './lists/anomalies.ts'
import { type PlacedEntry, readLists } from './lists/lists.ts'
import { readProtect } from './lists/protect.ts'
import { readRateLimits } from './lists/rate-limits.ts'
import { sourceEntries } from './lists/rate-sources.ts'
import type { Shelf } from './lists/shelf.ts'
import { readSynProtection } from './lists/syn-protection.ts'
import { readPolicy } from './policy.ts'
import { readRadius } from './radius.ts'
import { readServices } from './services/services.ts'
import { readDuration } from './text/duration.ts'
import { fileNumber } from './text/file-number.ts'
import { hostText } from './text/own-host.ts'
import { type Part, soundField } from './text/part.ts'
import { createReport, type Report } from './text/report.ts'
import { forgetFiles, isUnusable, newReads, type Reads, refuse, sourcesOf } from './text/source.ts'
import { wordsOf } from './text/words.ts'
import type { WrittenLimits } from './text/written.ts'
import { warnOfEverything, warnOfIdleEntries, warnOfIdleServices, warnOfRateLimits, warnOfSecret } from './warn.ts'
import { readWatch } from './watch.ts'

const LISTS = ['allowlist', 'blocklist'] as const
const DEFAULT_PATHS = ['./xdp.yaml', '/etc/xdp/xdp.yaml'] as const

/** The given path, or the first default path that exists. Throws XdpError E001 if neither does. */
export function findConfig(explicit?: string): string {
  if (explicit !== undefined) return explicit
  const found = DEFAULT_PATHS.find(exists)
  if (found !== undefined) return found.replace(/^\.\//, '')
  throw fail('E001', `no config file: neither ${DEFAULT_PATHS.join(' nor ')} exists`, 'name one with `-f FILE`')
}

function exists(path: string): boolean {
  try {
    accessSync(path)
    return true
  } catch {
    return false
  }
}

/** The entries of one kind without an error in them. */
function soundEntries({ root, source, wrong }: Part, kind: ListKind): PlacedEntry[] {
  const items = root.fields?.get(kind)?.items ?? []
  return items.flatMap((placed, index) => (wrong.has(`${kind}/${index}`) ? [] : [{ kind, placed, source }]))
}

/** Default limit of prefixes in all lists together: a config with more is more likely a mistake than intended. */
const MAX_PREFIXES = 16_000_000

/** Reports an error if the lists together exceed `limits.prefixes`. */
function checkLimit({ root, source, wrong }: Part, lists: ReadonlyMap<string, List>, report: Report): void {
  const limits = root.fields?.get('limits')
  const written = wrong.size > 0 ? undefined : (limits?.value as WrittenLimits | undefined)?.prefixes
  const most = written ?? MAX_PREFIXES
  const sets = [...lists.values()].flatMap((list) => list.sets)
  const count = sets.reduce((sum, { addresses: { v4, v6 } }) => sum + countPrefixes(v4) + countPrefixes(v6), 0)
  if (count <= most) return
  const placed = limits?.fields?.get('prefixes')
  const at = placed && source.locate(placed.from, placed.to)
  const hint = 'to allow more, write `limits: { prefixes: N }`; each prefix takes about 20 bytes of kernel memory'
  report.error('E039', at, `the lists hold ${formatCount(count)} prefixes; the limit is ${formatCount(most)}`, hint)
}

/** `limits.confirm` in milliseconds; undefined if it is not written. */
function readConfirm(top: Part, report: Report): number | undefined {
  const placed = soundField(top, 'limits', 'confirm')
  if (placed === undefined) return undefined
  const written = placed.value as string
  const milliseconds = readDuration(written)
  if (milliseconds >= CONFIRM.least && milliseconds <= CONFIRM.most) return milliseconds
  const at = top.source.locate(placed.from, placed.to)
  report.error('E013', at, `confirm must be ${CONFIRM.text}, not ${written}`, wordsOf(['limits', 'confirm'])?.hint)
  return undefined
}

/** `bans.persist`. */
function readPersist(top: Part): Desired['persist'] {
  const written = soundField(top, 'bans', 'persist')?.value as boolean | string | undefined
  return written === false ? undefined : written
}

/** SHA-256 of the config, followed by the digests of the files that it includes or names. */
function digest(bytes: Buffer, { files, digests }: Reads): string {
  const hash = createHash('sha256').update(bytes)
  for (const file of files.slice(1)) hash.update(Buffer.from(digests.get(file) ?? '', 'hex'))
  return hash.digest('hex')
}

export interface Loaded {
  readonly desired: Desired
  readonly warnings: readonly Diagnostic[]
  /** The addresses of the host, if the config names them. */
  readonly host?: string
}

export interface LoadOptions {
  /** Parsed list files of earlier commands. */
  readonly shelf?: Shelf
  /** Gets every path that the config room looks at, even if it throws an error; has the rule of trust. */
  readonly reads?: Reads
}

function load(path: string, { shelf = {}, reads = newReads() }: LoadOptions): Loaded {
  const { files } = reads
  files.push(path)
  const bytes = readConfig(path, reads)
  if (isUnusable(bytes)) return refuse(bytes)
  // The user has named the config, but the config names the other files.
  const report = createReport(files, (file) => file !== path && reads.trust.isPrivate(file))
  const top = readTop(path, bytes, report, shelf.services)
  if (top === undefined) {
    report.finish()
    throw new Error('a config without content was not reported')
  }
  const parts = [top, ...readIncludes(top, reads, report, shelf.services)]
  const { attachments, options } = readInterfaces(parts, report)
  const protect = readProtect(top, report)
  const entries = [
    ...LISTS.flatMap((kind) => parts.flatMap((part) => soundEntries(part, kind))),
    ...sourceEntries(parts),
  ]
  const { services, health, places } = readServices(parts, report)
  const vips = new Map([...services].map(([name, { vip }]) => [name, vip] as const))
  const interfaces = { names: interfaceNames(parts), sets: new Set<string>(), vips, host: reads.host }
  const { lists, provenance, feeds } = readLists(entries, reads, report, shelf, interfaces, top)
  checkLimit(top, lists, report)
  const anomalies = anomalyTexts(readAnomalies(top, interfaces, report))
  const syn = readSynProtection(top, report)
  const own = { protect: protectTexts(protect), anomalies, syn_protection: syn.text }
  const policy = readPolicy(parts, own, report)
  const rates = readRateLimits(parts, interfaces, report)
  for (const part of parts) warnOfSecret(part, reads, report)
  const { rateLimits } = rates
  const state = {
    program: undefined,
    policy,
    interfaces: attachments,
    lists,
    services,
    ...(rateLimits && { rateLimits }),
  }
  const desired: Desired = {
    state,
    options,
    provenance: { ...provenance, services: places, rateLimits: rates.places, synProtection: syn.at },
    feeds,
    health,
    protect,
    watch: readWatch(top, report),
    confirmMs: readConfirm(top, report),
    radius: readRadius(top),
    history: readHistory(top, report),
    persist: readPersist(top),
    config: { path, sha256: digest(bytes, reads) },
    sources: sourcesOf(reads),
  }
  for (const known of shelf.services?.keys() ?? []) if (fileNumber(files, known) < 0) shelf.services?.delete(known)
  warnOfEverything(desired, report)
  if (!report.failed) warnOfIdleEntries(desired, report)
  warnOfIdleServices(desired, report)
  warnOfRateLimits(desired, report)
  return { desired, warnings: report.finish() }
}

/**
 * Reads a config, the files it includes, and the list files they name.
 *
 * @throws XdpError with the errors of all files, in file order, at most 20; `omitted` counts the rest
 */
export async function loadConfig(path: string, options: LoadOptions = {}): Promise<Loaded> {
  const { reads = newReads() } = options
  const loaded = load(path, { ...options, reads })
  const { host } = reads
  if (!host.isNamed || host.addresses !== undefined) return loaded
  // Only a config that names the host waits for its addresses, which is why it is read twice.
  host.addresses = await host.read()
  forgetFiles(reads)
  return { ...load(path, { ...options, reads }), host: hostText(host.addresses) }
}
