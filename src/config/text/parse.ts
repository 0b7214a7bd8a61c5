// Text → YAML 1.2 document → values with places. Treats warnings of the parser as errors too: it only warns about
// `- !10.0.0.0/8`, which it reads as an empty text with a tag, and that would silently drop a line of the policy.

import { Composer, type Document, Parser, type YAMLError, type YAMLParseError } from 'yaml'
import { parseAddress, parsePrefix } from '../../model/text.ts'
import type { Report } from './report.ts'
import type { Source } from './source.ts'
import { type Placed, placeDocument } from './tree.ts'

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

/** The first two documents; the second only serves to report that there is more than one. */
function compose(text: string, report: Report): readonly Document[] {
  // tree.ts finds duplicate keys, because the library compares every key with every other.
  const composer = new Composer({ version: '1.2', strict: true, uniqueKeys: false, prettyErrors: false })
  const documents: Document[] = []
  try {
    for (const document of composer.compose(new Parser().parse(text), true, text.length)) {
      documents.push(document)
      if (documents.length === 2) break
    }
  } catch (cause) {
    // The library recurses, so a file with tens of thousands of levels overflows the stack.
    if (!(cause instanceof RangeError)) throw cause
    report.error('E005', undefined, 'values nest too deeply')
  }
  return documents
}

/** The content of a YAML text; undefined after reporting an error. */
export function parse(source: Source, report: Report): Placed | undefined {
  const [document, second] = compose(source.text, report)
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
    const hint = 'start with `version: 1`; to remove everything, run `xdp destroy`'
    report.error('E006', undefined, `${source.path} is empty`, hint)
  }
  return report.failed ? undefined : root
}
