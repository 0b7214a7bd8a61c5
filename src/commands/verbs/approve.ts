// Asks the user to approve a plan before it changes anything; --auto-approve approves it in advance.

import { fail } from '../../diagnostics.ts'
import type { Approve } from '../../pipelines/apply.ts'
import type { Plan } from '../../plan/change.ts'
import type { Context } from '../cli/context.ts'
import { printable } from '../cli/printable.ts'

export interface Approval {
  /** The command's name. */
  readonly command: 'apply' | 'destroy' | 'rollback'
  readonly question: string
  /** --auto-approve. */
  readonly auto: boolean
  readonly show: (plan: Plan, color: boolean) => string
}

const HINTS = {
  apply: 'add --auto-approve; `xdp plan` shows the changes',
  rollback: 'add --auto-approve; `xdp diff live N` shows the changes',
  destroy: 'add --auto-approve; `xdp status` shows the live state',
} as const

/**
 * Shows the plan and asks. With --json the plan goes to stderr, because stdout holds one document. Approves a plan
 * without changes, which only removes leftovers. Throws E300 (exit 64) where no user can answer.
 */
export function approver(context: Context, { command, question, auto, show }: Approval): Approve {
  const { flags, stdout, stderr, color, interactive, prompt } = context
  return async (plan) => {
    if (plan.changes.length === 0) return true
    if (!auto && !interactive) {
      const why = flags['no-input'] ? '--no-input is set' : 'stdin or stderr is not a terminal'
      throw fail('E300', `\`xdp ${command}\` cannot ask for approval: ${why}`, HINTS[command])
    }
    if (!flags.json) stdout(`${show(plan, color.stdout)}\n`)
    else if (!auto) stderr(`${printable(show(plan, color.stderr), color.stderr)}\n`)
    return auto || (await prompt(`${question} Only 'yes' is accepted: `)).trim() === 'yes'
  }
}

/** The error after any other answer than "yes". */
export const declined = () => fail('E301', 'not approved; nothing was changed')
