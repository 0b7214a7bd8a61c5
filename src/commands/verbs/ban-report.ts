// Collects the outcomes of ban and unban requests, over a whole stream, and derives the exit status.

import { CODES, type Diagnostic, EXIT, type Exit, type Location } from '../../diagnostics.ts'
import type { BanOutcome, BanRefusal, BanRequest } from '../../model/ban.ts'
import { formatRange } from '../../model/text.ts'
import { type BanReport, renderBanReport, renderBanReportJson } from '../../render/bans.ts'
import { renderDiagnostics } from '../../render/diagnostic.ts'
import type { Context } from '../cli/context.ts'

/** Most errors shown; further ones are counted. */
const MOST_ERRORS = 20

const titleOf = ({ prefix: { family, start, end } }: BanRequest): string => formatRange(family, start, end)

type Failure = Omit<Diagnostic, 'severity' | 'at'>

/** The reasons of a refused ban name its prefix: in a stream there may be many. */
const refused = (request: BanRequest, { code, message, hint }: BanRefusal): Failure => ({
  code,
  message: message.startsWith('a ban of ') ? message : `a ban of ${titleOf(request)}: ${message}`,
  hint,
})

function failuresOf(request: BanRequest, outcome: BanOutcome): readonly Failure[] {
  switch (outcome.result) {
    case 'refused':
      return outcome.reasons.map((reason) => refused(request, reason))
    case 'full': {
      const message = `the ban table is full: ${titleOf(request)} is not banned; bans in force stay`
      const hint = '`xdp stats` shows the fill; ban CIDRs instead of addresses, or lift bans with `xdp unban`'
      return [{ code: 'E117', message, hint }]
    }
    case 'no-memory': {
      const message = `the kernel has no memory for a ban of ${titleOf(request)}; bans in force stay`
      return [{ code: 'E109', message }]
    }
    default:
      return []
  }
}

/** Counts outcomes and keeps the first errors. */
export class BanTally {
  readonly #counts = {
    added: 0,
    refreshed: 0,
    removed: 0,
    absent: 0,
    kept: 0,
    enforced: 0,
    replaced: 0,
    rejected: 0,
    refused: 0,
    failed: 0,
  }
  readonly #errors: Diagnostic[] = []
  readonly #warnings: Diagnostic[] = []
  #failures = 0
  #worst: Exit = EXIT.ok

  /** Whether the kernel has rejected a ban: it would reject later ones too. */
  get isFull(): boolean {
    return this.#counts.failed > 0
  }

  add(request: BanRequest, outcome: BanOutcome, at?: Location): void {
    const { result } = outcome
    if (result === 'full' || result === 'no-memory') this.#counts.failed++
    else this.#counts[result]++
    for (const failure of failuresOf(request, outcome)) {
      this.#fail({ severity: 'error', ...failure, ...(at ? { at } : {}) })
    }
  }

  /** Shows a warning in the report; those after the first 20 are left out. */
  warn(warning: Omit<Diagnostic, 'severity'>): void {
    if (this.#warnings.length < MOST_ERRORS) this.#warnings.push({ severity: 'warning', ...warning })
  }

  /** Records the outcomes of requests, in their order. */
  addAll(requests: readonly BanRequest[], outcomes: readonly BanOutcome[]): void {
    for (const [i, request] of requests.entries()) {
      const outcome = outcomes[i]
      if (outcome) this.add(request, outcome)
    }
  }

  /** Records a line with a syntax error. */
  reject(error: Omit<Diagnostic, 'severity'>): void {
    this.#counts.rejected++
    this.#fail({ severity: 'error', ...error })
  }

  /**
   * The exit status is that of the worst error: rejected by the kernel, then a syntax error, then refused by a guard.
   */
  #fail(error: Diagnostic): void {
    this.#failures++
    const order: readonly Exit[] = [EXIT.ok, EXIT.refused, EXIT.badConfig, EXIT.unavailable]
    const { exit } = CODES[error.code]
    if (order.indexOf(exit) > order.indexOf(this.#worst)) this.#worst = exit
    if (this.#errors.length < MOST_ERRORS) this.#errors.push(error)
  }

  /** Writes the report and returns the exit status. */
  report({ flags, stdout, stderr, color }: Context): Exit {
    const report: BanReport = { ...this.#counts, errors: this.#errors, warnings: this.#warnings }
    const omitted = this.#failures - this.#errors.length
    if (flags.json) stdout(renderBanReportJson(report))
    else {
      if (this.#errors.length > 0) stderr(renderDiagnostics(this.#errors, { color: color.stderr, omitted }))
      stdout(renderBanReport(report))
      if (this.#warnings.length > 0) stderr(renderDiagnostics(this.#warnings, { color: color.stderr }))
    }
    return this.#worst
  }
}
