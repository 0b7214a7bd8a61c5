// Why a packet gets its verdict, by the loaded program (with a test packet) and by the file.

import type { Explanation, TestRun } from '../../abi/generated.ts'
import { bytesOfSlots } from '../../abi/health.ts'
import { factsFor, NONE, type TestPacket as Packet } from '../../abi/packet.ts'
import type { Paths } from '../../abi/paths.ts'
import { XdpError } from '../../diagnostics.ts'
import { FILTER } from '../../features/filter.ts'
import type { Address } from '../../model/address.ts'
import type { Desired } from '../../model/desired.ts'
import { shapeOf, shapesOf } from '../../model/link.ts'
import type { Link } from '../../model/live.ts'
import { nearest } from '../../model/nearest.ts'
import { originOf } from '../../model/provenance.ts'
import { contains, WIDTH } from '../../model/ranges.ts'
import { backendKey, backendSlotKey, everyBackend } from '../../model/service.ts'
import { EVERY_ROLE, type Role, type ScopedSet } from '../../model/state.ts'
import { formatAddress, formatRange, type Prefix } from '../../model/text.ts'
import { withNextHops } from '../../plan/next-hops.ts'
import type { Judgement, WhyResult } from '../../report/result.ts'
import type { Balanced } from '../../semantics/balance.ts'
import { type Ingress, judge } from '../../semantics/judge.ts'
import type { Memory } from '../host/memory.ts'
import { readBan } from '../live/bans.ts'
import { REASON_NAMES } from '../live/counters.ts'
import { readHealth } from '../live/health.ts'
import { explainPacket, PLACES, verdictOfAction } from '../live/probe.ts'
import { type Observation, observe, refuseOtherNamespace } from '../observe/observe.ts'
import { flagsOf } from '../observe/records.ts'

/** The packet to judge, and the interface on which it arrives. */
export interface Query extends Packet {
  /** Use the program on this interface; undefined = the committed one. */
  readonly interface: string | undefined
}

/** The range of a merged set that contains the address, as text. */
function coveringRange({ addresses }: ScopedSet, { family, words }: Address): string | undefined {
  const ranges = family === 4 ? addresses.v4 : addresses.v6
  const index = contains(ranges, words)
  return index < 0 ? undefined : formatRange(family, ranges.start, ranges.end, index * WIDTH[family])
}

const formatPrefix = ({ family, start, end }: Prefix): string => formatRange(family, start, end)

/** The part of a judgement that neither a list nor a service decided. */
const NOTHING = { list: undefined, prefix: undefined, at: undefined, service: undefined, backend: undefined } as const

/** The service and its backend, if flows have a fixed one, with the line of the file that names it. */
function balancedPart(
  { service, backend }: Pick<Balanced, 'service' | 'backend'>,
  desired: Desired | undefined,
): Pick<Judgement, 'at' | 'service' | 'backend'> {
  const known = backend && service?.scheduler !== 'random' ? backendKey(backend) : undefined
  const places = service && desired?.provenance.services.get(service.name)
  const place = known === undefined ? places?.at : places?.backend(known)
  return { service: service?.name, backend: known, at: place && `${place.file}:${place.line}` }
}

/** The judgement by the file, with the current next hops of backends. */
function desiredJudgement(desired: Desired, live: Observation, query: Query): Judgement {
  const services = withNextHops(desired.state.services, live)
  const link = live.links.get(query.interface ?? '')
  const roles = rolesOn(link, desired.state.interfaces.get(query.interface ?? '')?.roles)
  const shape = shapesOf(desired.state.interfaces.keys(), live.links)[0] ?? 'ethernet'
  const ingress = link ? { ifindex: link.ifindex, roles } : PLACES[shape].ingress
  const state = { ...desired.state, services }
  const { verdict, reason, matches, balanced } = judge(state, factsFor(query), false, ingress)
  if (balanced) return { ...NOTHING, verdict, reason, ...balancedPart(balanced, desired) }
  const [match] = matches
  if (!match) return { ...NOTHING, verdict, reason }
  const { family, words } = query.source
  const set = match.list.sets.indexOf(match.set)
  const origin = originOf(desired.provenance, match.list.name, family, words, 0, set)
  return { ...NOTHING, verdict, reason, list: match.list.name, prefix: origin?.entry, at: origin?.at }
}

