// The verdict of a packet by an exported state: the model's, by the tables that its host has read back.

import { factsFor } from '../../abi/packet.ts'
import type { Place } from '../../abi/place.ts'
import type { Desired } from '../../model/desired.ts'
import type { ExportedState, Unknown } from '../../model/exported.ts'
import type { Live } from '../../model/live.ts'
import { addressTextsOf } from '../../model/service.ts'
import type { State } from '../../model/state.ts'
import { strangers } from '../../plan/offline.ts'
import { some } from '../../plan/words.ts'
import type { LiveJudgement, WhyResult } from '../../report/result.ts'
import { judge } from '../../semantics/judge.ts'
import { ASSUMED_HOP, desiredJudgement } from './why-file.ts'
import { answerOf, decidedBy, type Local, merged, partsOf, placeInTables, type Query } from './why-parts.ts'
import { generationOn, placesFor } from './why-places.ts'
import { balancedPart } from './why-services.ts'

/** An exported state that is asked. */
export interface StateFacts {
  readonly path: string
  /** With the secrets that are known here in its policy. */
  readonly exported: ExportedState
  /** Only the fingerprint of its hash key is known, so no flow has a known backend. */
  readonly isKeyUnknown: boolean
}

/** Facts about a verdict that a state lacks. */
function unknownToState(
  { exported: { host, live }, isKeyUnknown }: StateFacts,
  desired: Desired | undefined,
  { interface: name }: Query,
): Unknown[] {
  const { services, rateLimits, policy } = live.state
  const balances = services.size > 0 || (desired?.state.services.size ?? 0) > 0
  const added = desired ? strangers(desired, live) : []
  const counts = [
    ...(rateLimits?.size ? ['what the keys of rate limits have used'] : []),
    ...(policy?.syn_protection ? ['whether SYNs are answered'] : []),
  ]
  const isOther = name !== undefined && live.generation !== 0 && generationOn(live, name) !== live.generation
  return [
    { what: 'since', why: `what has changed on ${host.name} since the export` },
    { what: 'bans', why: 'bans: an export has none, and one may drop what passes here' },
    { what: 'connections', why: `connections and sockets of ${host.name}` },
    ...(counts.length > 0 ? [{ what: 'counters', why: counts.join(', and ') } as const] : []),
    ...(balances ? [{ what: 'health', why: 'health of backends, and the flow table' } as const] : []),
    ...(added.length > 0
      ? [{ what: 'next-hops', why: `the next hops of ${some(added)}, which were no backends` } as const]
      : []),
    ...(isKeyUnknown && services.size > 0
      ? [{ what: 'hash-key', why: 'the hash key of the balancer, and so the backend of a flow' } as const]
      : []),
    ...(isOther
      ? [{ what: 'program', why: `the policy of the program on ${name}, which is another generation's` } as const]
      : []),
  ]
}

/** The verdict by the exported tables, without a packet that proves it. */
function judgedOn(
  state: State,
  { isKeyUnknown }: StateFacts,
  desired: Desired | undefined,
  query: Query,
  { ingress }: Place,
): Local<LiveJudgement> {
  const circumstances = {}
  const model = judge(state, factsFor(query), circumstances, ingress)
  const { verdict, reason, balanced, matches } = model
  const [match] = balanced ? [] : matches
  const backend = isKeyUnknown ? undefined : balanced?.backend
  return {
    verdict,
    reason,
    ban: undefined,
    proven: false,
    ...partsOf(state, query, verdict, model, { ingress, circumstances, place: placeInTables(desired, query), desired }),
    ...balancedPart({ service: balanced?.service, backend }, desired),
    ...decidedBy(match?.list.name, match, query, desired),
  }
}

function liveJudgement(facts: StateFacts, desired: Desired | undefined, query: Query): WhyResult['live'] {
  const { live } = facts.exported
  if (query.interface !== undefined) generationOn(live, query.interface)
  if (live.generation === 0) return undefined
  const { policy } = live.state
  const state = facts.isKeyUnknown && policy ? { ...live.state, policy: { ...policy, hash_key: '' } } : live.state
  const judgements = placesFor(live, query).map((place) => ({
    name: place.name,
    judgement: judgedOn(state, facts, desired, query, place),
  }))
  return merged<LiveJudgement>(judgements, query.interface !== undefined)
}

/** The host of the state for the file: next hops that it was not asked for are assumed. */
function surroundingsOf(live: Live, desired: Desired): Pick<Live, 'links' | 'nextHops'> {
  const addresses = [...desired.state.services.values()].flatMap(addressTextsOf)
  const assumed = addresses.map((address) => [address, ASSUMED_HOP] as const)
  return { links: live.links, nextHops: new Map([...assumed, ...live.nextHops]) }
}

/**
 * Judges the packet by the state and in the file, as `explain` does on its host. Throws E103 or E114 for a bad interface.
 */
export function explainState(facts: StateFacts, desired: Desired | undefined, query: Query): WhyResult {
  const { path, exported } = facts
  const { live } = exported
  const ours = liveJudgement(facts, desired, query)
  const around = desired && surroundingsOf(live, desired)
  const wanted = desired && around && desiredJudgement(desired, around, query, {})
  const judgements = { live: ours, desired: wanted }
  return {
    ...answerOf(query, judgements, desired?.state ?? live.state, live, around ?? live),
    offline: {
      unread: undefined,
      against: { kind: 'state', path, state: exported },
      unknown: unknownToState(facts, desired, query),
    },
  }
}
