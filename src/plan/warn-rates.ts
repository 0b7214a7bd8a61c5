// Warns about rate limits that ban while no daemon runs, which alone makes their bans.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'
import type { State } from '../model/state.ts'

/** Names of the limits that ban. */
const banning = ({ rateLimits }: Pick<State, 'rateLimits'>): string[] =>
  [...(rateLimits?.values() ?? [])].flatMap(({ ban, name }) => (ban ? [name] : []))

export const hasLimitBans = (state: Pick<State, 'rateLimits'>): boolean => banning(state).length > 0

/** No daemon watches the instance. */
export function warnLimitBans({ state, provenance }: Desired): Diagnostic[] {
  const names = banning(state)
  const [first] = names
  if (first === undefined) return []
  const at = provenance.rateLimits.get(first)
  const which = names.length === 1 ? `rate limit ${first} bans` : `rate limits ${names.join(', ')} ban`
  const message = `\`xdp watch\` does not run, so ${which} no source`
  const hint = 'start it after the apply: systemctl start xdp-watch, or xdp watch'
  return [{ ...{ code: 'W265', severity: 'warning', message, hint }, ...(at && { at }) }]
}
