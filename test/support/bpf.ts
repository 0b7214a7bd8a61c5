// The data plane alone: the shipped object, loaded with separate maps in a private bpffs, an image written into it,
// packets run through it. No interface is involved.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bpftool, type Command, plainRun } from '../../src/abi/command.ts'
import {
  counterCodec,
  type Explanation,
  explanationCodec,
  type FlowKeys,
  flowKeysCodec,
  INTERFACE_INDEX_SIZE,
  interfaceEntryCodec,
  REASON,
  REASON_SLOTS,
  SETTINGS_FLAG,
  type TestRun,
} from '../../src/abi/generated.ts'
import type { ProgramParts } from '../../src/abi/object.ts'
import { explanationOf, inputOf, packetOf } from '../../src/abi/packet.ts'
import { BALANCER_MAPS } from '../../src/features/balancer.ts'
import { NO_PARTS, partsFor } from '../../src/features/features.ts'
import { FILTER } from '../../src/features/filter.ts'
import { RATE_MAPS } from '../../src/features/rates.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { CommandError } from '../../src/kernel/tools/spawn.ts'
import type { Slots } from '../../src/model/live.ts'
import type { State } from '../../src/model/state.ts'
import type { ReasonName, Verdict } from '../../src/report/reason.ts'
import type { Count } from '../../src/report/result.ts'
import { decodeInterfaces } from '../../src/tables/classes/interfaces.ts'
import { compileImage } from '../../src/tables/image/image.ts'
import { imageBytes, imageFrom } from '../../src/tables/layout/layout.ts'
import { offenderSetsOf, rateLinesOf } from '../../src/tables/rates/rates.ts'
import { writeLines } from './lines.ts'
import { Loads } from './loads.ts'
import { Namespace } from './netns.ts'
import { FLOW_KEYS } from './place.ts'
import { slotsFor } from './slots.ts'

/** The interface that test runs arrive on: the namespace's loopback device, always the first one. */
export const TEST_IFINDEX = 1
/** Bytes that a packet may grow by. */
const GROWTH = 64
/** Number of runs per bpftool process. */
const BATCH = 2000

const VERDICTS: readonly Verdict[] = ['aborted', 'drop', 'pass', 'tx', 'redirect']
const REASON_NAMES = Object.keys(REASON).map((name) => name.toLowerCase().replaceAll('_', '-') as ReasonName)

/** A packet to run. `linear` = its bytes in the linear part; undefined = the kernel's choice. */
export interface Run {
  readonly frame: Uint8Array
  readonly linear?: number
  /** The interface that the packet stands for; without it, the run has no metadata. */
  readonly arrival?: TestRun
}

export interface Outcome {
  readonly verdict: Verdict
  /** undefined: the packet is too short for an explanation. */
  readonly explanation: (Omit<Explanation, 'verdict' | 'reason'> & { readonly reason: ReasonName }) | undefined
  readonly output: Uint8Array
}

export const slotsOf = ({ lists }: Pick<State, 'lists'>): Map<string, number> =>
  new Map([...lists.keys()].sort().map((name, slot) => [name, slot]))

/** The image of a state, with list slots in the order of names. */
export const imageOf = (state: State, slots: Slots = slotsFor(state), generation = 1): Uint8Array =>
  imageBytes(compileImage({ state, slots, meta: { generation, netns: 0n, objectDigest: new Uint8Array(16) } }))

/** The parts for an image whose state is not known. */
function partsOfImage(image: Uint8Array): ProgramParts {
  const { settings, sections } = imageFrom(image)
  return new Map([
    ...NO_PARTS,
    ['balancer', (settings.flags & SETTINGS_FLAG.SERVICES) !== 0],
    ['established', decodeInterfaces(sections.INTERFACES).localPorts !== undefined],
    ['socketless', true],
    ['anomalies', decodeInterfaces(sections.INTERFACES).anomalies.length > 0],
    ['rates', rateLinesOf(sections.SETTINGS) > 1],
    ['rate_sources', rateLinesOf(sections.SETTINGS) > 1],
    ['rate_bans', offenderSetsOf(sections.SETTINGS) > 1],
  ])
}

const littleEndian = (value: number): string[] => [0, 8, 16, 24].map((shift) => `${(value >>> shift) & 255}`)

/** One loaded data plane. Callers must close it. */
export class DataPlane {
  readonly #directory: string
  readonly #bpffs: string
  readonly #loads: Loads

