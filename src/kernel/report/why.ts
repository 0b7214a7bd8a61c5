// Why a packet gets its verdict, by the loaded program (with a test packet) and by the file.

import { type Explanation, REASON } from '../../abi/generated.ts'
import { factsFor, NONE, type TestPacket as Packet } from '../../abi/packet.ts'
import type { Paths } from '../../abi/paths.ts'
import type { Place } from '../../abi/place.ts'
import { FILTER } from '../../features/filter.ts'
import type { Desired } from '../../model/desired.ts'
import { formatRange, type Prefix } from '../../model/text.ts'
import type { Verdict } from '../../report/reason.ts'
import type { LiveJudgement, WhyResult } from '../../report/result.ts'
import { type Circumstances, type Ingress, judge } from '../../semantics/judge.ts'
import type { Memory } from '../host/memory.ts'
import { readBan } from '../live/bans.ts'
import { REASON_NAMES } from '../live/counters.ts'
import { explainPacket, verdictOfAction } from '../live/probe.ts'
import { requirePins } from '../observe/instance.ts'
import { type Observation, observe, refuseOtherNamespace } from '../observe/observe.ts'
import { desiredJudgement } from './why-file.ts'
import { type Used, usedOf } from './why-limits.ts'
import { maybeBanned } from './why-otherwise.ts'
import { answerOf, decidedBy, type Local, merged, type Named, partsOf, placeInTables, type Query } from './why-parts.ts'
import { generationOn, placesFor } from './why-places.ts'
import { agreesWithTables, balancedPart, liveBalanced } from './why-services.ts'
import { askWithSockets, socketsOf } from './why-sockets.ts'

const formatPrefix = ({ family, start, end }: Prefix): string => formatRange(family, start, end)

/** The generation that the interface runs; the committed one if no interface is given. */
const generationFor = (live: Observation, name: string | undefined): number | undefined =>
  name === undefined ? live.committed?.meta && live.generation : generationOn(live, name)

/** A packet of a protocol for experiments (RFC 3692), which no ordinary scope names. */
const UNUSUAL = { protocol: 253, ttl: 63 } as const

/** The judgement, and what the kernel says about the packet's socket. */
interface Live {
  readonly judgement: WhyResult['live']
  readonly sockets: Circumstances
}

async function liveJudgement(
  paths: Paths,
  live: Observation,
  desired: Desired | undefined,
  query: Query,
): Promise<Live> {
  const generation = generationFor(live, query.interface)
  if (generation === undefined) return { judgement: undefined, sockets: {} }
  const { filter, explain } = FILTER.programs
  const judging = live.instance.generations.find(({ number }) => number === generation)
  if (judging) requirePins(judging, [filter, explain])
  const judges = { filter: paths.program(generation, filter), explain: paths.program(generation, explain) }
  const places = placesFor(live, query)
  const arrivals = places.map(({ arrival }) => arrival)
  const ask = (packet: Packet) => explainPacket(judges, packet, arrivals)
  const explained = await askWithSockets(ask, query, live.state)
  // An entry of the allowlist that applies to some packets only hides a ban from the question.
  const mayHide = explained.some(
    ({ explanation }, at) =>
      explanation.reason === REASON.ALLOWLIST && maybeBanned(live.state, query, (places[at] as Place).ingress),
  )
  const others = mayHide ? await ask({ source: query.source, ...UNUSUAL }) : []
  const asked = explained.map(({ explanation }, at) => ({ ...(places[at] as Place), explanation }))
  const used = await usedOf(live, query, asked, (runs) => explainPacket(judges, query, runs))
  const judgements = await Promise.all(
    explained.map(async (answer, at) => {
      const { name, ingress } = places[at] as Place & Named
      const sockets = socketsOf(answer)
      return {
        name,
        judgement: await liveOn(paths, live, desired, query, {
          generation,
          ingress,
          sockets,
          used,
          ...answer,
          other: others[at]?.explanation,
        }),
      }
    }),
  )
  const sockets = explained.map(socketsOf)
  return {
    judgement: merged<LiveJudgement>(judgements, query.interface !== undefined),
    sockets: {
      own: sockets.some(({ own }) => own),
      socketless: sockets.some(({ socketless }) => socketless),
      answered: sockets.some(({ answered }) => answered),
    },
  }
}

/** What the data plane says of a packet, and where it arrived. */
interface Answer {
  readonly generation: number
  readonly ingress: Ingress
  /** By the attached program. */
  readonly verdict: Verdict
  /** By its twin. */
  readonly explanation: Explanation
  readonly sockets: Circumstances
  readonly used: ReadonlyMap<string, Used>
  /** Of a packet that few entries of an allowlist apply to. */
  readonly other: Explanation | undefined
}

async function liveOn(
  paths: Paths,
  live: Observation,
  desired: Desired | undefined,
  query: Query,
  { generation, ingress, verdict, explanation, sockets, used, other }: Answer,
): Promise<Local<LiveJudgement>> {
  const reason = REASON_NAMES[explanation.reason] ?? 'internal'
  // The scope of a ban is the length of its prefix.
  const isOfBan = reason === 'ban' || reason === 'ban-observed'
  const ban = isOfBan ? await readBan(paths, generation, query.source, explanation.scope) : undefined
  const hidden = other?.reason === REASON.BAN ? await readBan(paths, generation, query.source, other.scope) : undefined
  const circumstances = { ...sockets, banned: ban?.observe === false, observed: ban?.observe === true }
  const model = judge(live.state, factsFor(query), circumstances, ingress)
  const balanced = liveBalanced(live, explanation)
  const named = [...live.slots.lists].find(([, slot]) => explanation.list !== NONE && slot === explanation.list)?.[0]
  // The program also reports the allowlist that let a packet through to the balancer, which decided.
  const list = model.balanced && reason === model.reason ? undefined : named
  const match = model.matches.find((candidate) => candidate.list.name === list)
  const parts = partsOf(live.state, query, verdict, model, {
    ingress,
    circumstances,
    place: placeInTables(desired, query),
    desired,
    isBanned: ban?.observe === false || hidden?.observe === false,
    used,
  })
  const otherwise = parts.otherwise.map((one) =>
    one.kind === 'ban' && hidden ? { ...one, prefix: formatPrefix(hidden.prefix) } : one,
  )
  return {
    verdict,
    reason,
    ban,
    ...parts,
    otherwise,
    ...balancedPart(balanced, desired),
    ...decidedBy(list, match, query, desired),
    ...(ban && { prefix: formatPrefix(ban.prefix) }),
    // The attached program, its twin, and the tables read back must agree.
    proven:
      verdict === verdictOfAction(explanation.verdict) &&
      verdict === model.verdict &&
      reason === model.reason &&
      (await agreesWithTables(paths, live, query, balanced, model.balanced)),
  }
}

/**
 * Judges the packet live and in the file. The verdict is a result, not a failure. Throws E103 or E114 for a bad
 * interface.
 */
export async function explain(
  paths: Paths,
  memory: Memory,
  desired: Desired | undefined,
  query: Query,
): Promise<WhyResult> {
  const live = await observe(paths, memory, desired ? { state: desired.state } : {})
  refuseOtherNamespace(live)
  const { judgement: ours, sockets } = await liveJudgement(paths, live, desired, query)
  const wanted = desired && desiredJudgement(desired, live, query, sockets)
  return answerOf(query, { live: ours, desired: wanted }, desired?.state ?? live.state, live, live)
}
