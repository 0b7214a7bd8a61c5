// Nothing is changed before somebody has seen the plan and said yes, or has said so beforehand.

import { fail } from '../../diagnostics.ts'
import type { Approve } from '../../pipelines/apply.ts'
import type { Plan } from '../../plan/change.ts'
import type { Context } from '../cli/context.ts'

export interface Approval {
  /** The command's name. */
  readonly command: 'apply' | 'destroy'
  readonly question: string
  /** --auto-approve. */
  readonly auto: boolean
  readonly show: (plan: Plan, color: boolean) => string
}

const SEE = {
  apply: 'add --auto-approve; `xdp plan` shows the changes',
  destroy: 'add --auto-approve; `xdp status` shows what is live',
} as const

/**
 * Shows the plan and asks. With --json the plan goes to stderr, because stdout holds one document. Leftovers of our
 * own without any change are tidied up unasked. Throws E300 (exit 64) where nobody can be asked.
 */
export function approver(context: Context, { command, question, auto, show }: Approval): Approve {
  const { flags, stdout, stderr, color, interactive, prompt } = context
  return async (plan) => {
    if (plan.changes.length === 0) return true
    if (!auto && !interactive) {
      const why = flags['no-input'] ? 'with --no-input' : 'where stdin or stderr is no terminal'
      throw fail('E300', `\`xdp ${command}\` cannot ask ${why}`, SEE[command])
    }
    if (!flags.json) stdout(`${show(plan, color.stdout)}\n`)
    else if (!auto) stderr(`${show(plan, color.stderr)}\n`)
    return auto || (await prompt(`${question} Only 'yes' is accepted: `)).trim() === 'yes'
  }
}

/** What a "no" at the prompt ends in. */
export const declined = () => fail('E301', 'nothing was changed')