  /** Namespace to run packets in, by its name under /run/netns; undefined = the present one. */
  readonly #netns: string | undefined
  /** The namespace, if it is only for this data plane. */
  #own: Namespace | undefined

  private constructor(directory: string, netns: string | undefined) {
    this.#directory = directory
    this.#netns = netns
    this.#bpffs = join(directory, 'bpffs')
    this.#loads = new Loads(this.#bpffs)
  }

  /** Creates the shared maps; the first policy loads the programs. */
  static async open(netns?: string): Promise<DataPlane> {
    const plane = new DataPlane(mkdtempSync('/dev/shm/xdp-test-'), netns)
    try {
      mkdirSync(plane.#bpffs)
      execFileSync('mount', ['-t', 'bpf', 'bpf', plane.#bpffs])
      await plane.#loads.open()
      return plane
    } catch (error) {
      plane.close()
      throw error
    }
  }

  /** In a namespace without routes and sockets, so that every packet is one to this host and none has a socket; both close as one. */
  static async apart(): Promise<DataPlane> {
    const network = new Namespace([], {})
    try {
      const plane = await DataPlane.open(network.name)
      plane.#own = network
      return plane
    } catch (error) {
      network.close()
      throw error
    }
  }

  /** Puts programs over a policy map with `image`. Flows and counters stay if their maps fit. */
  async load(image: Uint8Array, parts: ProgramParts = partsOfImage(image)): Promise<void> {
    const fresh = await this.#loads.use(image, parts)
    if (fresh.has(BALANCER_MAPS.flowKeys)) await this.setFlowKeys(FLOW_KEYS)
    if (fresh.has(RATE_MAPS.keys)) await this.setFlowKeys(FLOW_KEYS, RATE_MAPS.keys)
    await writeLines(this.program('table_write'), image)
  }

  /** Puts a pinned program behind the filter of an interface slot. Only for a filter with the part `chain`. */
  async chain(slot: number, program: string): Promise<void> {
    const key = littleEndian(slot)
    await runBpftool('map', 'update', 'pinned', this.#loads.chain(), 'key', ...key, 'value', 'pinned', program)
  }

  /** Sets the secret by which flows find their places in the tables. */
  async setFlowKeys(keys: FlowKeys, map: string = BALANCER_MAPS.flowKeys): Promise<void> {
    const bytes = new Uint8Array(flowKeysCodec.size)
    flowKeysCodec.encode(keys, new DataView(bytes.buffer))
    await this.setValue(map, 0, bytes)
  }

  /** Makes the next load begin as the first one: without flows, bans and attachments, and with all counters at zero. */
  forget(): void {
    this.#loads.forget()
  }

  async loadState(state: State): Promise<void> {
    await this.load(imageOf(state), partsFor(state))
  }

  program(name: string): string {
    return this.#loads.program(name)
  }

  /** Pins a program a second time, so that it outlives the next load; returns the pin. */
  keep(name: string): string {
    const pin = this.#loads.pin(`kept-${name}`)
    execFileSync('bpftool', ['prog', 'pin', 'pinned', this.program(name), pin])
    return pin
  }

  /** Pin of the policy map. */
  policy(): string {
    return this.#loads.policy()
  }

  /** Pin of a map besides the policy, by its name in the objects. */
  map(name: string): string {
    return this.#loads.map(name)
  }

  /** Runs every packet once through a program. */
  run(runs: readonly Run[], program: 'filter' | 'explain' = 'explain'): Promise<Outcome[]> {
    return this.#run(runs, program)
  }

  async #run(
    runs: readonly Run[],
    program: 'filter' | 'explain',
    before: readonly Command[] = [],
    after: readonly Command[] = [],
  ): Promise<Outcome[]> {
    const outcomes: Outcome[] = []
    for (let first = 0; first < runs.length; first += BATCH) {
      const commands = runs.slice(first, first + BATCH).map((run, i) => this.#runCommand(run, i, program))
      const outputs = await this.#batch([...before, ...commands, ...after])
      const results = outputs.slice(before.length, before.length + commands.length)
      for (const [i, { retval, data_out }] of (results as { retval: number; data_out: string[] }[]).entries()) {
        const whole = Uint8Array.from(data_out, Number)
        const output = runs[first + i]?.arrival ? packetOf(whole) : whole
        const explained = program === 'explain' && output.length >= explanationCodec.size
        outcomes.push({
          verdict: VERDICTS[retval] ?? 'aborted',
          explanation: explained ? explain(output) : undefined,
          output,
        })
      }
    }
    return outcomes
  }

  /** Whether test runs can choose the end of the linear part; kernels before 6.18 fill it first. */
  async canSplit(): Promise<boolean> {
    try {
      await this.run([{ frame: new Uint8Array(64), linear: 32 }])
      return true
    } catch (error) {
      if (error instanceof CommandError) return false
      throw error
    }
  }

  /** Makes test runs count for an interface slot; 0 = for no interface. */
  async attachTestRuns(slot: number): Promise<void> {
    await runBatch([this.#attach(slot)])
  }

  #attach(slot: number): Command {
    const bytes = new Uint8Array(interfaceEntryCodec.size)
    if (slot > 0) interfaceEntryCodec.encode({ ifindex: TEST_IFINDEX, slot, flags: 0 }, new DataView(bytes.buffer))
    return this.#update('interface_index', TEST_IFINDEX % INTERFACE_INDEX_SIZE, bytes)
  }

  /** Sends frames through the filter, in their order, as real traffic of an interface slot: they count and are remembered. */
  send(slot: number, frames: readonly Uint8Array[]): Promise<Outcome[]> {
    return this.#run(
      frames.map((frame) => ({ frame })),
      'filter',
      [this.#attach(slot)],
      [this.#attach(0)],
    )
  }

  /** Makes an interface, by its index, count as an attached one with the slot. */
  async own(ifindex: number, slot: number, flags = 0): Promise<void> {
    const bytes = new Uint8Array(interfaceEntryCodec.size)
    interfaceEntryCodec.encode({ ifindex, slot, flags }, new DataView(bytes.buffer))
    await this.setIndex(ifindex % INTERFACE_INDEX_SIZE, bytes)
  }

  /** Writes one entry of the interface index. */
  async setIndex(key: number, value: Uint8Array): Promise<void> {
    await this.setValue('interface_index', key, value)
  }

  /** Non-zero counters of an interface slot. */
  async reasons(slot: number): Promise<{ readonly [reason in ReasonName]?: Count }> {
    const keys = REASON_NAMES.map((_, reason) => slot * REASON_SLOTS + reason)
    const counts = await this.#counters('verdict_stats', keys)
    return Object.fromEntries(
      REASON_NAMES.map((name, i) => [name, counts[i] as Count] as const).filter(([, { packets }]) => packets > 0),
    )
  }

  /** Counters of the given list slots. */
  async lists(slots: readonly number[]): Promise<Count[]> {
    return this.#counters('list_stats', slots)
  }

  /** Packets that observing entries of the lists in these slots matched. */
  async observed(slots: readonly number[]): Promise<Count[]> {
    return this.#counters('observe_stats', slots)
  }

  /** Zeroes the counters of an interface slot and of list slots. */
  async reset(slot: number, lists: readonly number[]): Promise<void> {
    const zero = new Uint8Array(counterCodec.size)
    const clear = (map: string, key: number): Command => this.#update(map, key, zero)
    await runBatch([
      ...REASON_NAMES.map((_, reason) => clear('verdict_stats', slot * REASON_SLOTS + reason)),
      ...lists.flatMap((list) => [clear('list_stats', list), clear('observe_stats', list)]),
    ])
  }

  /** Sums of a map's per-CPU values, field by field. */
  async sums<T extends object>(
    map: string,
    key: number,
    codec: { decode(view: DataView): T },
  ): Promise<{ readonly [field in keyof T]: number }> {
    const [cpus = []] = await this.#perCpu(map, [key])
    const values = cpus.map((value) => codec.decode(new DataView(Uint8Array.from(value, Number).buffer)))
    const fields = Object.keys(values[0] ?? {}) as (keyof T)[]
    const sum = (field: keyof T): number => values.reduce((total, value) => total + Number(value[field]), 0)
    return Object.fromEntries(fields.map((field) => [field, sum(field)])) as { readonly [field in keyof T]: number }
  }

  /** All values of an array map, in order. */
  async values(map: string, entries: number): Promise<Uint8Array[]> {
    return this.valuesAt(
      map,
      Array.from({ length: entries }, (_, key) => key),
    )
  }

  async valuesAt(map: string, keys: readonly number[]): Promise<Uint8Array[]> {
    const outputs = await runBatch(
      keys.map((key) => bpftool('map', 'lookup', 'pinned', this.map(map), 'key', ...littleEndian(key))),
    )
    return outputs.map((output) => Uint8Array.from((output as { value: string[] }).value, Number))
  }

  /** Runs a program that counts, by its name; returns its result. */
  async count(name: string): Promise<number> {
    const [output] = await runBatch([plainRun(this.program(name))])
    return (output as { retval: number }).retval
  }

  /** Writes one value of a map; in a per-CPU map, for every CPU. */
  setValue(map: string, key: number, value: Uint8Array): Promise<void> {
    return this.setValues(map, [[key, value]])
  }

  async setValues(map: string, values: Iterable<readonly [key: number, value: Uint8Array]>): Promise<void> {
    await runBatch([...values].map(([key, value]) => this.#update(map, key, value)))
  }

  #update(map: string, key: number, value: Uint8Array): Command {
    const bytes = [...value].map(String)
    return bpftool('map', 'update', 'pinned', this.map(map), 'key', ...littleEndian(key), 'value', ...bytes)
  }

  close(): void {
    try {
      execFileSync('umount', [this.#bpffs], { stdio: 'ignore' })
    } catch {
      // Not mounted yet.
    }
    rmSync(this.#directory, { recursive: true, force: true })
    this.#own?.close()
  }

  /** Runs packets in the namespace that receives them. */
  async #batch(commands: readonly Command[]): Promise<unknown[]> {
    if (this.#netns === undefined) return runBatch(commands)
    const input = commands.map(({ argv }) => argv.join(' ')).join('\n')
    const stdout = execFileSync('nsenter', [`--net=/run/netns/${this.#netns}`, 'bpftool', '-j', 'batch', 'file', '-'], {
      input: `${input}\n`,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    })
    return (JSON.parse(stdout) as { output: unknown }[]).map(({ output }) => output)
  }

  #runCommand({ frame, linear, arrival }: Run, number: number, program: 'filter' | 'explain'): Command {
    const file = join(this.#directory, `${number}`)
    writeFileSync(file, frame)
    const context = linear === undefined ? [] : ['ctx_in', this.#context(linear)]
    if (arrival) return this.#arrivingCommand({ frame, linear, arrival }, file, program)
    return bpftool(
      ...['prog', 'run', 'pinned', this.program(FILTER.programs[program]), 'data_in', file, 'data_out', '-'],
      ...['data_size_out', `${frame.length + GROWTH}`, ...context, 'repeat', '1'],
    )
  }

  /** A run with metadata. */
  #arrivingCommand(
    { frame, linear, arrival }: Required<Pick<Run, 'frame' | 'arrival'>> & { readonly linear: number | undefined },
    file: string,
    program: 'filter' | 'explain',
  ): Command {
    const { data, context } = inputOf(frame, arrival)
    // data_end of struct xdp_md, in host byte order.
    if (linear !== undefined) new Uint32Array(context.buffer)[1] = data.length - frame.length + linear
    writeFileSync(file, data)
    writeFileSync(`${file}.ctx`, context)
    return bpftool(
      ...['prog', 'run', 'pinned', this.program(FILTER.programs[program]), 'data_in', file, 'data_out', '-'],
      ...['data_size_out', `${data.length + GROWTH}`, 'ctx_in', `${file}.ctx`, 'repeat', '1'],
    )
  }

  /** A struct xdp_md with a linear part that ends after `linear` bytes. */
  #context(linear: number): string {
    const file = join(this.#directory, `context-${linear}`)
    writeFileSync(file, new Uint8Array(new Uint32Array([0, linear, 0, 0, 0, 0]).buffer))
    return file
  }

  async #perCpu(map: string, keys: readonly number[]): Promise<string[][][]> {
    const outputs = await runBatch(
      keys.map((key) => bpftool('map', 'lookup', 'pinned', this.map(map), 'key', ...littleEndian(key))),
    )
    return outputs.map((output) => (output as { values: { value: string[] }[] }).values.map(({ value }) => value))
  }

  async #counters(map: string, keys: readonly number[]): Promise<Count[]> {
    return (await this.#perCpu(map, keys)).map((cpus) =>
      cpus
        .map((value) => counterCodec.decode(new DataView(Uint8Array.from(value, Number).buffer)))
        .reduce<Count>(
          (sum, { packets, bytes }) => ({
            packets: sum.packets + Number(packets),
            bytes: sum.bytes + Number(bytes),
          }),
          { packets: 0, bytes: 0 },
        ),
    )
  }
}

function explain(output: Uint8Array): Outcome['explanation'] {
  const { reason, ...rest } = explanationOf(output)
  const { verdict: _, ...explained } = { ...rest, reason: REASON_NAMES[reason] as ReasonName }
  return explained
}
