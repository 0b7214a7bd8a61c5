// The rate limits that count a packet, for `xdp why`.

import type { Explanation } from '../../abi/generated.ts'
import type { Desired } from '../../model/desired.ts'
import { originOf } from '../../model/provenance.ts'
import { sourcesList } from '../../model/rate-limit.ts'
import type { State } from '../../model/state.ts'
import type { CountingLimit } from '../../report/result.ts'
import type { Circumstances, Facts, Ingress } from '../../semantics/judge.ts'
import { countingLimits } from '../../semantics/rates.ts'
import type { Observation } from '../observe/observe.ts'

/** The limits that count a packet. `used`: what its key has used of one of them. */
export const limitsOf = (
  state: State,
  facts: Facts,
  ingress: Ingress,
  circumstances: Circumstances,
  desired: Desired | undefined,
  used?: { readonly name: string; readonly share: number },
): CountingLimit[] =>
  countingLimits(state, facts, ingress, circumstances).map(({ name, action, sources }) => {
    const place = desired?.provenance.rateLimits.get(name)
    const at = place && `${place.file}:${place.line}`
    const source = sources === 'list' ? sourceIn(desired, name, facts) : undefined
    return { name, action, at, used: used?.name === name ? used.share : undefined, ...(source && { source }) }
  })

/** The entry of the file that makes the source of a packet one of a limit; undefined: the file has none. */
function sourceIn(desired: Desired | undefined, limit: string, facts: Facts): CountingLimit['source'] {
  if (desired === undefined || facts.kind !== 'ip') return undefined
  const origin = originOf(desired.provenance, sourcesList(limit), facts.family, facts.source)
  return origin && { prefix: origin.entry, at: origin.at, about: origin.about }
}

/** The limit closest to its rate, as a test run found it. */
export function usedBy({ slots }: Observation, { rate_limit, rate_used }: Explanation) {
  const name = [...(slots.rates ?? [])].find(([, slot]) => slot === rate_limit)?.[0]
  return name === undefined ? undefined : { name, share: Math.round((rate_used / 0xffff) * 100) / 100 }
}
