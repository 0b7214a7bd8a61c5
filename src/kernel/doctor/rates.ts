// Checks that a daemon runs where rate limits ban sources. Part of the report only if one does.

import type { State } from '../../model/state.ts'
import type { Check } from '../../report/result.ts'
import type { Host } from '../host/host.ts'
import { isWatched } from '../host/lock.ts'
import { ok, warn } from './check.ts'

export async function checkLimitBans(host: Host, { rateLimits }: Pick<State, 'rateLimits'>): Promise<Check[]> {
  if (![...(rateLimits?.values() ?? [])].some(({ ban }) => ban)) return []
  const id = 'rate_limits.ban'
  return (await isWatched(host))
    ? [ok(id, '`xdp watch` runs, and bans sources that exceed rate limits')]
    : [warn(id, 'no source that exceeds a rate limit is banned, because `xdp watch` does not run', 'xdp watch')]
}
