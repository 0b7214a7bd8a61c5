// A config and the files it includes. Each file is read, parsed and checked separately, so that every place is exact.

import { dirname, isAbsolute, join } from 'node:path'
import type { Location } from '../diagnostics.ts'
import { expand, isPattern } from './feed/glob.ts'
import { validate } from './generated/validate.js'
import { type KnownServices, type PlacedService, parseServices } from './services/service-texts.ts'
import { fileNumber } from './text/file-number.ts'
import { type EmptyAdvice, parse } from './text/parse.ts'
import { type Part, soundFields } from './text/part.ts'
import { nested, type Report } from './text/report.ts'
import { reportSchemaErrors } from './text/schema-errors.ts'
import { quote } from './text/show.ts'
import {
  CONFIG_LIMIT,
  checkText,
  createSource,
  identityIn,
  isUnusable,
  markLength,
  type Reads,
  readSource,
  type Source,
  sha256,
  type Unusable,
} from './text/source.ts'
import type { Placed } from './text/tree.ts'
import { keysOf } from './text/words.ts'

/** One file of a config, with its services. */
export interface ConfigFile extends Part {
  /** The services without an error in them. */
  readonly services: readonly PlacedService[]
}

/** Keys that every file may have; others that the schema knows are for the top file alone. */
const ANYWHERE: readonly string[] = [
  'version',
  'interfaces',
  'policy',
  'balancer',
  'allowlist',
  'blocklist',
  'rate_limits',
  'services',
]

const topOnly = (): string[] => keysOf([]).filter((key) => !ANYWHERE.includes(key))

/** The text of a config file as bytes, or why the file is unusable. */
export function readConfig(path: string, reads: Reads): Buffer | Unusable {
  const content = readSource(path, CONFIG_LIMIT, reads)
  if (isUnusable(content)) return content
  const { bytes, modifiedAt } = content
  reads.digests.set(path, sha256(bytes))
  reads.found.set(path, { modifiedAt, text: bytes })
  return checkText(path, bytes) ?? bytes
}

/** Parsing a shorter file service by service saves no time; in bytes. */
const SHORT = 32 * 1024

/** The content of a file. If its services were parsed one by one, they are in `services` and `root` has none. */
interface Parsed {
  readonly root: Placed
  readonly services: readonly PlacedService[] | undefined
}

function parseFile(
  source: Source,
  report: Report,
  known: KnownServices | undefined,
  empty?: EmptyAdvice,
): Parsed | undefined {
  const parsed = source.text.length < SHORT ? undefined : parseServices(source, known)
  if (parsed !== undefined) return parsed
  const root = parse(source, report, empty)
  return root && { root, services: undefined }
}

/** A parsed file with the places of its schema errors. */
function partOf(source: Source, { root, services }: Parsed, wrong: ReadonlySet<string>): ConfigFile {
  const sound = (): PlacedService[] =>
    soundFields({ root, wrong }, 'services').map(([name, placed]) => ({ name, placed, source }))
  return { source, root, wrong, services: services ?? sound() }
}

/** The top file as a part; undefined after reporting an error. */
export function readTop(path: string, bytes: Buffer, report: Report, known?: KnownServices): ConfigFile | undefined {
  const source = createSource(path, bytes.toString('utf8', markLength(bytes)))
  const parsed = parseFile(source, report, known)
  return parsed && partOf(source, parsed, check(parsed.root, parsed.root.value, source, report))
}

function check(root: Placed, value: unknown, source: Source, report: Report): ReadonlySet<string> {
  return validate(value) ? new Set() : reportSchemaErrors(validate.errors ?? [], { root, source, report })
}

/** The content of an included file, completed with the keys that the schema requires of a top file. */
function completed(root: Placed): unknown {
  const { value } = root
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const refused = topOnly()
  const own = Object.entries(value).filter(([key]) => !refused.includes(key))
  return { version: 1, include: [], ...Object.fromEntries(own) }
}

/** The keys of an included file, as a hint lists them. */
const KEYS = `${ANYWHERE.slice(1, -1).join(', ')} and ${ANYWHERE.at(-1)}`

/** `at`: the place in the top file that names it. */
function readIncluded(
  path: string,
  at: Location,
  bytes: Buffer,
  report: Report,
  known?: KnownServices,
): ConfigFile | undefined {
  const source = createSource(path, bytes.toString('utf8', markLength(bytes)))
  const empty = { at, hint: `an included file has some of the keys ${KEYS}; remove it from \`include\` if it has none` }
  const parsed = parseFile(source, nested(report), known, empty)
  if (parsed === undefined) return undefined
  const { root } = parsed
  for (const key of topOnly()) {
    const written = root.fields?.get(key)?.key
    if (written === undefined) continue
    const place = source.locate(written.from, written.to)
    report.error('E010', place, `${quote(key)} is allowed in the top file only`, `an included file may have ${KEYS}`)
  }
  return partOf(source, parsed, check(root, completed(root), source, report))
}

/** The files that one element of `include` names. Reports an error if it names no file. */
function pathsOf(item: Placed, top: Part, reads: Reads, report: Report): readonly string[] {
  const { source } = top
  const written = item.value as string
  const path = isAbsolute(written) ? written : join(dirname(source.path), written)
  const at = source.locate(item.from, item.to)
  const paths = isPattern(path) ? expand(path, reads) : [path]
  if (paths.length === 0) {
    report.error('E001', at, `no file matches ${path}`, 'a relative path starts at the directory of the config file')
  }
  const own = identityIn(reads, source.path)
  return paths.filter((found) => {
    if (own === undefined || identityIn(reads, found) !== own) return true
    report.error(
      'E013',
      at,
      `${quote(written)} includes the file that contains it`,
      'keep included files in a separate directory, such as conf.d/',
    )
    return false
  })
}

/**
 * The files that the top file includes, each once under whatever names, sorted by name within an element of `include`.
 *
 * @param reads gets the paths of included files
 * @param known as for parseServices
 */
export function readIncludes(top: Part, reads: Reads, report: Report, known?: KnownServices): readonly ConfigFile[] {
  const { files, digests, found } = reads
  /** Paths of the files read so far, by their identity. */
  const firsts = new Map<string, string>()
  const items = top.root.fields?.get('include')?.items ?? []
  const read = (path: string, at: Location): readonly ConfigFile[] => {
    if (fileNumber(files, path) >= 0) return []
    files.push(path)
    const identity = identityIn(reads, path)
    const first = identity && firsts.get(identity)
    if (first !== undefined) {
      const [digest, content] = [digests.get(first), found.get(first)]
      if (digest !== undefined) digests.set(path, digest)
      if (content !== undefined) found.set(path, content)
      return []
    }
    if (identity !== undefined) firsts.set(identity, path)
    const bytes = readConfig(path, reads)
    if (isUnusable(bytes)) {
      report.error(bytes.code, bytes.at ?? at, bytes.message, bytes.hint)
      return []
    }
    const file = readIncluded(path, at, bytes, report, known)
    return file ? [file] : []
  }
  return items
    .filter((_, index) => !top.wrong.has(`include/${index}`))
    .flatMap((item) =>
      pathsOf(item, top, reads, report).flatMap((path) => read(path, top.source.locate(item.from, item.to))),
    )
}
