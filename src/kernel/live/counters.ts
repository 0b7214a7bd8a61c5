// Counters. Runs of stats_read sum them over CPUs inside the kernel, so that the cost of reading does not include the
// text of a value per CPU (bpf/include/stats.h).

import { writeFileSync } from 'node:fs'
import { bad } from '../../abi/answer.ts'
import type { Part } from '../../abi/command.ts'
import {
  type Counter,
  INTERFACE_SLOTS,
  interfaceReportCodec,
  LIST_SLOTS,
  listReportCodec,
  REASON,
  STATS_KIND,
  type StatsRequest,
  statsRequestCodec,
} from '../../abi/generated.ts'
import { listOf } from '../../abi/list-record.ts'
import type { Paths } from '../../abi/paths.ts'
import { FILTER } from '../../features/filter.ts'
import type { ListKind } from '../../model/state.ts'
import type { ReasonName } from '../../report/reason.ts'
import type { Count } from '../../report/result.ts'
import { readOutput } from '../tools/answer.ts'
import { runParts } from '../tools/bpftool.ts'
import { type CpuRange, possibleCpus } from '../tools/cpus.ts'
import { withExchange } from '../tools/exchange.ts'
import { checkRuns, runLine } from '../tools/transfer.ts'

/** Reason names by number, as JSON and text show them. */
export const REASON_NAMES = Object.fromEntries(
  Object.entries(REASON).map(([name, number]) => [number, name.toLowerCase().replaceAll('_', '-')]),
) as Readonly<Record<number, ReasonName>>

const REASON_NUMBERS = Object.values(REASON)

/** Values per run. Reading one of another CPU takes 100 ns with softirqs blocked, so a run stays below 0.5 ms. */
const RUN_VALUES = 4096
/** Records per run, whose answer must fit into 64 KiB. */
const RUN_RECORDS = { [STATS_KIND.INTERFACES]: 32, [STATS_KIND.LISTS]: 512 } as const

/** A list of the live generation, named by its record, with its counters. */
export interface CountedList extends Count {
  readonly name: string
  readonly kind: ListKind
  readonly prefixes: number
  readonly scopes: number
  readonly slot: number
  /** Whether some of its entries only observe. */
  readonly observes: boolean
}

export interface Counters {
  /** By interface slot. */
  readonly interfaces: readonly ReadonlyMap<ReasonName, Count>[]
  readonly lists: readonly CountedList[]
}

type Request = Omit<StatsRequest, 'result'>

/** Splits `total` records of a kind, with `values` per-CPU counters each, into runs. */
export function splitRequests(kind: Request['kind'], total: number, values: number, cpus: CpuRange): Request[] {
  const most = kind === STATS_KIND.LISTS ? RUN_RECORDS[STATS_KIND.LISTS] : RUN_RECORDS[STATS_KIND.INTERFACES]
  const perRun = Math.min(most, Math.max(1, Math.floor(RUN_VALUES / (values * cpus.count))))
  return Array.from({ length: Math.ceil(total / perRun) }, (_, run) => ({
    kind,
    first: run * perRun,
    records: Math.min(perRun, total - run * perRun),
    first_cpu: cpus.first,
    cpus: cpus.count,
  }))
}

const recordSize = ({ kind }: Request): number =>
  kind === STATS_KIND.LISTS ? listReportCodec.size : interfaceReportCodec.size

function encodeRequest(request: Request): Uint8Array {
  const bytes = new Uint8Array(statsRequestCodec.size + request.records * recordSize(request))
  statsRequestCodec.encode({ ...request, result: 0 }, new DataView(bytes.buffer))
  return bytes
}

const add = (sum: Count | undefined, { packets, bytes }: Counter): Count => ({
  packets: (sum?.packets ?? 0) + Number(packets),
  bytes: (sum?.bytes ?? 0) + Number(bytes),
})

/** Merges the answers of all runs. Every range of CPUs reports a list once. */
function decodeAnswers(requests: readonly Request[], answers: readonly Uint8Array[]): Counters {
  const interfaces = Array.from({ length: INTERFACE_SLOTS }, () => new Map<ReasonName, Count>())
  const lists = new Map<number, CountedList>()
  for (const [i, request] of requests.entries()) {
    const answer = answers[i] as Uint8Array
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
    const { result } = statsRequestCodec.decode(view)
    if (result > request.records) bad(undefined, `at most ${request.records} counters`, result)
    for (let record = 0; record < result; record++) {
      const at = statsRequestCodec.size + record * recordSize(request)
      const number = request.first + record
      if (request.kind === STATS_KIND.LISTS) {
        const { list, counter } = listReportCodec.decode(view, at)
        const { slot, observes, scopes, prefixes } = list
        const sum = add(lists.get(number), counter)
        lists.set(number, {
          ...listOf(list),
          prefixes: Number(prefixes),
          scopes,
          slot,
          observes: observes === 1,
          ...sum,
        })
        continue
      }
      const { reasons } = interfaceReportCodec.decode(view, at)
      const counts = interfaces[number] as Map<ReasonName, Count>
      for (const reason of REASON_NUMBERS) {
        const name = REASON_NAMES[reason] as ReasonName
        counts.set(name, add(counts.get(name), reasons[reason] as Counter))
      }
    }
  }
  return { interfaces, lists: [...lists.entries()].sort(([a], [b]) => a - b).map(([, list]) => list) }
}

/**
 * Every counter of a generation, summed over `cpus`. Throws E108 if the data plane refuses a run.
 *
 * @param files prefix of the exchange files
 * @param program pin of a stats_read
 */
export function countersPart(files: string, program: string, cpus: readonly CpuRange[]): Part<Counters> {
  const requests = cpus.flatMap((range) => [
    ...splitRequests(STATS_KIND.INTERFACES, INTERFACE_SLOTS, REASON_NUMBERS.length, range),
    ...splitRequests(STATS_KIND.LISTS, LIST_SLOTS, 1, range),
  ])
  const commands = requests.map((request, number) => {
    writeFileSync(`${files}-${number}`, encodeRequest(request))
    return runLine(program, `${files}-${number}`, `${files}-${number}.out`)
  })
  const finish = (outputs: readonly unknown[]): Counters => {
    checkRuns(outputs, 'reading counters')
    const answers = requests.map((request, number) =>
      readOutput(`${files}-${number}.out`, statsRequestCodec.size + request.records * recordSize(request)),
    )
    return decodeAnswers(requests, answers)
  }
  return { commands, finish }
}

/** Every counter of a generation, read by a separate bpftool process. */
export async function readCounters(paths: Paths, generation: number): Promise<Counters> {
  const cpus = await possibleCpus()
  const [counters] = await withExchange((files) =>
    runParts(countersPart(`${files}/stats`, paths.program(generation, FILTER.programs.stats), cpus)),
  )
  return counters
}
