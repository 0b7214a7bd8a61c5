// Counters of services, backends, rate limits and lists that observe, summed over CPUs in the kernel: see abi_counters.h.

import { writeFile } from 'node:fs/promises'
import { ran } from '../../abi/answer.ts'
import { LITTLE_ENDIAN } from '../../abi/bytes.ts'
import type { Command } from '../../abi/command.ts'
import {
  type AnomalyCounter,
  anomalyCounterCodec,
  type BackendCounter,
  backendCounterCodec,
  COUNTER_KIND,
  COUNTER_RECORDS,
  type Counter,
  counterCodec,
  counterRequestCodec,
  type RateCounter,
  rateCounterCodec,
  type ServiceCounter,
  serviceCounterCodec,
} from '../../abi/generated.ts'
import { type Paths, pinPaths } from '../../abi/paths.ts'
import { fail } from '../../diagnostics.ts'
import { BALANCER } from '../../features/balancer.ts'
import type { Host } from '../host/host.ts'
import { readOutput, understand } from '../tools/answer.ts'
import { askBatch } from '../tools/bpftool.ts'
import { type CpuRange, possibleCpus } from '../tools/cpus.ts'
import { withExchange } from '../tools/exchange.ts'
import { runLine } from '../tools/transfer.ts'

/** XDP_PASS */
const READ = 2

/** One run: its slots, and its range of CPUs. */
interface Run<T> {
  readonly kind: Kind<T>
  readonly slots: readonly number[]
  readonly cpus: CpuRange
}

interface Kind<T> {
  readonly number: number
  readonly codec: { readonly size: number; readonly decode: (view: DataView, at?: number) => T }
}

const SERVICES: Kind<ServiceCounter> = { number: COUNTER_KIND.SERVICES, codec: serviceCounterCodec }
const BACKENDS: Kind<BackendCounter> = { number: COUNTER_KIND.BACKENDS, codec: backendCounterCodec }

const ANOMALIES: Kind<AnomalyCounter> = { number: COUNTER_KIND.ANOMALIES, codec: anomalyCounterCodec }
const RATES: Kind<RateCounter> = { number: COUNTER_KIND.RATES, codec: rateCounterCodec }

function runsOf<T>(kind: Kind<T>, slots: readonly number[], cpus: readonly CpuRange[]): Run<T>[] {
  const count = Math.ceil(slots.length / COUNTER_RECORDS)
  return Array.from({ length: count }, (_, i) => slots.slice(i * COUNTER_RECORDS, (i + 1) * COUNTER_RECORDS)).flatMap(
    (some) => cpus.map((range) => ({ kind, slots: some, cpus: range })),
  )
}

function requestOf<T>({ kind, slots, cpus }: Run<T>): Uint8Array {
  const view = new DataView(new ArrayBuffer(counterRequestCodec.size + slots.length * kind.codec.size))
  counterRequestCodec.encode({ kind: kind.number, count: slots.length, first_cpu: cpus.first, cpus: cpus.count }, view)
  for (const [i, slot] of slots.entries())
    view.setUint32(counterRequestCodec.size + i * kind.codec.size, slot, LITTLE_ENDIAN)
  return new Uint8Array(view.buffer)
}

/** Counters as numbers, exact up to 2^53. */
export type Counts<T> = { readonly [K in keyof T]: number }

function addTo<T extends object>(sums: Map<number, Counts<T>>, slot: number, counter: T): void {
  const known = sums.get(slot)
  const entries = Object.entries(counter) as [keyof T, bigint][]
  sums.set(
    slot,
    Object.fromEntries(entries.map(([name, value]) => [name, Number(value) + (known?.[name] ?? 0)])) as Counts<T>,
  )
}

function collect<T extends object>(runs: readonly Run<T>[], answers: readonly Uint8Array[]): Map<number, Counts<T>> {
  const sums = new Map<number, Counts<T>>()
  for (const [number, { kind, slots }] of runs.entries()) {
    const answer = answers[number] as Uint8Array
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength)
    for (const [i, slot] of slots.entries())
      addTo(sums, slot, kind.codec.decode(view, counterRequestCodec.size + i * kind.codec.size))
  }
  return sums
}

