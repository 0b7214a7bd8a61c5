// Maps each reason to its verdict.

import type { ReasonName, Verdict } from './result.ts'

/** The verdict that each reason implies. */
const VERDICTS: Readonly<Record<ReasonName, Verdict>> = {
  'default-pass': 'pass',
  allowlist: 'pass',
  essential: 'pass',
  'not-ip': 'pass',
  malformed: 'pass',
  nonlinear: 'pass',
  unsupported: 'pass',
  blocklist: 'drop',
  'default-drop': 'drop',
  internal: 'pass',
  ban: 'drop',
  balanced: 'tx',
  'balanced-away': 'redirect',
  reply: 'tx',
  'reply-away': 'redirect',
  'reply-routed': 'pass',
  echo: 'tx',
  'too-big': 'tx',
  'no-backend': 'drop',
  'no-backend-pass': 'pass',
  fragment: 'drop',
  oversize: 'drop',
  expired: 'pass',
  exhausted: 'drop',
}

/** The verdict of a packet with this reason. */
export const verdictOf = (reason: ReasonName): Verdict => VERDICTS[reason]

export const REASONS = Object.keys(VERDICTS) as readonly ReasonName[]
