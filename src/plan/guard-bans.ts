// The guard of a smaller table of bans: no apply may lose bans in force.

import type { Diagnostic } from '../diagnostics.ts'
import { doNotFit } from '../model/ban-size.ts'
import type { State } from '../model/state.ts'

/** E136 if the table of a policy is too small for the bans in force. */
export const guardBans = ({ policy }: Pick<State, 'policy'>, bans: number): Diagnostic[] =>
  policy !== undefined && bans > policy.bans ? [doNotFit(policy.bans, bans)] : []
