// Warns about rate limits that ban while no daemon runs, which alone makes their bans.

import type { Diagnostic } from '../diagnostics.ts'
import type { Desired } from '../model/desired.ts'

/** `isWatched`: whether a daemon watches the instance. */
export function warnLimitBans({ state, provenance }: Desired, isWatched: boolean): Diagnostic[] {
  const names = [...(state.rateLimits?.values() ?? [])].flatMap(({ ban, name }) => (ban ? [name] : []))
  const [first] = names
  if (first === undefined || isWatched) return []
  const at = provenance.rateLimits.get(first)
  const message = `\`xdp watch\` does not run, so ${names.length === 1 ? `rate limit ${first} bans` : `rate limits ${names.join(', ')} ban`} no source`
  const hint = 'start it after the apply: systemctl start xdp-watch, or xdp watch'
  return [{ ...{ code: 'W265', severity: 'warning', message, hint }, ...(at && { at }) }]
}
