// Verdicts and their reasons.

import { REASON_VERDICTS } from './generated.ts'

export type Verdict = 'pass' | 'drop' | 'tx' | 'redirect' | 'aborted'

/** In the order of reports. */
export const VERDICTS = ['pass', 'drop', 'tx', 'redirect', 'aborted'] as const satisfies readonly Verdict[]

export type ReasonName = keyof typeof REASON_VERDICTS

/** In the order of their numbers. */
export const REASONS = Object.keys(REASON_VERDICTS) as readonly ReasonName[]

/** The verdict of a packet with this reason. */
export const verdictOf = (reason: ReasonName): Verdict => REASON_VERDICTS[reason]
