// Text → YAML 1.2 document → values with places. Treats warnings of the parser as errors too: it only warns about
// `- !10.0.0.0/8`, which it reads as an empty text with a tag, and that would silently drop a line of the policy.

import { Composer, type CST, type Document, Parser, type YAMLError, type YAMLParseError } from 'yaml'
import type { Location } from '../../diagnostics.ts'
import { parseAddress, parsePrefix } from '../../model/text.ts'
import type { Report } from './report.ts'
import type { Source } from './source.ts'
import { MAX_DEPTH, type Placed, placeDocument, TOO_DEEP } from './tree.ts'

/** Our message for an error of the parser, and a hint. */
type Advice = readonly [message: string | undefined, hint: string | undefined]

const QUOTE = 'quote the value'

/** By the error code of the parser; undefined keeps the message of the parser. */
const ADVICE: Readonly<Partial<Record<YAMLError['code'], Advice>>> = {
  TAB_AS_INDENT: ['a line is indented with a tab', 'indent with spaces'],
  BAD_SCALAR_START: [undefined, QUOTE],
  BLOCK_AS_IMPLICIT_KEY: [
    'a second ":" starts a mapping, which is not allowed here',
    'quote the value, or check the indentation of the lines around it',
  ],
  BLOCK_IN_FLOW: ['YAML reads this as a mapping, which is not allowed inside brackets', QUOTE],
  TAG_RESOLVE_FAILED: ['"!" starts a tag, not a value', 'remove the "!", or quote the value'],
  MULTILINE_IMPLICIT_KEY: ['a key must be on one line', 'check the indentation, and that every key ends with ":"'],
}

/** The word around an offset, if quotes would make it an IPv6 address or prefix. */
function ipv6Around(text: string, offset: number): string | undefined {
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1
  const lineEnd = text.indexOf('\n', offset)
  const line = text.slice(lineStart, lineEnd < 0 ? text.length : lineEnd)
  const words = line.matchAll(/[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:\/\d+)?/g)
  for (const { index, 0: word } of words) {
    const covers = lineStart + index <= offset && offset <= lineStart + index + word.length
    if (covers && (parseAddress(word) ?? parsePrefix(word))?.family === 6) return word
  }
  return undefined
}

/** The parser reports unclosed brackets and quotes in several forms, among others as wrong indentation. */
function unclosed({ message }: YAMLError): Advice | undefined {
  if (/^Missing closing .quote/.test(message)) return ['a quote is not closed', undefined]
  const bracket = /end with a ([\]}])$/.exec(message)?.[1]
  return bracket === undefined ? undefined : [`a "${bracket}" is missing`, undefined]
}

function reportSyntax(error: YAMLError, source: Source, report: Report): void {
  const [from, to] = error.pos
  const at = source.locate(Math.min(from, Math.max(0, source.text.length - 1)), to)
  const ipv6 = ipv6Around(source.text, from)
  if (ipv6 !== undefined) {
    report.error('E015', at, `${ipv6} is an IPv6 address, but YAML reads it as something else`, `quote it: "${ipv6}"`)
    return
  }
  const [message = error.message, hint] = unclosed(error) ?? ADVICE[error.code] ?? [undefined, undefined]
  report.error('E005', at, message.charAt(0).toLowerCase() + message.slice(1), hint)
}

/** Errors explained per file, more than a report shows. */
const EXPLAINED = 100

/** One mistake often causes several errors on its line; only the first one helps. */
function reportFirstOfEachLine(errors: readonly YAMLError[], source: Source, report: Report): void {
  const lines = new Set<number>()
  for (const error of errors.toSorted((left, right) => left.pos[0] - right.pos[0])) {
    const line = source.lineOf(error.pos[0])
    if (lines.has(line)) continue
    if (lines.size < EXPLAINED) reportSyntax(error, source, report)
    else report.omit(1)
    lines.add(line)
  }
}

/** The values one level below a token. A key is no level of its own, unless it is a collection. */
function insideOf(token: CST.Token): CST.Token[] {
  if (token.type === 'document') return token.value ? [token.value] : []
  if (!('items' in token)) return []
  return token.items.flatMap(({ key, value }) => [...(key && 'items' in key ? [key] : []), ...(value ? [value] : [])])
}

/** Offset of the first value below the deepest level that a config may have. Does not recurse, unlike the composer. */
function deepest(text: string): number | undefined {
  let level: readonly CST.Token[] = [...new Parser().parse(text)]
  // The documents are above level 0.
  for (let depth = -1; depth <= MAX_DEPTH; depth++) level = level.flatMap(insideOf)
  return level.length === 0 ? undefined : level.reduce((first, { offset }) => Math.min(first, offset), text.length)
}

function reportDeepest(source: Source, report: Report): void {
  const from = deepest(source.text)
  report.error('E005', from === undefined ? undefined : source.locate(from, from + 1), TOO_DEEP)
}

/**
 * The first two documents; the second only serves to report that there is more than one. undefined after reporting that
 * values nest too deeply: the library recurses, so thousands of levels overflow its stack. It catches most overflows
 * itself, and reports them as an error of its own.
 */
function compose(source: Source, report: Report): readonly Document[] | undefined {
  const { text } = source
  // tree.ts finds duplicate keys, because the library compares every key with every other.
  const composer = new Composer({ version: '1.2', strict: true, uniqueKeys: false, prettyErrors: false })
  const documents: Document[] = []
  let isExhausted = false
  try {
    for (const document of composer.compose(new Parser().parse(text), true, text.length)) {
      documents.push(document)
      isExhausted ||= document.errors.some(({ code }) => code === 'RESOURCE_EXHAUSTION')
      if (documents.length === 2) break
    }
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    isExhausted = true
  }
  if (!isExhausted) return documents
  reportDeepest(source, report)
  return undefined
}

/** The advice for a file without content, and its place if another file names it. */
export interface EmptyAdvice {
  readonly at?: Location
  readonly hint: string
}

const EMPTY_TOP: EmptyAdvice = { hint: 'start with `version: 1`; to remove everything, run `xdp destroy`' }

/** The content of a YAML text; undefined after reporting an error. */
export function parse(source: Source, report: Report, { at, hint }: EmptyAdvice = EMPTY_TOP): Placed | undefined {
  const documents = compose(source, report)
  if (documents === undefined) return undefined
  const [document, second] = documents
  if (document === undefined) return undefined
  const complaints: readonly (YAMLParseError | YAMLError)[] = [...document.errors, ...document.warnings]
  reportFirstOfEachLine(complaints, source, report)
  const version = document.directives?.yaml
  if (version?.explicit && version.version !== '1.2') {
    const hint = 'remove the %YAML line'
    report.error('E005', source.locate(0, 1), `YAML ${version.version} is not supported: a config is YAML 1.2`, hint)
  }
  if (second !== undefined) {
    const from = second.range?.[0] ?? 0
    const hint = 'keep one document: remove everything from the second `---` on'
    report.error('E007', source.locate(from, from + 3), 'the file has several YAML documents', hint)
  }
  if (report.failed) return undefined
  const root = placeDocument(document, source, report)
  if (root.value === null && !report.failed) {
    report.error('E006', at, `${source.path} is empty`, hint)
  }
  return report.failed ? undefined : root
}
