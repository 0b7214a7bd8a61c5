// Probes: test packets inside and outside of every list, with the verdict of the file, sent through a loaded program.
// They change no counter: metadata marks them as test runs, and names the interface that they stand for.

import { writeFileSync } from 'node:fs'
import { ran } from '../../abi/answer.ts'
import { bpftool, type Part } from '../../abi/command.ts'
import { type Explanation, explanationCodec, INTERFACE_FLAG, REASON, testRunCodec } from '../../abi/generated.ts'
import { packetFitting } from '../../abi/match-packet.ts'
import { isHeaderAnomaly, protocolOf } from '../../abi/odd-packet.ts'
import {
  explanationOf,
  factsFor,
  type TestPacket as Packet,
  type Probe,
  packetOf,
  shapedFor,
  type TestInput,
  testInputFor,
} from '../../abi/packet.ts'
import { PLACES, type Place, placesOf } from '../../abi/place.ts'
import { fail } from '../../diagnostics.ts'
import type { Address, Family } from '../../model/address.ts'
import { type Anomaly, parseAnomaly } from '../../model/anomaly.ts'
import { shapesOf } from '../../model/link.ts'
import type { Link } from '../../model/live.ts'
import { PROTOCOL_NUMBERS } from '../../model/ports.ts'
import { WIDTH } from '../../model/ranges.ts'
import type { RateLimit } from '../../model/rate-limit.ts'
import { sourcesOf } from '../../model/rate-sources.ts'
import type { Service } from '../../model/service.ts'
import type { Scope, State } from '../../model/state.ts'
import { formatAddress } from '../../model/text.ts'
import type { Verdict } from '../../report/reason.ts'
import { judge } from '../../semantics/judge.ts'
import { verdictBeyondRates } from '../../semantics/rates.ts'
import { readOutput, understand } from '../tools/answer.ts'
import { askBatch, runBatch } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'

/** linux/bpf.h enum xdp_action */
const VERDICTS: readonly Verdict[] = ['aborted', 'drop', 'pass', 'tx', 'redirect']
export const verdictOfAction = (action: number): Verdict => VERDICTS[action] ?? 'aborted'

/** Documentation addresses (RFC 5737, RFC 3849): most likely in no list, so that probes also cover the default. */
const ELSEWHERE: readonly Address[] = [
  { family: 4, words: Uint32Array.of(0xcb007101) },
  { family: 6, words: Uint32Array.of(0x20010db8, 0xffff, 0, 1) },
]

/** The next address, wrapping at the end of the address space. */
function successor({ family, words }: Address): Address {
  const next = words.slice()
  for (let word = next.length - 1; word >= 0; word--) {
    next[word] = ((next[word] as number) + 1) >>> 0
    if (next[word] !== 0) break
  }
  return { family, words: next }
}

/** The first port of the first range; undefined if the scope has no ports. */
const portOf = (ranges: Scope['sourcePorts']): number | undefined => ranges[0]?.first

/** A packet from the address, inside the scope. */
const packetIn = (source: Address, { protocol, sourcePorts, destinationPorts, match }: Scope): Packet => ({
  source,
  ...(match && packetFitting(match, source.family)),
  protocol: protocol === 'any' ? undefined : protocol,
  sourcePort: portOf(sourcePorts),
  destinationPort: portOf(destinationPorts),
})

/** Services that get probes; starting hundreds of test runs more takes longer than writing all tables. */
const SERVICES_PROBED = 64

/** At most `most` elements, evenly spread. */
const spread = <T>(all: readonly T[], most: number): T[] =>
  all.length <= most ? [...all] : Array.from({ length: most }, (_, i) => all[Math.floor((i * all.length) / most)] as T)

/** The services to probe, changed ones first. */
function probedServices(services: Iterable<Service>, changed: ReadonlySet<string>): Service[] {
  const all = [...services]
  const first = spread(
    all.filter(({ name }) => changed.has(name)),
    SERVICES_PROBED,
  )
  const rest = all.filter(({ name }) => !changed.has(name))
  return [...first, ...spread(rest, SERVICES_PROBED - first.length)]
}

/**
 * The probes of a state, in each shape of packets on its interfaces. For every list, scope and family: the first address
 * and the one just after the last, in the scope; also addresses elsewhere. For services (those in `changed` and some
 * others): the first port and the one after the last. A packet with each anomaly that the policy names. For
 * every rate limit: a packet that finds its balance used up. If a scope names interfaces, the first address also arrives on one
 * of them, and on another one of ours. The expected verdict is that of the whole policy, including overlaps and
 * allowlists.
 *
 * @param links by name
 * @param slots of interfaces, by name
 */
