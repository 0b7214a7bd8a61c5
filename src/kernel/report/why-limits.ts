// The rate limits that count the packets of a question, for `xdp why`.

import { type Explanation, TEST_RUN_LIMIT, type TestRun } from '../../abi/generated.ts'
import { factsFor, type TestPacket } from '../../abi/packet.ts'
import type { Place } from '../../abi/place.ts'
import type { Desired } from '../../model/desired.ts'
import { originOf } from '../../model/provenance.ts'
import { contains, WIDTH } from '../../model/ranges.ts'
import { type RateLimit, sourcesList } from '../../model/rate-limit.ts'
import { type State, scopeKey } from '../../model/state.ts'
import { formatRange } from '../../model/text.ts'
import type { CountingLimit } from '../../report/result.ts'
import type { Circumstances, Ingress } from '../../semantics/judge.ts'
import { limitsAmong } from '../../semantics/otherwise.ts'
import { countingLimits } from '../../semantics/rates.ts'
import type { explainPacket } from '../live/probe.ts'
import type { Observation } from '../observe/observe.ts'
import { questionOf } from './why-otherwise.ts'

/** How much a key has used of a limit. `share`: of its burst, 0 to 1. */
export interface Used {
  readonly share: number
  readonly exceeds: boolean
}

/** Stands in an Explanation for a packet that would exceed the limit. */
const BEYOND = 0xffff

const usedBy = ({ rate_used }: Explanation): Used => ({
  share: Math.round((rate_used / BEYOND) * 100) / 100,
  exceeds: rate_used === BEYOND,
})

/** A place at which a packet arrived, with the answer there. */
interface Asked extends Pick<Place, 'arrival' | 'ingress'> {
  readonly explanation: Explanation
}

/**
 * Asks what the key of a packet has used of each limit that counts it. Limits are the same on all interfaces, so each is
 * asked about once. A program of an earlier version only knows about the one closest to its rate.
 *
 * @param places of the packet
 * @param ask sends the packet once for each of the arrivals
 */
export async function usedOf(
  { state, slots }: Pick<Observation, 'state' | 'slots'>,
  packet: TestPacket,
  places: readonly Asked[],
  ask: (arrivals: readonly TestRun[]) => ReturnType<typeof explainPacket>,
): Promise<ReadonlyMap<string, Used>> {
  const found = new Map<number, Used>()
  const note = (one: Explanation): void => {
    if (!found.has(one.rate_limit)) found.set(one.rate_limit, usedBy(one))
  }
  for (const { explanation } of places) note(explanation)
  const runs = new Map<number, TestRun>()
  for (const { arrival, ingress } of places)
    for (const { name } of countingLimits(state, factsFor(packet), ingress)) {
      const slot = slots.rates?.get(name)
      if (slot === undefined || found.has(slot)) continue
      runs.set(slot, { ...arrival, flags: arrival.flags | ((slot + 1) << TEST_RUN_LIMIT) })
    }
  const answers = runs.size > 0 ? await ask([...runs.values()]) : []
  for (const { explanation } of answers) note(explanation)
  const named = [...(slots.rates ?? [])]
  return new Map(
    named.flatMap(([name, slot]) => {
      const used = found.get(slot)
      return used ? [[name, used] as const] : []
    }),
  )
}

/** The limits that count some packets of a question. `used`: what the key of its packet has used, by name. */
export function limitsOf(
  state: State,
  packet: TestPacket,
  ingress: Ingress,
  circumstances: Circumstances,
  desired: Desired | undefined,
  used: ReadonlyMap<string, Used> = new Map(),
): CountingLimit[] {
  const own = new Set(countingLimits(state, factsFor(packet), ingress, circumstances))
  const among = limitsAmong(state, questionOf(packet), ingress, circumstances.banned ?? false)
  const whole = new Set(among.filter(({ counts }) => counts === 'every').map(({ limit }) => limit))
  const others = among.map(({ limit }) => limit)
  const all = [...new Set([...own, ...others])].sort((a, b) => a.position - b.position)
  return all.map((limit) => {
    const { name, action } = limit
    const place = desired?.provenance.rateLimits.get(name)
    const at = place && `${place.file}:${place.line}`
    const isOwn = own.has(limit)
    const source = sourceIn(desired, limit, packet, at)
    return {
      ...{ name, action, at },
      counts: whole.has(limit) && isOwn ? 'every' : isOwn ? 'some' : 'others',
      packets: scopeKey(limit.scope),
      used: isOwn ? used.get(name)?.share : undefined,
      exceeds: isOwn ? used.get(name)?.exceeds : undefined,
      ...(source && { source }),
    }
  })
}

/** The entry of the file that makes the source of a packet one of a limit; undefined: every source is, or the file has none. */
function sourceIn(
  desired: Desired | undefined,
  { name, sources }: RateLimit,
  { source: { family, words } }: TestPacket,
  at: string | undefined,
): CountingLimit['source'] {
  if (sources === undefined) return undefined
  const origin = desired && originOf(desired.provenance, sourcesList(name), family, words)
  if (origin) return { prefix: origin.entry, at: origin.at, about: origin.about }
  if (sources === 'list') return undefined
  const ranges = family === 4 ? sources.v4 : sources.v6
  const index = contains(ranges, words)
  if (index < 0) return undefined
  return { prefix: formatRange(family, ranges.start, ranges.end, index * WIDTH[family]), at, about: undefined }
}
