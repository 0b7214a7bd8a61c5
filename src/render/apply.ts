// Renders the result of apply and destroy as text and as JSON (schemas/apply.schema.json).

import { plural } from '../model/numbers.ts'
import type { ApplyResult } from '../report/result.ts'
import { pendingJson, pendingLines } from './confirmation.ts'
import { jsonDocument } from './json.ts'
import { paint } from './paint.ts'

interface ApplyView {
  /** undefined: a destroy. */
  readonly path: string | undefined
  readonly color: boolean
}

function proof({ verified, probes }: ApplyResult): string {
  if (!verified) return 'Not verified.'
  const packets =
    probes.run > 0 ? ` and by ${probes.passed} of ${plural(probes.run, 'packet')} through the live program` : ''
  return `Verified by reading back${packets}.`
}

/** The saved plan that was applied, with the flags that its review accepted. */
interface AppliedPlan {
  readonly path: string
  readonly sha256: string
  readonly accepted: readonly string[]
}

/** The flags that a saved plan carries, after an apply. */
const acceptedLine = (plan: AppliedPlan | undefined): string =>
  plan && plan.accepted.length > 0 ? `Accepted by the review of ${plan.path}: ${plan.accepted.join(', ')}\n` : ''

/** One or two sentences, ending with a newline. */
export function renderApply(result: ApplyResult, { path, color }: ApplyView, plan?: AppliedPlan): string {
  const { green, red } = paint(color)
  if (result.rolled_back) return `${red('Rolled back:')} the live state is as before the apply.\n`
  if (!result.changed) {
    const nothing = 'Nothing to remove: this instance has nothing in the kernel.'
    return path === undefined ? `${nothing}\n` : `No changes. Live XDP state matches ${path}.\n`
  }
  if (result.applied.length === 0) return 'Removed leftovers of an interrupted apply; no other changes.\n'
  const count = result.applied.length
  const done = path === undefined ? `Destroyed ${plural(count, 'object')}.` : `Applied ${plural(count, 'change')}.`
  return `${green(done)} ${proof(result)}\n${acceptedLine(plan)}${result.pending ? pendingLines(result.pending) : ''}`
}

/** @param plan the saved plan that was applied */
export function renderApplyJson(
  { changed, applied, verified, probes, rolled_back, pending }: ApplyResult,
  plan?: AppliedPlan,
): string {
  const waiting = pending ? { pending_confirmation: pendingJson(pending) } : {}
  return jsonDocument({ changed, applied, verified, probes, rolled_back, ...waiting, ...(plan ? { plan } : {}) })
}
