// Renders confirmations as text and as JSON (schemas/apply.schema.json, schemas/status.schema.json,
// schemas/confirm.schema.json).

import { type Confirmation, type ConfirmOn, inForceAgain, returned, returns } from '../model/confirmation.ts'
import type { PendingConfirmation, Reverted } from '../report/confirmation.ts'
import { jsonDocument } from './json.ts'
import { seconds } from './numbers.ts'
import { paint } from './paint.ts'

const sentence = (clause: string): string => `${clause.replace(/^./, (letter) => letter.toUpperCase())}.`

const untilOf = ({ deadline, seconds_left: left }: PendingConfirmation): string => {
  if (deadline === undefined || left === undefined) return 'without a readable deadline'
  return left > 0 ? `until ${seconds(deadline)}, ${left} s from now` : 'beyond its deadline'
}

/** The connections that confirm as well, in words. */
const loginOf = ({ addresses, ports }: ConfirmOn): string =>
  `a new SSH connection from ${addresses.join(' or ')} to port ${ports.join(' or ')}`

/** The deadline of a pending confirmation and the command that confirms, after an apply. */
export function pendingLines(pending: PendingConfirmation): string {
  return [
    `Waits for confirmation ${pending.id} ${untilOf(pending)}; then ${returns(pending)}.`,
    `Keep the new policy: xdp confirm${pending.on ? `, or ${loginOf(pending.on)}` : ''}`,
    '',
  ].join('\n')
}

/** Lines of status about a pending confirmation, with its problems. */
export function pendingStatus(pending: PendingConfirmation, color: boolean): string[] {
  const { yellow } = paint(color)
  const { id, guarded, deadline, seconds_left: left, on } = pending
  const time =
    deadline === undefined || left === undefined
      ? 'at an unknown time'
      : left > 0
        ? `in ${left} s, at ${seconds(deadline)}`
        : `at ${seconds(deadline)}, which has passed`
  return [
    `${yellow('!')} Unconfirmed: ${returns(pending)} ${time}`,
    `${yellow('!')}   Confirmation ${id}: xdp confirm, or xdp confirm --cancel`,
    ...(on && guarded ? [`${yellow('!')}   ${loginOf(on).replace(/^a/, 'A')} confirms`] : []),
    ...(guarded ? [] : [`${yellow('!')}   No guardian runs, so that nothing puts it back by itself`]),
  ]
}

const REASONS: Readonly<Record<Reverted['reason'], string>> = {
  deadline: 'was not confirmed in time',
  cancelled: 'was cancelled',
  stopped: 'lost its guardian, which was stopped',
}

/** Two lines about an apply that was reverted. */
export const revertedLines = (reverted: Reverted): string[] => [
  `The apply ${reverted.id} of ${reverted.config.path} ${REASONS[reverted.reason]}:`,
  `${returned(reverted)} at ${seconds(reverted.at)}.`,
]

export const pendingJson = ({ deadline, seconds_left, config, on, ...pending }: PendingConfirmation) => ({
  ...pending,
  deadline: deadline ?? null,
  seconds_left: seconds_left ?? null,
  config: config ?? null,
  confirm_on: on ?? null,
})

interface ConfirmResult {
  readonly confirmation: Confirmation
  readonly action: 'confirmed' | 'extended' | 'cancelled'
  readonly pending: PendingConfirmation | undefined
}

export function renderConfirm({ confirmation, action, pending }: ConfirmResult, color: boolean): string {
  const { green } = paint(color)
  const { id, generation } = confirmation
  if (action === 'confirmed') return `${green('Confirmed.')} Generation ${generation} stays in force.\n`
  if (action === 'cancelled') return `${green('Reverted.')} ${sentence(inForceAgain(confirmation))}\n`
  return `${green('Extended.')} Confirmation ${id} may arrive ${pending ? untilOf(pending) : ''}.\n`
}

export const renderConfirmJson = ({ confirmation, action, pending }: ConfirmResult): string =>
  jsonDocument({ action, ...confirmation, pending_confirmation: pending ? pendingJson(pending) : null })
