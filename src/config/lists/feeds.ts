// Entries with `file`, `url` or `host`: finds the files or copies, reads each once even if several entries name it, and
// reports left-out entries.

import { dirname, isAbsolute, join } from 'node:path'
import type { Location } from '../../diagnostics.ts'
import type { Feed, FeedFile } from '../../model/desired.ts'
import { formatCount, plural } from '../../model/numbers.ts'
import type { ListKind } from '../../model/state.ts'
import type { Lines } from '../feed/chunks.ts'
import { expand, isPattern } from '../feed/glob.ts'
import { type Parsed, parseText } from '../feed/parsed.ts'
import type { FeedOptions } from '../feed/read.ts'
import { readDuration, readGrowth, readShare } from '../text/duration.ts'
import { fileNumber } from '../text/file-number.ts'
import type { Remote } from '../text/remote.ts'
import type { Report } from '../text/report.ts'
import { quote, show } from '../text/show.ts'
import {
  checkText,
  isUnusable,
  LIST_LIMIT,
  markLength,
  type Reads,
  readSource,
  type Source,
  sha256,
  type Unusable,
  unpack,
} from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenEntry } from '../text/written.ts'
import { aboutCopy, damageOf, neverFetched, remoteOf } from './copies.ts'
import { keep, recall, type Shelf, shelfName } from './shelf.ts'

/** Entries refer to files by 16-bit numbers. */
const MAX_FILES = 65_536

/** Default of `min_prefix`: a feed has no reason to list more than a /8 at once, or an IPv6 block of similar size. */
const MIN_PREFIX = { v4: 8, v6: 19 } as const
const MAX_SHRINK = '50%'
const MAX_GROWTH = '10000%'

interface Loaded {
  /** SHA-256 of the file on the disk, as hex. */
  readonly digest: string
  readonly modifiedAt: number
  /** Unpacks and checks the text on the first call. */
  readonly text: () => Buffer | Unusable
}

/** The list files of a config, read so far. */
export interface Library extends Reads {
  /** By path; undefined for a file that was reported as unusable. */
  readonly contents: Map<string, Loaded | undefined>
  readonly shelf: Shelf
}

/** An entry with `file`, `url` or `host`, and its context. */
export interface Mention {
  readonly kind: ListKind
  readonly list: string
  readonly entry: WrittenEntry
  /** The whole entry; `file` below is the value of the key that names the source. */
  readonly placed: Placed
  readonly file: Placed
  readonly source: Source
  readonly library: Library
  readonly report: Report
}

function textOf(path: string, content: Buffer): Buffer | Unusable {
  const bytes = unpack(path, content, LIST_LIMIT)
  if (isUnusable(bytes)) return bytes
  return checkText(path, bytes) ?? bytes
}

function load(path: string, reads: Reads): Loaded | Unusable {
  const content = readSource(path, LIST_LIMIT, reads)
  if (isUnusable(content)) return content
  const { bytes, modifiedAt } = content
  let text: Buffer | Unusable | undefined
  return {
    digest: sha256(bytes),
    modifiedAt,
    text: () => {
      text ??= textOf(path, bytes)
      return text
    },
  }
}

/** Reports an unusable file: at the place in that file if it has one, else at the entry that names the file. */
function reportUnusable(reason: Unusable, at: Location, { entry, report }: Mention): void {
  const relative = reason.code === 'E001' && entry.file !== undefined && !isAbsolute(entry.file)
  const hint = relative ? 'a relative path starts at the directory of the config that names it' : reason.hint
  report.error(reason.code, reason.at ?? at, reason.message, hint)
}

/** Reports a copy that was never fetched. */
function reportNeverFetched(remote: Remote, at: Location, { library, report }: Mention): void {
  const { message, hint } = neverFetched(remote, library.files[0] ?? '')
  if (library.copies.missing === 'warn') report.warning('W261', at, `${message}: list ${remote.list} lacks it`, hint)
  else report.error('E261', at, message, hint)
}

