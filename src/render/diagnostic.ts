// Renders errors and warnings as text with the source line under them, and as JSON (schemas/error.schema.json).

import { CODES, type Diagnostic, type Location } from '../diagnostics.ts'
import { plural } from '../model/numbers.ts'
import { jsonDocument } from './json.ts'
import { type Paint, paint } from './paint.ts'

interface DiagnosticsView {
  readonly color: boolean
  /** Number of diagnostics that were left out. */
  readonly omitted?: number
}

/** A source line is cut to this many columns around the marked place. */
const WIDTH = 120

/** Control characters and bidirectional marks, on which a terminal would act. */
const UNSHOWABLE = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]/gu

const showable = (text: string): string => text.replaceAll('\t', ' ').replace(UNSHOWABLE, '\ufffd')

/** Messages may quote file content, so they are sanitized too, except for their line breaks. */
const showableLines = (text: string): string => text.split('\n').map(showable).join('\n')

/** Source line and carets, columns counted in characters. */
function frame({ text, line, column, length }: Location, { dim, red, yellow }: Paint, isError: boolean): string[] {
  if (text === undefined) return []
  const before = [...text.slice(0, column - 1)].length
  const marked = Math.max(1, [...text.slice(column - 1, column - 1 + length)].length)
  const characters = [...showable(text)]
  const from = characters.length <= WIDTH ? 0 : Math.max(0, Math.min(before - 40, characters.length - WIDTH))
  const shown = characters.slice(from, from + WIDTH).join('')
  const [left, right] = [from > 0 ? '…' : '', from + WIDTH < characters.length ? '…' : '']
  const carets = '^'.repeat(Math.min(marked, Math.max(1, WIDTH - (before - from))))
  const gutter = `${line}`
  const margin = ' '.repeat(before - from + left.length)
  return [
    `${dim(` ${gutter} |`)} ${left}${shown}${right}`,
    `${dim(` ${' '.repeat(gutter.length)} |`)} ${margin}${(isError ? red : yellow)(carets)}`,
  ]
}

function diagnosticLines(diagnostic: Diagnostic, style: Paint): string[] {
  const { code, severity, message, hint, at } = diagnostic
  const isError = severity === 'error'
  const place = at === undefined ? '' : `${showable(at.file)}:${at.line}:${at.column}: `
  const label = (isError ? style.red : style.yellow)(`${severity}[${code} ${CODES[code].name}]`)
  return [
    `${place && style.bold(place)}${label}: ${showableLines(message)}`,
    ...(at === undefined ? [] : frame(at, style, isError)),
    ...(hint === undefined ? [] : [`${style.cyan('hint:')} ${showableLines(hint)}`]),
  ]
}

/** One block per diagnostic, separated by empty lines; ends with a newline. */
export function renderDiagnostics(diagnostics: readonly Diagnostic[], { color, omitted = 0 }: DiagnosticsView): string {
  const style = paint(color)
  const blocks = diagnostics.map((diagnostic) => diagnosticLines(diagnostic, style).join('\n'))
  if (omitted > 0) blocks.push(`… and ${plural(omitted, 'more error')}`)
  return `${blocks.join('\n\n')}\n`
}

function diagnosticJson({ code, severity, message, hint, at }: Diagnostic): Readonly<Record<string, unknown>> {
  return {
    code,
    name: CODES[code].name,
    severity,
    message,
    hint: hint ?? null,
    at: at === undefined ? null : { ...at, text: at.text ?? null },
  }
}

/** Diagnostics in JSON, alike in every document. */
export const diagnosticsJson = (diagnostics: readonly Diagnostic[]): readonly Readonly<Record<string, unknown>>[] =>
  diagnostics.map(diagnosticJson)

/** A failure as one JSON document: `error` is the first, which also sets the exit status; `errors` are all. */
export function renderErrorJson(diagnostics: readonly Diagnostic[], omitted = 0): string {
  const first = diagnostics.find(({ severity }) => severity === 'error') ?? diagnostics[0]
  return jsonDocument({
    error: first === undefined ? null : diagnosticJson(first),
    errors: diagnosticsJson(diagnostics),
    omitted,
  })
}