export interface BalanceCounters {
  /** By service slot. */
  readonly services: ReadonlyMap<number, Counts<ServiceCounter>>
  /** By backend slot. */
  readonly backends: ReadonlyMap<number, Counts<BackendCounter>>
}

/** Packets sent to the backends in these slots of a generation, by slot. Throws as readBalanceCounters. */
export async function readBackendPackets(
  { bpffs, instance }: Pick<Host, 'bpffs' | 'instance'>,
  generation: number,
  slots: readonly number[],
): Promise<ReadonlyMap<number, number>> {
  const { backends } = await readBalanceCounters(pinPaths(bpffs, instance), generation, [], slots)
  return new Map([...backends].map(([slot, { packets }]) => [slot, packets]))
}

/** The counters of these slots, read by one bpftool process. Throws E108 if the data plane refuses. */
export async function readBalanceCounters(
  paths: Paths,
  generation: number,
  services: readonly number[],
  backends: readonly number[],
): Promise<BalanceCounters> {
  if (services.length + backends.length === 0) return { services: new Map(), backends: new Map() }
  const cpus = await possibleCpus()
  const ofServices = runsOf(SERVICES, services, cpus)
  const ofBackends = runsOf(BACKENDS, backends, cpus)
  const requests = [...ofServices.map(requestOf), ...ofBackends.map(requestOf)]
  const answers = await answersTo(paths, generation, requests)
  return {
    services: collect(ofServices, answers.slice(0, ofServices.length)),
    backends: collect(ofBackends, answers.slice(ofServices.length)),
  }
}

type Read<T> = (paths: Paths, generation: number, slots: readonly number[]) => Promise<ReadonlyMap<number, Counts<T>>>

const reader =
  <T extends object>(kind: Kind<T>): Read<T> =>
  async (paths, generation, slots) => {
    if (slots.length === 0) return new Map()
    const runs = runsOf(kind, slots, await possibleCpus())
    return collect(runs, await answersTo(paths, generation, runs.map(requestOf)))
  }

/** The counters of rate limits in these slots, by slot. Throws as readBalanceCounters. */
export const readRateCounters: Read<RateCounter> = reader(RATES)

/** The counters of anomalies, by number. Throws as readBalanceCounters. */
export const readAnomalyCounters: Read<AnomalyCounter> = reader(ANOMALIES)

const OBSERVED: Kind<Counter> = { number: COUNTER_KIND.OBSERVED, codec: counterCodec }

/** Packets that observing entries of lists in these slots matched, by slot. Throws as readBalanceCounters. */
export async function readObserved(
  paths: Paths,
  generation: number,
  slots: readonly number[],
): Promise<ReadonlyMap<number, Counts<Counter>>> {
  if (slots.length === 0) return new Map()
  const runs = runsOf(OBSERVED, slots, await possibleCpus())
  return collect(runs, await answersTo(paths, generation, runs.map(requestOf)))
}

/** Runs the requests in one bpftool process. Throws E108 if the data plane refuses. */
async function answersTo(paths: Paths, generation: number, requests: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const program = paths.program(generation, BALANCER.programs.counters)
  return withExchange(async (directory) => {
    const commands: Command[] = []
    for (const [number, request] of requests.entries()) {
      await writeFile(`${directory}/${number}`, request)
      commands.push(runLine(program, `${directory}/${number}`, `${directory}/${number}.out`))
    }
    const outputs = await askBatch(ran, commands)
    if (outputs.some(({ retval }) => retval !== READ)) throw fail('E108', 'the data plane refused to read counters')
    return understand('bpftool', 'bpftool prog run', () =>
      requests.map((request, number) => readOutput(`${directory}/${number}.out`, request.length)),
    )
  })
}
