// Entries with `url` or `host`: the source, the path of its copy on this host, and whether a content may become that copy.
// Nothing here asks the network.

import { createHash } from 'node:crypto'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { domainToASCII } from 'node:url'
import { type Code, type Location, XdpError } from '../../diagnostics.ts'
import { countPrefixes } from '../../model/prefixes.ts'
import { parseRange } from '../../model/text.ts'
import { parseText } from '../feed/parsed.ts'
import type { FeedOptions } from '../feed/read.ts'
import { readDuration, readShare } from '../text/duration.ts'
import type { Examined, Remote } from '../text/remote.ts'
import { createReport, type Report } from '../text/report.ts'
import { quote } from '../text/show.ts'
import {
  checkText,
  isUnusable,
  LIST_LIMIT,
  linkTarget,
  markLength,
  type Reads,
  type Source,
  type Unusable,
  unpack,
} from '../text/source.ts'
import type { Placed } from '../text/tree.ts'
import type { WrittenEntry } from '../text/written.ts'

/** An entry with `url` or `host`, and its context. */
interface Mention {
  readonly list: string
  readonly entry: WrittenEntry
  readonly placed: Placed
  readonly source: Source
  readonly library: Reads
  readonly report: Report
}

const MAX_SIZE = 64 * 2 ** 20
const LEAST_SIZE = 1024
const REFRESH = { least: 60_000, most: 30 * 86_400_000 } as const
const UNITS: Readonly<Record<string, number>> = { k: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

/** Letters of a file name that come from the source; the digest behind them distinguishes sources. */
const NAMED = 48

/** Name of the copy of a source: readable, safe in any shell, and different for different sources. */
export function copyName(readable: string, source: string): string {
  const safe = readable.replaceAll(/[^A-Za-z0-9._-]+/g, '_').replace(/^[._-]+/, '')
  return `${safe.slice(0, NAMED)}-${createHash('sha256').update(source).digest('hex').slice(0, 12)}`
}

/** A URL without its query, which may hold a key. */
const withoutQuery = ({ origin, pathname, search }: URL): string => `${origin}${pathname}${search && '?…'}`

type Objection = { readonly message: string; readonly hint: string }

/** Why a URL is refused; undefined: it may be downloaded. */
function objectionTo(url: URL | undefined, written: string): Objection | undefined {
  if (url === undefined) {
    return { message: `${quote(written)} is not a URL`, hint: 'write it whole: https://HOST/PATH' }
  }
  if (url.protocol === 'http:') {
    const message = `${quote(withoutQuery(url))} has no TLS, so anyone on the way could change the list`
    const hint = 'write https://; if the server has no TLS, fetch the list by other means and name it with `file`'
    return { message, hint }
  }
  if (url.protocol !== 'https:') {
    const hint = url.protocol === 'file:' ? `write \`file: ${url.pathname}\`` : 'only https:// is supported'
    return { message: `url must begin with https://, not ${url.protocol}`, hint }
  }
  if (url.username === '' && url.password === '') return undefined
  return { message: 'url has a user or password in it', hint: 'remove it; a key in the query is not shown in messages' }
}

/** A name of DNS in lower case and ASCII; undefined: it is not one. */
export function hostName(written: string): string | undefined {
  const name = domainToASCII(written.replace(/\.$/, ''))
  const isName = /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
  return isName.test(name) && parseRange(name) === undefined ? name : undefined
}

interface Named {
  readonly kind: Remote['kind']
  readonly name: string
  readonly shown: string
  readonly file: string
}

function nameOf({ entry, placed, source, report }: Mention): Named | undefined {
  const refuse = (key: string, code: Code, { message, hint }: Objection): undefined => {
    const { from, to } = placed.fields?.get(key) ?? placed
    report.error(code, source.locate(from, to), message, hint)
  }
  if (entry.url !== undefined) {
    const url = URL.canParse(entry.url) ? new URL(entry.url) : undefined
    const objection = objectionTo(url, entry.url)
    if (url === undefined || objection) return objection && refuse('url', 'E263', objection)
    url.hash = ''
    const readable = `${url.hostname}-${basename(url.pathname)}`
    return { kind: 'url', name: url.href, shown: withoutQuery(url), file: copyName(readable, url.href) }
  }
  const written = entry.host ?? ''
  const name = hostName(written)
  if (name !== undefined) return { kind: 'host', name, shown: name, file: copyName(`host-${name}`, name) }
  const isAddress = parseRange(written) !== undefined
  const hint = isAddress ? `write \`cidr: ${written}\`` : 'write a name in DNS, such as vpn.example.org'
  return refuse('host', 'E269', { message: `${quote(written)} is not the name of a host`, hint })
}

/** A duration or size of an entry within its bounds; undefined if it is not written, or after reporting an error. */
function bounded(
  key: 'refresh' | 'max_size',
  read: (text: string) => number,
  [least, most]: readonly [number, number],
  { entry, placed, source, report }: Mention,
): number | undefined {
  const written = entry[key]
  if (written === undefined) return undefined
  const value = read(written)
  if (value >= least && value <= most) return value
  const { from, to } = placed.fields?.get(key) ?? placed
  const bounds = key === 'refresh' ? 'from 1m to 30d' : 'from 1k to 1G'
  report.error('E013', source.locate(from, to), `${key} must be ${bounds}, not ${written}`)
  return undefined
}

/** `64M` in bytes. The schema has refused every other form. */
const readSize = (text: string): number => Number.parseInt(text, 10) * (UNITS[text.at(-1) ?? ''] ?? 1)

/** Reads a content under the options of an entry, as `plan` and `apply` will. */
export function examine(path: string, content: Buffer, options: FeedOptions, most: number): Examined | Unusable {
  const text = unpack(path, content, most)
  if (isUnusable(text)) return text
  const unreadable = checkText(path, text)
  if (unreadable) return unreadable
  const report = createReport([path])
  try {
    const parsed = parseText({ path, bytes: text, from: markLength(text), firstLine: 1 }, '', options, report)
    report.finish()
    if (parsed === undefined || parsed.used === 0) return { code: 'E006', message: 'the list holds no usable address' }
    return { prefixes: countPrefixes(parsed.v4) + countPrefixes(parsed.v6) }
  } catch (error) {
    const [first] = error instanceof XdpError ? error.diagnostics : []
    if (first === undefined) throw error
    return { ...first, message: first.at ? `line ${first.at.line}: ${first.message}` : first.message }
  }
}

/** The source of an entry with `url` or `host`; undefined after reporting an error. `library` gets it. */
export function remoteOf(mention: Mention, options: FeedOptions, at: Location): Remote | undefined {
  const { list, entry, source, library, report } = mention
  const named = nameOf(mention)
  if (named === undefined) return undefined
  const { kind, name, shown, file } = named
  const path = join(library.copies.directory, file)
  const maxBytes = bounded('max_size', readSize, [LEAST_SIZE, LIST_LIMIT], mention) ?? MAX_SIZE
  const ca = entry.ca === undefined || isAbsolute(entry.ca) ? entry.ca : join(dirname(source.path), entry.ca)
  const distrusted = ca === undefined ? undefined : library.trust.distrust(ca)
  if (distrusted) report.error(distrusted.code, at, distrusted.message, distrusted.hint)
  const remote: Remote = {
    kind,
    name,
    shown,
    path,
    at,
    list,
    ca,
    maxBytes,
    refreshMs: bounded('refresh', readDuration, [REFRESH.least, REFRESH.most], mention),
    // The answers about a name may change wholly.
    maxShrink: kind === 'host' ? 1 : readShare(entry.max_shrink ?? '50%'),
    examine: (bytes) => examine(path, bytes, options, maxBytes),
  }
  library.remotes.push(remote)
  return remote
}

/** The digest in the name of the file that a copy is a link to. */
const DIGEST = /\.([0-9a-f]{16})$/

/** Why the content of a copy is not that which was downloaded; undefined if it is, or another program put the file there. */
export function damageOf({ path, shown }: Remote, digest: string): Unusable | undefined {
  const wanted = DIGEST.exec(linkTarget(path) ?? '')?.[1]
  if (wanted === undefined || digest.startsWith(wanted)) return undefined
  const message = `${path}, the copy of ${shown}, is not as it was downloaded: the disk or another program changed it`
  return { code: 'E262', message, hint: `rm ${path} && xdp fetch` }
}

/** The error for a copy that was never fetched. */
export const neverFetched = ({ kind, shown }: Remote, config: string): Objection => ({
  message: kind === 'url' ? `${shown} was not downloaded yet` : `${shown} was not looked up yet`,
  hint: `as root: xdp fetch -f ${config}`,
})

const time = (seconds: number): string => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z')

/** The origin of a copy in words. */
export const aboutCopy = ({ kind, shown }: Remote, modifiedAt: number): string =>
  `${kind === 'url' ? shown : `host ${shown}`}, checked ${time(modifiedAt)}`
