// Collects all errors and warnings, so that one run reports them together.

import { type Code, type Diagnostic, type Location, XdpError } from '../../diagnostics.ts'
import { fileNumber } from './file-number.ts'

/** Number of errors shown; the rest is counted. */
const SHOWN = 20

export interface Report {
  error(code: Code, at: Location | undefined, message: string, hint?: string): void
  warning(code: Code, at: Location | undefined, message: string, hint?: string): void
  /** Adds to the count of errors that were found but not kept. */
  omit(count: number): void
  readonly failed: boolean
  /** Warnings in file order. Throws XdpError with the first errors in file order if there are any. */
  finish(): readonly Diagnostic[]
}

/** Errors kept before all but the first are dropped, so that a file of a million errors does not fill the memory. */
const KEPT = 2000

/** Sorts by file, in the order in which `files` first lists them, then by position. */
function inFileOrder(files: readonly string[]): (left: Diagnostic, right: Diagnostic) => number {
  const rank = ({ at }: Diagnostic): number => (at === undefined ? -1 : fileNumber(files, at.file))
  return (left, right) =>
    rank(left) - rank(right) ||
    (left.at?.line ?? 0) - (right.at?.line ?? 0) ||
    (left.at?.column ?? 0) - (right.at?.column ?? 0)
}

/** A diagnostic without content of the file that it is in. Warnings quote none, except for the line itself. */
function discreet(diagnostic: Diagnostic, { text: _, ...at }: Location): Diagnostic {
  if (diagnostic.severity === 'warning') return { ...diagnostic, at }
  const message = `line ${at.line} is not usable; it is not shown, because not every user may read this file`
  return { ...diagnostic, at, message, hint: `as root: sed -n ${at.line}p '${at.file.replaceAll("'", `'\\''`)}'` }
}

/**
 * @param files paths in reading order; may grow until `finish`
 * @param isPrivate whether messages must not show content of a file
 */
export function createReport(files: readonly string[], isPrivate: (file: string) => boolean = () => false): Report {
  const errors: Diagnostic[] = []
  const warnings: Diagnostic[] = []
  let omitted = 0
  const make = (
    severity: Diagnostic['severity'],
    code: Code,
    at: Location | undefined,
    message: string,
    hint: string | undefined,
  ): Diagnostic => {
    const diagnostic: Diagnostic = {
      code,
      severity,
      message,
      ...(hint === undefined ? {} : { hint }),
      ...(at === undefined ? {} : { at }),
    }
    return at !== undefined && isPrivate(at.file) ? discreet(diagnostic, at) : diagnostic
  }
  /** Drops all errors but the first in file order. */
  const prune = (): void => {
    errors.sort(inFileOrder(files))
    omitted += Math.max(0, errors.length - SHOWN)
    errors.length = Math.min(errors.length, SHOWN)
  }
  return {
    error(code, at, message, hint) {
      errors.push(make('error', code, at, message, hint))
      if (errors.length > KEPT) prune()
    },
    warning: (code, at, message, hint) => void warnings.push(make('warning', code, at, message, hint)),
    omit(count) {
      omitted += count
    },
    get failed() {
      return errors.length > 0
    },
    finish() {
      if (errors.length > 0) {
        prune()
        throw new XdpError(errors, { omitted })
      }
      return warnings.sort(inFileOrder(files))
    },
  }
}

/** The report of a part; passes its errors and warnings on to the report of the whole. */
export interface PartReport extends Report {
  /** Whether the part has no error or warning. */
  readonly isSilent: boolean
}

export function nested(report: Report): PartReport {
  let failed = false
  let isSilent = true
  return {
    error(...args) {
      failed = true
      isSilent = false
      report.error(...args)
    },
    warning(...args) {
      isSilent = false
      report.warning(...args)
    },
    omit(count) {
      isSilent = false
      report.omit(count)
    },
    finish: report.finish,
    get failed() {
      return failed
    },
    get isSilent() {
      return isSilent
    },
  }
}
