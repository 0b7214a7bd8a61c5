// Reports of an apply that waits for its confirmation, and of one that was reverted.

import type { AppliedConfig, Confirmation, ConfirmOn } from '../model/confirmation.ts'

export interface PendingConfirmation extends Confirmation {
  /** ISO 8601, UTC; undefined: its record cannot be read. */
  readonly deadline: string | undefined
  /** Until the deadline, 0 when it has passed; undefined: its record cannot be read. */
  readonly seconds_left: number | undefined
  /** Whether a guardian runs, which reverts at the deadline. */
  readonly guarded: boolean
  /** SSH connections that confirm as well; undefined: none. */
  readonly on: ConfirmOn | undefined
  readonly config: AppliedConfig | undefined
}

/** An apply that was not confirmed, or whose confirmation was cancelled. */
export interface Reverted extends Confirmation {
  /** ISO 8601, UTC. */
  readonly at: string
  readonly reason: 'deadline' | 'cancelled' | 'stopped'
  readonly config: AppliedConfig
}