export function buildProbes(
  state: State,
  links: ReadonlyMap<string, Link>,
  slots: ReadonlyMap<string, number>,
  changed: ReadonlySet<string> = new Set(),
): Probe[] {
  const packets: Packet[] = ELSEWHERE.map((source) => ({ source }))
  const places = placesOf(state, links, slots)
  const arriving: (Place & { readonly packet: Packet })[] = []
  for (const { sets } of state.lists.values()) {
    for (const { scope, addresses } of sets) {
      for (const ranges of [addresses.v4, addresses.v6]) {
        if (ranges.length === 0) continue
        const family: Family = ranges.family
        const width = WIDTH[family]
        const inside = packetIn({ family, words: ranges.start.slice(0, width) }, scope)
        const last = { family, words: ranges.end.slice((ranges.length - 1) * width, ranges.length * width) }
        packets.push(inside, packetIn(successor(last), scope))
        arriving.push(...arrivalsOf(scope, places).map((place) => ({ ...place, packet: inside })))
      }
    }
  }
  for (const anomaly of (state.policy?.anomalies ?? []).map(parseAnomaly)) {
    const packet = packetWith(anomaly)
    packets.push(packet)
    arriving.push(...arrivalsOf(anomaly, places).map((place) => ({ ...place, packet })))
  }
  const limited = [...(state.rateLimits?.values() ?? [])].flatMap((limit) =>
    packetsFor(limit, state).map((packet) => ({ limit, packet })),
  )
  packets.push(...probedServices(state.services.values(), changed).flatMap(packetsTo))
  const probe = (packet: Packet, { arrival, ingress }: Place): Probe => ({
    packet,
    arrival,
    on: ingress.interface,
    verdict: judge(state, factsFor(shapedFor(packet, arrival)), {}, ingress).verdict,
  })
  const shapes = shapesOf(state.interfaces.keys(), links)
  return [
    ...shapes.flatMap((shape) => packets.map((one) => probe(one, PLACES[shape]))),
    ...arriving.map((place) => probe(place.packet, place)),
    ...limited.flatMap(({ limit: { scope }, packet }) =>
      [...shapes.map((shape) => PLACES[shape]), ...arrivalsOf(scope, places)].map((place) =>
        exhausted(state, probe(packet, place), place),
      ),
    ),
  ]
}

/** One of the interfaces that a scope names, and one that it does not name; each if there is one. */
function arrivalsOf<T extends { readonly name: string }>(
  { interfaces: named }: Pick<Anomaly, 'interfaces'>,
  places: readonly T[],
): T[] {
  if (named === undefined) return []
  return [true, false].flatMap((isNamed) => places.find(({ name }) => named.includes(name) === isNamed) ?? [])
}

/**
 * A packet that a limit counts, if nothing else decides it. Of a limit with a list of sources one of each family, and those
 * behind the last source, which it does not count.
 */
function packetsFor(limit: RateLimit, { lists }: State): Packet[] {
  const { scope } = limit
  const sources = sourcesOf(limit, lists)
  const found = (sources ? [sources.v4, sources.v6] : []).filter(({ length }) => length > 0)
  const [inside = ELSEWHERE[0] as Address, ...others] = found.map(({ family, start }): Address => {
    return { family, words: start.slice(0, WIDTH[family]) }
  })
  if (limit.sources !== 'list') return [packetIn(inside, scope)]
  const behind = found.map(({ family, end }) => successor({ family, words: end.slice(-WIDTH[family]) }))
  return [inside, ...others, ...behind].map((source) => packetIn(source, scope))
}

/** The probe of a packet that finds the balances of all limits used up. */
const exhausted = (state: State, { packet, arrival, ...probe }: Probe, { ingress }: Place): Probe => ({
  ...probe,
  packet,
  arrival: { ...arrival, flags: arrival.flags | INTERFACE_FLAG.EXHAUSTED },
  verdict: verdictBeyondRates(state, factsFor(shapedFor(packet, arrival)), ingress),
})

/** Of AS112 (RFC 7535), globally reachable. */
const REACHABLE: Address = { family: 4, words: Uint32Array.of(0xc01fc401) }
/** Sources with the anomaly of their name. */
const ODD_SOURCES = { martians: 0x7f000001, bogons: 0x0a000001 } as const

/** A packet with the anomaly. */
function packetWith({ name }: Anomaly): Packet {
  if (isHeaderAnomaly(name)) return { source: REACHABLE, protocol: PROTOCOL_NUMBERS[protocolOf(name)], anomaly: name }
  if (name === 'land') return { source: REACHABLE, destination: REACHABLE, sourcePort: 7, destinationPort: 7 }
  return { source: { family: 4, words: Uint32Array.of(ODD_SOURCES[name]) } }
}

/** Packets to the first port of each range of a service, and to the one after its last port, by each protocol. */
function packetsTo({ vip, ports, protocols }: Service): Packet[] {
  const source = ELSEWHERE.find(({ family }) => family === vip.family) as Address
  const after = (ports.at(-1)?.last ?? 0) + 1
  const numbers = [...ports.map(({ first }) => Math.max(1, first)), ...(after <= 0xffff ? [after] : [])]
  return protocols.flatMap((name) => {
    const protocol = PROTOCOL_NUMBERS[name]
    return numbers.map((destinationPort) => ({ source, destination: vip, protocol, destinationPort }))
  })
}