/** A list file, or the copy of a source; read only once, even if several entries name it. */
function contentOf(path: string, at: Location, mention: Mention, remote?: Remote): Loaded | undefined {
  const { library, report } = mention
  const { files, contents } = library
  if (contents.has(path)) return contents.get(path)
  if (files.length === MAX_FILES) {
    report.error('E204', at, `the config names more than ${MAX_FILES - 1} files`)
    return undefined
  }
  files.push(path)
  const read = load(path, library)
  const isCopy = remote !== undefined && library.kept === undefined
  const damage = isUnusable(read) || !isCopy ? undefined : damageOf(remote, read.digest)
  const loaded = damage ?? read
  if (isUnusable(loaded)) {
    if (isCopy && loaded.code === 'E001') reportNeverFetched(remote, at, mention)
    else reportUnusable(loaded, at, mention)
  } else {
    library.digests.set(path, loaded.digest)
    library.found.set(path, { modifiedAt: loaded.modifiedAt, text: undefined })
  }
  const content = isUnusable(loaded) ? undefined : loaded
  contents.set(path, content)
  return content
}

/** Parses a list file, or takes it from the shelf; undefined after reporting an error. */
function parse(
  path: string,
  content: Loaded,
  at: Location,
  options: FeedOptions,
  mention: Mention,
): Parsed | undefined {
  const { library, report } = mention
  const name = shelfName(path, options)
  const { digest } = content
  const known = recall(library.shelf, name)
  if (known?.digest === digest) return known
  const bytes = content.text()
  if (isUnusable(bytes)) {
    reportUnusable(bytes, at, mention)
    library.contents.set(path, undefined)
    return undefined
  }
  const parsed = parseText({ path, bytes, from: markLength(bytes), firstLine: 1 }, digest, options, report, known)
  if (parsed === undefined) return undefined
  if (parsed.used === 0) reportEmpty(path, parsed, options, at, report)
  else keep(library.shelf, name, parsed)
  return parsed
}

/** `lists/a.txt:3, :9, :12 and 5 more`. */
function places(path: string, { count, lines }: Lines): string {
  const named = lines.map((line, index) => `${index === 0 ? path : ''}:${line}`).join(', ')
  return count > lines.length ? `${named} and ${formatCount(count - lines.length)} more` : named
}

function warnOf(path: string, parsed: Parsed, { minPrefix }: FeedOptions, at: Location, report: Report): void {
  const { skipped, private: ownNetworks, wide } = parsed
  if (skipped.count > 0) {
    const message = `${plural(skipped.count, 'line')} of ${path} skipped: ${places(path, skipped)}`
    report.warning('W003', at, message, 'to see the errors, write `on_bad_line: error`')
  }
  if (ownNetworks.count > 0) {
    const what = plural(ownNetworks.count, 'entry', 'entries')
    const message = `${what} with private addresses left out: ${places(path, ownNetworks)}`
    report.warning(
      'W004',
      at,
      message,
      'a list with them may cut this host off; to keep some, write them under `cidrs`; to keep all, now and later, write `exclude_private: false`',
    )
  }
  if (wide.count > 0) {
    const what = plural(wide.count, 'entry', 'entries')
    const limit = `/${minPrefix.v4} (IPv4) or /${minPrefix.v6} (IPv6)`
    const message = `${what} wider than ${limit} left out: ${places(path, wide)}`
    report.warning(
      'W004',
      at,
      message,
      'to keep some, write them under `cidrs`; a shorter `min_prefix` keeps all as wide as that, now and later',
    )
  }
}

function reportEmpty(path: string, parsed: Parsed, { where }: FeedOptions, at: Location, report: Report): void {
  if (parsed.found > 0) {
    const message = `${path} holds no usable address: ${plural(parsed.found, 'entry', 'entries')} left out`
    report.error('E006', at, message, 'they are private (see `exclude_private`) or too wide (see `min_prefix`)')
    return
  }
  const skipped = parsed.skipped.count === 0 ? '' : `: ${plural(parsed.skipped.count, 'line')} skipped`
  const unmatched =
    where &&
    `nothing in it has ${show(where.column, String(where.column))} equal to ${show(where.equals, String(where.equals))}`
  const hint = skipped === '' ? (unmatched ?? 'remove the entry if the list is meant to be empty') : 'check `format`'
  report.error('E006', at, `${path} holds no address${skipped}`, hint)
}

