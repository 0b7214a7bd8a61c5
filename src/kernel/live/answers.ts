// Verdicts on many packets: by a loaded program, and by the model.

import { writeFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ran } from '../../abi/answer.ts'
import { type Arriving, type Batch, batchesOf, explanationsOf } from '../../abi/batch.ts'
import { bpftool, type Command } from '../../abi/command.ts'
import { type Explanation, explanationCodec, REASON, testBatchCodec, testRunCodec } from '../../abi/generated.ts'
import {
  explanationOf,
  factsFor,
  NONE,
  packetOf,
  type TestInput,
  type TestPacket,
  testInputFor,
} from '../../abi/packet.ts'
import type { Place } from '../../abi/place.ts'
import type { Address } from '../../model/address.ts'
import type { Answer } from '../../model/contact.ts'
import type { Slots } from '../../model/live.ts'
import { everyBackend } from '../../model/service.ts'
import type { State } from '../../model/state.ts'
import { formatAddress } from '../../model/text.ts'
import { judge } from '../../semantics/judge.ts'
import { readOutput, understand } from '../tools/answer.ts'
import { askBatch } from '../tools/bpftool.ts'
import { withExchange } from '../tools/exchange.ts'
import { REASON_NAMES } from './counters.ts'
import { verdictOfAction } from './probe.ts'

/** A packet, and the interface on which it arrives. */
export interface Arrival {
  readonly packet: TestPacket
  readonly place: Place
  /** This host has a socket for it, and not a listening one. A program finds that out by itself. */
  readonly hasSocket: boolean
}

/** Answers for each packet. */
export type Judge = (arrivals: readonly Arrival[]) => Promise<Answer[]>

/** Packets judged by the model between two looks at other events. */
const TURN = 4096

/** Whether the data plane takes the connections of a local port for those that this host opened. */
const isLocalPort = ({ localPorts }: State, port = 0): boolean =>
  localPorts !== undefined && localPorts.first <= port && port <= localPorts.last

/** Judges by a state. Knows neither bans nor the health of backends. */
export function modelJudge(state: State): Judge {
  return async (arrivals) => {
    const answers: Answer[] = []
    for (const { packet, place, hasSocket } of arrivals) {
      const own = hasSocket && isLocalPort(state, packet.destinationPort)
      const { verdict, reason, matches, balanced } = judge(state, factsFor(packet), { own }, place.ingress)
      const service = verdict === 'pass' ? undefined : balanced?.service?.name
      answers.push({ passes: verdict === 'pass', reason, list: matches[0]?.list.name, service })
      if (answers.length % TURN === 0) await setImmediate()
    }
    return answers
  }
}

/** A connection opens all the same, and a packet of one has its socket, unlike one that stands for it. */
const GUARDED: readonly number[] = [REASON.SYN_ANSWERED, REASON.SYN_COOKIE_INVALID]

const BANNED: Answer = { passes: false, reason: 'ban', list: undefined, service: undefined }

/**
 * Judges as another judge, were the sources banned that `isBanned` names. An allowlist beats a ban, and an interface that
 * does not filter knows none.
 */
export const banningJudge =
  (judge: Judge, isBanned: (source: Address) => boolean): Judge =>
  async (arrivals) => {
    const answers = await judge(arrivals)
    return answers.map((answer, i) => {
      const { packet, place } = arrivals[i] as Arrival
      const isSpared = !answer.passes || answer.reason === 'allowlist' || !place.ingress.roles.includes('filter')
      return isSpared || !isBanned(packet.source) ? answer : BANNED
    })
  }

/** Programs judge packets of services by themselves: the balancer rewrites them, which would end a batch. */
function serviceAddresses({ services }: Pick<State, 'services'>): ReadonlySet<string> {
  const text = ({ family, words }: Address): string => formatAddress(family, words)
  const all = [...services.values()].flatMap((service) => [
    text(service.vip),
    ...everyBackend(service).map(({ address }) => text(address)),
  ])
  return new Set(all)
}