/** Writes the input of a test run; returns the words of bpftool that name it. */
function writeInput(file: string, { data, context }: TestInput): string[] {
  writeFileSync(file, data)
  writeFileSync(`${file}.ctx`, context)
  return ['data_in', file, 'ctx_in', `${file}.ctx`]
}

/** Sends the probes through a pinned program and returns the verdicts. `files`: prefix of the exchange files. */
export function probePart(files: string, program: string, probes: readonly Probe[]): Part<readonly Verdict[]> {
  const commands = probes.map(({ packet, arrival }, number) => {
    const input = writeInput(`${files}-${number}`, testInputFor(packet, arrival))
    return bpftool('prog', 'run', 'pinned', program, ...input, 'repeat', '1')
  })
  const finish = (outputs: readonly unknown[]): Verdict[] =>
    outputs.map((output) => verdictOfAction(ran(output).retval))
  return { commands, finish }
}

/**
 * Compares the verdicts of probes with the expected ones. Bans, health and sockets are not in the file: a difference is
 * accepted if `explain`, the pinned twin of the program, reports that a ban dropped the packet, that no backend takes it
 * now, or that it belongs to a connection of this host.
 * Throws E108.
 *
 * @param files prefix of the exchange files
 */
export async function requireVerdicts(
  files: string,
  explain: string,
  probes: readonly Probe[],
  verdicts: readonly Verdict[],
): Promise<void> {
  const wrong = probes.flatMap((probe, number) => (verdicts[number] === probe.verdict ? [] : [{ ...probe, number }]))
  if (wrong.length === 0) return
  const excused = await excusedOf(files, explain, wrong)
  const failures = wrong
    .filter((probe) => !excused.has(probe.number))
    .map(({ packet: { source }, on, verdict, number }) => {
      const from = formatAddress(source.family, source.words)
      return `a packet from ${from}${on === undefined ? '' : ` on ${on}`}: ${verdicts[number]}, not ${verdict}`
    })
  if (failures.length === 0) return
  const most = failures.slice(0, 3).join('; ')
  throw fail(
    'E108',
    `${failures.length} of ${probes.length} test packets got a different verdict than the file says: ${most}`,
  )
}

/** Reasons that depend neither on the file nor on the tables. */
const APART: readonly number[] = [
  ...[REASON.BAN, REASON.NO_BACKEND, REASON.NO_BACKEND_PASS, REASON.ESTABLISHED],
  ...[REASON.SYN_ANSWERED, REASON.SYN_COOKIE_INVALID],
]

/** Indexes of the probes that a ban dropped, that found no healthy backend, or that belong to a connection. */
async function excusedOf(
  files: string,
  explain: string,
  probes: readonly (Probe & { readonly number: number })[],
): Promise<ReadonlySet<number>> {
  const commands = probes.map(({ packet, arrival, number }) => {
    const file = `${files}-${number}`
    const input = writeInput(file, testInputFor(packet, arrival))
    return bpftool('prog', 'run', 'pinned', explain, ...input, 'data_out', `${file}.out`, 'repeat', '1')
  })
  await runBatch(commands)
  const explained = await understand('bpftool', 'bpftool prog run', () =>
    probes.map(({ number }) => readExplanation(`${files}-${number}.out`)),
  )
  const excused = probes.filter((_, i) => APART.includes(explained[i]?.reason ?? -1))
  return new Set(excused.map(({ number }) => number))
}

/** Reads the explanation that a test run wrote. Throws BadAnswer. */
const readExplanation = (file: string): Explanation =>
  explanationOf(packetOf(readOutput(file, testRunCodec.size + explanationCodec.size)))

/** Pins of a filter, and of its twin that explains verdicts. */
export interface Judges {
  readonly filter: string
  readonly explain: string
}

/** Sends a packet once for every arrival through a pinned filter, and through its twin that explains the verdict. */
export async function explainPacket(
  { filter, explain }: Judges,
  packet: Packet,
  arrivals: readonly Probe['arrival'][],
): Promise<{ verdict: Verdict; explanation: Explanation }[]> {
  return withExchange(async (directory) => {
    const output = (number: number): string => `${directory}/explanation-${number}`
    const commands = arrivals.map((arrival, number) => {
      const input = writeInput(`${directory}/packet-${number}`, testInputFor(packet, arrival))
      return [
        bpftool('prog', 'run', 'pinned', filter, ...input, 'repeat', '1'),
        bpftool('prog', 'run', 'pinned', explain, ...input, 'data_out', output(number), 'repeat', '1'),
      ]
    })
    const runs = await askBatch(ran, commands.flat())
    const explanations = await understand('bpftool', 'bpftool prog run', () =>
      arrivals.map((_, number) => readExplanation(output(number))),
    )
    return explanations.map((explanation, number) => ({
      verdict: verdictOfAction(runs[2 * number]?.retval ?? 0),
      explanation,
    }))
  })
}