/** The files that an entry names. Reports an error if a pattern matches none. */
function pathsOf({ entry, source, library, report }: Mention, at: Location): readonly string[] {
  const written = entry.file as string
  if (/^[a-z][a-z+.-]*:\/\//i.test(written)) {
    const hint = `write \`url: ${written}\`, which \`xdp fetch\` downloads`
    report.error('E013', at, `file must be a path on this host, not the URL ${quote(written)}`, hint)
    return []
  }
  const path = isAbsolute(written) ? written : join(dirname(source.path), written)
  if (!isPattern(path)) return [path]
  const paths = expand(path, library)
  if (paths.length > 0) return paths
  report.error(
    'E001',
    at,
    `no file matches ${path}`,
    'a relative path starts at the directory of the config that names it',
  )
  return []
}

/** The options under which an entry reads its files. An allowlist may well contain the host's networks. */
function optionsOf({ kind, entry }: Mention): FeedOptions {
  return {
    format: entry.host === undefined ? (entry.format ?? 'auto') : 'plain',
    column: entry.column,
    columns: entry.columns,
    where: entry.where,
    onBadLine: entry.on_bad_line ?? 'error',
    excludePrivate: entry.exclude_private ?? kind === 'blocklist',
    minPrefix: { ...MIN_PREFIX, ...entry.min_prefix },
  }
}

/** Whether the format and the keys about columns fit each other. Reports an error if not. */
function checkColumns({ format, ...choice }: FeedOptions, { placed, source, report }: Mention): boolean {
  const refuse = (key: string, message: string, hint: string): false => {
    const { from, to } = placed.fields?.get(key) ?? placed
    report.error('E036', source.locate(from, to), message, hint)
    return false
  }
  const [key] = (['column', 'columns', 'where'] as const).filter((name) => choice[name] !== undefined)
  if (key === undefined) return true
  if (format === 'plain' || format === 'ipset')
    return refuse(key, `format ${format} has no columns`, `remove \`${key}\`, or write \`format: csv\``)
  if (choice.columns === undefined) return true
  if (choice.column !== undefined)
    return refuse(
      'columns',
      'the entry has column and columns, but may have only one of them',
      'remove `column` to read ranges',
    )
  if (format !== 'json' && format !== 'jsonl') return true
  return refuse(
    'columns',
    `format ${format} has no ranges in two fields`,
    'name the field that holds the entry: `column: NAME`',
  )
}

/** A file of an entry, by its index in the library. */
export interface FeedPart {
  readonly file: number
  readonly parsed: Parsed
  /** Its origin in words, for a copy. */
  readonly about: string | undefined
}

/** Limits of a feed as written; the answers about a host may change wholly. */
export function limitsOf({ max_age: age, max_shrink: shrink, max_growth: growth, host }: WrittenEntry) {
  return {
    maxAge: age === undefined ? undefined : readDuration(age) / 1000,
    maxShrink: readShare(shrink ?? (host === undefined ? MAX_SHRINK : '100%')),
    maxGrowth: readGrowth(growth ?? (host === undefined ? MAX_GROWTH : 'any')),
  }
}

/**
 * Reads the files of an entry.
 *
 * @param add called with each parsed file
 * @returns facts for the planner; undefined if the entry has an invalid key, or no copy is to be read
 */
export function addFeed(mention: Mention, add: (part: FeedPart) => void): Omit<Feed, 'inline'> | undefined {
  const { list, entry, file, source, library, report } = mention
  const at = source.locate(file.from, file.to)
  const options = optionsOf(mention)
  if (!checkColumns(options, mention)) return undefined
  const remote = entry.file === undefined ? remoteOf(mention, options, at) : undefined
  if (entry.file === undefined && (remote === undefined || library.copies.missing === 'none')) return undefined
  const paths = remote ? [remote.path] : pathsOf(mention, at)
  const files = paths.flatMap((path): FeedFile[] => {
    const content = contentOf(path, at, mention, remote)
    if (content === undefined) return []
    const parsed = parse(path, content, at, options, mention)
    if (parsed === undefined) return []
    if (parsed.used > 0) warnOf(path, parsed, options, at, report)
    const about = remote && aboutCopy(remote, content.modifiedAt)
    add({ file: fileNumber(library.files, path), parsed, about })
    const { format, notes, used: entries, updatedAt = content.modifiedAt } = parsed
    const counts = { skipped: parsed.skipped.count, private: parsed.private.count, wide: parsed.wide.count }
    return [{ path, format, entries, ...counts, updatedAt, notes }]
  })
  return { list, at, files, ...limitsOf(entry) }
}