/** The generation that the interface runs; the committed one if no interface is given. */
function generationFor(live: Observation, name: string | undefined): number | undefined {
  if (name === undefined) return live.committed?.meta && live.generation
  const link = live.links.get(name)
  const generation = link?.programs.find((program) => program.generation !== undefined)?.generation
  if (generation !== undefined) return generation
  const attached = [...live.state.interfaces.keys()]
  const meant = nearest(name, attached)
  throw new XdpError([
    {
      code: link ? 'E114' : 'E103',
      severity: 'error',
      message: link ? `interface ${name} does not run our program` : `interface ${name} does not exist`,
      hint: meant ? `did you mean ${meant}?` : `our program runs on ${attached.join(', ') || 'no interface'}`,
    },
  ])
}

/** The roles in force on an interface: the balancer leaves packets without an Ethernet header alone. */
const rolesOn = (link: Link | undefined, roles: readonly Role[] = EVERY_ROLE): readonly Role[] =>
  link && shapeOf(link) === 'ip' ? roles.filter((role) => role !== 'balance') : roles

/** The interface on which the packet arrives, for the program and for the model. */
function arrivalOf(live: Observation, name: string | undefined): { arrival: TestRun; ingress: Ingress } {
  const link = name === undefined ? undefined : live.links.get(name)
  // Without an interface in the query: the packet arrives as it would on those of the policy.
  if (name === undefined || !link) return PLACES[shapesOf(live.state.interfaces.keys(), live.links)[0] ?? 'ethernet']
  const { ifindex } = link
  const roles = rolesOn(link, live.state.interfaces.get(name)?.roles)
  const slot = live.slots.interfaces.get(name) ?? 0
  return { arrival: { ifindex, slot, flags: flagsOf(link) }, ingress: { ifindex, roles } }
}

async function liveJudgement(
  paths: Paths,
  live: Observation,
  desired: Desired | undefined,
  query: Query,
): Promise<WhyResult['live']> {
  const generation = generationFor(live, query.interface)
  if (generation === undefined) return undefined
  const { arrival, ingress } = arrivalOf(live, query.interface)
  const { verdict, explanation } = await explainPacket(
    paths.program(generation, FILTER.programs.filter),
    paths.program(generation, FILTER.programs.explain),
    query,
    arrival,
  )
  const reason = REASON_NAMES[explanation.reason] ?? 'internal'
  // The scope of a ban is the length of its prefix.
  const ban = reason === 'ban' ? await readBan(paths, generation, query.source, explanation.scope) : undefined
  const model = judge(live.state, factsFor(query), ban !== undefined, ingress)
  const balanced = liveBalanced(live, explanation)
  const list = [...live.slots.lists].find(([, slot]) => explanation.list !== NONE && slot === explanation.list)?.[0]
  const match = model.matches.find((candidate) => candidate.list.name === list)
  const { family, words } = query.source
  return {
    verdict,
    reason,
    list,
    prefix: ban ? formatPrefix(ban.prefix) : match && coveringRange(match.set, query.source),
    ban,
    ...balancedPart(balanced, desired),
    ...(list && desired ? { at: originOf(desired.provenance, list, family, words)?.at } : {}),
    // The attached program, its twin, and the tables read back must agree.
    proven:
      verdict === verdictOfAction(explanation.verdict) &&
      verdict === model.verdict &&
      reason === model.reason &&
      (await agreesWithTables(paths, live, balanced, model.balanced)),
  }
}

/** The service and the backend with the slots that the data plane reported. */
function liveBalanced(live: Observation, { service, backend }: Explanation): Pick<Balanced, 'service' | 'backend'> {
  const name = [...live.slots.services].find(([, slot]) => service !== NONE && slot === service)?.[0]
  const key = [...live.slots.backends].find(([, slot]) => backend !== NONE && slot === backend)?.[0]
  const found = live.state.services.get(name ?? '')
  const own = found && [...everyBackend(found), ...live.leaving.map((one) => one.backend)]
  return { service: found, backend: own?.find((one) => backendSlotKey(found?.name ?? '', one) === key) }
}

/**
 * Whether the data plane sends the packet to the backend of the tables. Health may choose another backend of the
 * service, and so may a known UDP flow.
 */
async function agreesWithTables(
  paths: Paths,
  live: Observation,
  { service, backend }: Pick<Balanced, 'service' | 'backend'>,
  model: Balanced | undefined,
): Promise<boolean> {
  if (service?.name !== model?.service?.name) return false
  if (service === undefined || backend === undefined) return backend === model?.backend
  if (model?.backend && backendKey(backend) === backendKey(model.backend)) return true
  if (service.protocol === 'udp') return true
  const bytes = await readHealth(paths, bytesOfSlots(live.slots))
  return [...bytes.values()].some((byte) => byte !== 0)
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
  return {
    address: formatAddress(query.source.family, query.source.words),
    live: await liveJudgement(paths, live, desired, query),
    desired: desired && desiredJudgement(desired, live, query),
  }
}
