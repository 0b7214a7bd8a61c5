// Probes: test packets inside and outside of every list, with the verdict of the file, sent through a loaded program.
// They change no counter: test runs of the filter arrive on no interface of ours, and its twin `explain`, which judges
// those that name one, counts nothing.

import { writeFileSync } from 'node:fs'
import { ran } from '../../abi/answer.ts'
import type { Command, Part } from '../../abi/command.ts'
import { bpftool } from '../../abi/command.ts'
import { type Explanation, explanationCodec, REASON } from '../../abi/generated.ts'
import {
  contextFor,
  explanationOf,
  factsFor,
  type TestPacket as Packet,
  type Probe,
  packetFor,
} from '../../abi/packet.ts'
import { fail } from '../../diagnostics.ts'
import type { Address, Family } from '../../model/address.ts'
import type { Link } from '../../model/live.ts'
import { PROTOCOL_NUMBERS } from '../../model/ports.ts'
import { WIDTH } from '../../model/ranges.ts'
import type { Service } from '../../model/service.ts'
import type { Scope, State } from '../../model/state.ts'
import { formatAddress } from '../../model/text.ts'
import type { Verdict } from '../../report/reason.ts'
import { type Ingress, judge } from '../../semantics/judge.ts'
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
const packetIn = (source: Address, { protocol, sourcePorts, destinationPorts }: Scope): Packet => ({
  source,
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
 * The probes of a state. For every list, scope and family: the first address, the one just after the last, and an
 * address elsewhere, each in the scope. For services (those in `changed` and some others): the first port and the one
 * after the last. If a scope names interfaces, the first address also arrives on one of them, and on another one of
 * ours. The expected verdict is that of the whole policy, including overlaps and allowlists.
 *
 * @param links by name
 */
export function buildProbes(
  state: State,
  links: ReadonlyMap<string, Pick<Link, 'ifindex'>>,
  changed: ReadonlySet<string> = new Set(),
): Probe[] {
  const packets: Packet[] = ELSEWHERE.map((source) => ({ source }))
  const arriving: Omit<Probe, 'verdict'>[] = []
  const ingresses = ingressesOf(state, links)
  for (const { sets } of state.lists.values()) {
    for (const { scope, addresses } of sets) {
      for (const ranges of [addresses.v4, addresses.v6]) {
        if (ranges.length === 0) continue
        const family: Family = ranges.family
        const width = WIDTH[family]
        const inside = { family, words: ranges.start.slice(0, width) }
        const last = { family, words: ranges.end.slice((ranges.length - 1) * width, ranges.length * width) }
        packets.push(packetIn(inside, scope), packetIn(successor(last), scope))
        arriving.push(...arrivalsOf(packetIn(inside, scope), scope, ingresses))
      }
    }
  }
  packets.push(...probedServices(state.services.values(), changed).flatMap(packetsTo))
  const probe = (one: Omit<Probe, 'verdict'>): Probe => ({
    ...one,
    verdict: judge(state, factsFor(one.packet), false, one.ingress).verdict,
  })
  return [...packets.map((packet) => probe({ packet })), ...arriving.map(probe)]
}

/** The packet on one of the interfaces that the scope names, and on one that it does not name; each if there is one. */
function arrivalsOf(
  packet: Packet,
  { interfaces: named }: Scope,
  ingresses: readonly (Ingress & { readonly interface: string })[],
): Omit<Probe, 'verdict'>[] {
  if (named === undefined) return []
  const found = [true, false].map((isNamed) => ingresses.find((one) => named.includes(one.interface) === isNamed))
  return found.flatMap((ingress) => (ingress ? [{ packet, ingress }] : []))
}

/** Packets arriving on each interface of a state that exists, in the order of names. */
export const ingressesOf = (
  { interfaces }: Pick<State, 'interfaces'>,
  links: ReadonlyMap<string, Pick<Link, 'ifindex'>>,
): (Ingress & { readonly interface: string })[] =>
  [...interfaces.values()]
    .flatMap(({ interface: name, roles }) => {
      const link = links.get(name)
      return link ? [{ ifindex: link.ifindex, interface: name, roles }] : []
    })
    .sort((left, right) => (left.interface < right.interface ? -1 : 1))

/** Packets to the first port of a service, and to the one after its last port. */
function packetsTo({ vip, ports: { first, last }, protocol }: Service): Packet[] {
  const source = ELSEWHERE.find(({ family }) => family === vip.family) as Address
  const to = (destinationPort: number): Packet => ({
    source,
    destination: vip,
    protocol: PROTOCOL_NUMBERS[protocol],
    destinationPort,
  })
  return last < 0xffff ? [to(Math.max(1, first)), to(last + 1)] : [to(Math.max(1, first))]
}

/** The pins of the filter, and of its twin that explains verdicts. */
export interface Judges {
  readonly program: string
  readonly explain: string
}

/** Runs a pinned program on a packet. `file`: for the packet, with the suffix `.md` for its context. */
function runOn(program: string, file: string, { packet, ingress }: Omit<Probe, 'verdict'>, ...more: string[]): Command {
  const frame = packetFor(packet)
  writeFileSync(file, frame)
  if (ingress) writeFileSync(`${file}.md`, contextFor(frame.length, ingress.ifindex))
  const context = ingress ? ['ctx_in', `${file}.md`] : []
  return bpftool('prog', 'run', 'pinned', program, 'data_in', file, ...context, ...more, 'repeat', '1')
}

/**
 * Sends the probes through the filter, those that arrive on an interface of ours through its twin, and returns the
 * verdicts. `files`: prefix of the exchange files.
 */
export function probePart(
  files: string,
  { program, explain }: Judges,
  probes: readonly Probe[],
): Part<readonly Verdict[]> {
  const commands = probes.map((probe, number) => runOn(probe.ingress ? explain : program, `${files}-${number}`, probe))
  const finish = (outputs: readonly unknown[]): Verdict[] =>
    outputs.map((output) => verdictOfAction(ran(output).retval))
  return { commands, finish }
}

/**
 * Compares the verdicts of probes with the expected ones. Bans and health are not in the file: a difference is accepted
 * if `explain`, the pinned twin of the program, reports that a ban dropped the packet, or that no backend takes it now.
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
    .map(({ packet: { source }, ingress, verdict, number }) => {
      const from = formatAddress(source.family, source.words)
      return `a packet from ${from}${ingress ? ` on ${ingress.interface}` : ''}: ${verdicts[number]}, not ${verdict}`
    })
  if (failures.length === 0) return
  const most = failures.slice(0, 3).join('; ')
  throw fail(
    'E108',
    `${failures.length} of ${probes.length} test packets got a different verdict than the file says: ${most}`,
  )
}

/** Reasons that depend neither on the file nor on the tables. */
const APART: readonly number[] = [REASON.BAN, REASON.NO_BACKEND, REASON.NO_BACKEND_PASS]

/** Indexes of the probes that a ban dropped, or that found no healthy backend. */
async function excusedOf(
  files: string,
  explain: string,
  probes: readonly (Probe & { readonly number: number })[],
): Promise<ReadonlySet<number>> {
  const commands = probes.map((probe) => {
    const file = `${files}-${probe.number}`
    return runOn(explain, file, probe, 'data_out', `${file}.out`)
  })
  await runBatch(commands)
  const explained = await understand('bpftool', 'bpftool prog run', () =>
    probes.map(({ number }) => readExplanation(`${files}-${number}.out`)),
  )
  const excused = probes.filter((_, i) => APART.includes(explained[i]?.reason ?? -1))
  return new Set(excused.map(({ number }) => number))
}

/** Reads the explanation that a test run wrote. Throws BadAnswer. */
const readExplanation = (file: string): Explanation => explanationOf(readOutput(file, explanationCodec.size))

/** A packet's verdict by the filter, and its explanations on interfaces. */
export interface Explained {
  /** By the filter, of a packet that arrives on no interface of ours. */
  readonly verdict: Verdict
  /** By its twin, in the order of the ingresses; undefined stands for no interface of ours. */
  readonly explanations: readonly Explanation[]
}

/** Sends a packet through the filter, and once for every ingress through its twin that explains the verdict. */
export async function explainPacket(
  { program, explain }: Judges,
  packet: Packet,
  ingresses: readonly (Ingress | undefined)[],
): Promise<Explained> {
  return withExchange(async (directory) => {
    const output = (number: number): string => `${directory}/explanation-${number}`
    const [judged] = await askBatch(ran, [
      runOn(program, `${directory}/packet`, { packet }),
      ...ingresses.map((ingress, number) =>
        runOn(explain, `${directory}/packet-${number}`, { packet, ingress }, 'data_out', output(number)),
      ),
    ])
    const explanations = await understand('bpftool', 'bpftool prog run', () =>
      ingresses.map((_, number) => readExplanation(output(number))),
    )
    return { verdict: verdictOfAction(judged?.retval ?? 0), explanations }
  })
}