function write(file: string, { data, context }: TestInput): string[] {
  writeFileSync(file, data)
  writeFileSync(`${file}.ctx`, context)
  return ['data_in', file, 'ctx_in', `${file}.ctx`]
}

const runOf = (explain: string, file: string, input: TestInput, repeat: number): Command =>
  bpftool(
    ...['prog', 'run', 'pinned', explain, ...write(file, input)],
    ...['data_out', `${file}.out`, 'data_size_out', '65536', 'repeat', `${repeat}`],
  )

/** Each packet in a run of its own. */
async function explainSingly(explain: string, packets: readonly Arriving[]): Promise<Explanation[]> {
  if (packets.length === 0) return []
  return withExchange(async (directory) => {
    const file = (i: number): string => `${directory}/single-${i}`
    const commands = packets.map(({ packet, arrival }, i) => runOf(explain, file(i), testInputFor(packet, arrival), 1))
    await askBatch(ran, commands)
    return understand('bpftool', 'bpftool prog run', () =>
      packets.map((_, i) =>
        explanationOf(packetOf(readOutput(`${file(i)}.out`, testRunCodec.size + explanationCodec.size))),
      ),
    )
  })
}

/** Explains as many packets as fit into batches; the others stay undefined in `found`. */
async function explainTogether(
  explain: string,
  batches: readonly Batch[],
  found: (Explanation | undefined)[],
): Promise<void> {
  if (batches.length === 0) return
  await withExchange(async (directory) => {
    const file = (i: number): string => `${directory}/batch-${i}`
    const commands = batches.map(({ input, positions }, i) => runOf(explain, file(i), input, positions.length))
    await askBatch(ran, commands)
    await understand('bpftool', 'bpftool prog run', () => {
      for (const [i, batch] of batches.entries()) {
        const explained = explanationsOf(batch, readOutput(`${file(i)}.out`, testBatchCodec.size))
        for (const [at, position] of batch.positions.entries()) found[position] = explained[at]
      }
    })
  })
}

/**
 * Explains packets by a pinned `explain` of this build, TCP and UDP packets that no service takes many at a time.
 *
 * @param isApart whether a packet may be for a service
 */
export async function explainMany(
  explain: string,
  packets: readonly Arriving[],
  isApart: (packet: TestPacket) => boolean = () => false,
): Promise<Explanation[]> {
  const found: (Explanation | undefined)[] = packets.map(() => undefined)
  const positions = packets.flatMap(({ packet }, i) => (isApart(packet) ? [] : [i]))
  await explainTogether(explain, batchesOf(packets, positions), found)
  const rest = found.flatMap((one, i) => (one === undefined ? [i] : []))
  const explained = await explainSingly(
    explain,
    rest.map((i) => packets[i] as Arriving),
  )
  for (const [at, i] of rest.entries()) found[i] = explained[at]
  return found as Explanation[]
}

/** Judges by a pinned `explain` of this build. `slots`: those of its tables. */
export function programJudge(
  explain: string,
  { services }: Pick<State, 'services'>,
  slots: Pick<Slots, 'lists' | 'services'>,
): Judge {
  const apart = serviceAddresses({ services })
  const names = (of: ReadonlyMap<string, number>) => new Map([...of].map(([name, slot]) => [slot, name]))
  const [lists, servicesBySlot] = [names(slots.lists), names(slots.services)]
  const isOf = (address: Address | undefined): boolean =>
    address !== undefined && apart.has(formatAddress(address.family, address.words))
  const isApart = (packet: TestPacket): boolean => apart.size > 0 && (isOf(packet.source) || isOf(packet.destination))
  return async (arrivals) => {
    const packets = arrivals.map(({ packet, place }) => ({ packet, arrival: place.arrival }))
    return (await explainMany(explain, packets, isApart)).map(({ verdict, reason, list, service }) => ({
      passes: verdictOfAction(verdict) === 'pass' || GUARDED.includes(reason),
      reason: REASON_NAMES[reason] ?? 'internal',
      list: list === NONE ? undefined : lists.get(list),
      service: service === NONE ? undefined : servicesBySlot.get(service),
    }))
  }
}
